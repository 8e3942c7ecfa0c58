"""Run an inversion attack on activations or classes, and compare its images with originals."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raysweep.attacks import intervals, metrics
from raysweep.attacks.contract import (
    InversionAttack,
    Knowledge,
    Observed,
    Reconstruction,
    check_reconstruction,
)
from raysweep.config import sub_seed
from raysweep.config.own_class import naming
from raysweep.data import Split, concatenate
from raysweep.records.columns import AttackRecord, ReconstructionRows
from raysweep.training.target import TrainedTarget
from raysweep.trial import face_recogniser
from raysweep.trial.membership_judge import parameters_json

N_STORED_IMAGES = 16

N_REBUILT = 2000

N_REAL = 2000  # images that the face recogniser is trained on


@dataclass(frozen=True, kw_only=True)
class Recognition:
    """The class recognised in each image, (n,), and the recogniser's accuracy on real images."""

    names: NDArray[np.int64]
    accuracy: float


@dataclass(frozen=True, kw_only=True)
class Examples:
    """Members, each compared with itself, beside nonmembers as a control.

    An attack gets both in an order drawn by ``seed``, so that it is not told which are which.
    """

    members: Split
    nonmembers: Split
    seed: int
    n_stored: int | None = N_STORED_IMAGES

    @property
    def _order(self) -> NDArray[np.int64]:
        return np.random.default_rng(self.seed).permutation(
            len(self.members) + len(self.nonmembers)
        )

    def observe(self, target: TrainedTarget, layer: str) -> Observed:
        """Return what the attack sees."""
        examples = concatenate(self.members, self.nonmembers).rows(self._order)
        activations = target.activations(examples, layer)
        return Observed(layer=layer, activations=activations, labels=examples.labels)

    def separate(self, rebuilt: Reconstruction) -> tuple[Reconstruction, Reconstruction]:
        """Return what was rebuilt of the members, and of the nonmembers."""
        places, n = np.argsort(self._order), len(self.members)
        return _part(rebuilt, places[:n]), _part(rebuilt, places[n:])

    @property
    def labels(self) -> NDArray[np.int64]:
        """The class of each member."""
        return self.members.labels

    def originals(self, images: NDArray[np.floating]) -> Split:
        """Return the members themselves."""
        return self.members

    def recognition(self, images: NDArray[np.floating]) -> None:
        """Return None: recognition does not apply to single examples."""


@dataclass(frozen=True, kw_only=True)
class Classes:
    """Every class of the members, compared with the nearest of its members (least MSE).

    The face recogniser is trained on the ``members`` and tested on the ``nonmembers``.
    """

    members: Split
    nonmembers: Split
    seed: int
    n_stored: int | None = None

    @property
    def labels(self) -> NDArray[np.int64]:
        """The classes."""
        return np.unique(self.members.labels)

    def originals(self, images: NDArray[np.floating]) -> Split:
        """Return the member of each class that is nearest to its image."""
        nearest = []
        for label, image in zip(self.labels, images, strict=True):
            rows = np.flatnonzero(self.members.labels == label)
            errors = metrics.squared_errors(self.members.rows(rows).pixels(), image[None])
            nearest.append(rows[errors.argmin()])
        return self.members.rows(np.array(nearest))

    def recognition(self, images: NDArray[np.floating]) -> Recognition:
        """Return the classes that a recogniser trained on real members names."""
        order = np.random.default_rng(self.seed).permutation(len(self.members))
        real = self.members.rows(order[:N_REAL])
        recogniser = face_recogniser.fit(real.pixels(), real.labels)
        accuracy = recogniser.accuracy(self.nonmembers.pixels(), self.nonmembers.labels)
        return Recognition(names=recogniser.names(images), accuracy=accuracy)


def _part(rebuilt: Reconstruction, rows: NDArray[np.int64]) -> Reconstruction:
    return replace(
        rebuilt,
        images=rebuilt.images[rows],
        converged=rebuilt.converged[rows],
        cost=None if rebuilt.cost is None else rebuilt.cost[rows],
    )


Subject = Examples | Classes
"""What is rebuilt, and the originals to compare it with. Of ``n_stored`` None all are stored."""


def judge_inversion(
    name: str,
    attack: InversionAttack,
    layer: str | None,
    target: TrainedTarget,
    *,
    members: Split,
    nonmembers: Split,
    knowledge: Knowledge,
    trial_id: str,
    seed: int,
) -> tuple[AttackRecord, ReconstructionRows]:
    """Return the figures and the images of ``attack``, which sees the activations of ``layer``.

    Without a layer it sees only the classes. At most N_REBUILT members are rebuilt, and at most as
    many nonmembers, the same ones for every layer and trial, because the activations of more would
    not fit a worker.
    """
    start = time.perf_counter()

    subject: Subject
    if layer is None:
        subject = Classes(members=members, nonmembers=nonmembers, seed=sub_seed(seed, "eye"))
        observed = Observed(layer=None, activations=None, labels=subject.labels)
    else:
        subject = draw_examples(*knowledge.exclude_known(members, nonmembers), seed=seed)
        observed = subject.observe(target, layer)

    attack_seed = sub_seed(seed, "inversion", name, layer or "class")
    with naming(f"inversion attack {name!r}"):
        rebuilt = attack.reconstruct(target, observed, knowledge, seed=attack_seed)
        check_reconstruction(rebuilt, (len(observed.labels), *members.shape))

    control: dict[str, Any] = {}
    if isinstance(subject, Examples):
        rebuilt, others = subject.separate(rebuilt)
        control = _control_figures(rebuilt, others, subject)

    originals = subject.originals(rebuilt.images)
    likeness = _likeness(rebuilt.images, originals)
    recognition = subject.recognition(rebuilt.images) if likeness else None
    floor_mean, floor_label = floors(knowledge.pool if len(knowledge.pool) else nonmembers, subject)
    record = AttackRecord(
        trial_id=trial_id,
        family="inversion",
        attack=name,
        parameters=parameters_json(attack),
        layer=layer,
        decoder=rebuilt.decoder,
        n_members=len(subject.members),
        n_rebuilt=len(subject.labels),
        ssim=_mean(likeness.get("ssim")),
        **{"mse": _mean(likeness.get("mse")), **control},
        floor_mean=floor_mean,
        floor_label=floor_label,
        converged=bool(likeness) and bool(rebuilt.converged.all()),
        converged_share=float(rebuilt.converged.mean()) if likeness else 0.0,
        cost=_mean(rebuilt.cost),
        **_recognition_figures(recognition, subject.labels),
        seconds=time.perf_counter() - start,
    )

    first = slice(subject.n_stored)
    rows = ReconstructionRows(
        attack=name,
        layer=layer,
        example=originals.indices[first],
        label=subject.labels[first],
        original=originals.pixels()[first],
        image=(rebuilt.images[first] * 255).round().astype(np.float32) / np.float32(255),
        converged=rebuilt.converged[first],
        cost=None if rebuilt.cost is None else rebuilt.cost[first],
        recognised=(None if recognition is None else (recognition.names == subject.labels)[first]),
        **{key: values[first] for key, values in likeness.items()},
        errors=(originals.indices, likeness["mse"]) if likeness else None,
    )
    return record, rows


def draw_examples(members: Split, nonmembers: Split, *, seed: int) -> Examples:
    """Return at most N_REBUILT of the members, and at most as many nonmembers."""
    chosen: list[Split] = []
    for split, names in ((members, ["inversion"]), (nonmembers, ["inversion", "nonmembers"])):
        most = len(chosen[0]) if chosen else N_REBUILT
        order = np.random.default_rng(sub_seed(seed, *names)).permutation(len(split))
        chosen.append(split.rows(order[:most]))
    return Examples(
        members=chosen[0], nonmembers=chosen[1], seed=sub_seed(seed, "inversion", "order")
    )


def _control_figures(
    rebuilt: Reconstruction, others: Reconstruction, subject: Examples
) -> dict[str, Any]:
    """Return the figures of the nonmembers, and the intervals over members and nonmembers."""
    likeness = _likeness(others.images, subject.nonmembers)
    errors = _likeness(rebuilt.images, subject.members).get("mse", np.empty(0))
    control = likeness.get("mse", np.empty(0))
    figures: dict[str, Any] = {"n_nonmembers": len(subject.nonmembers)}
    if len(control):
        figures["mse_nonmembers"] = _mean(control)
        figures["ssim_nonmembers"] = _mean(likeness.get("ssim"))

    if len(errors) > 1:
        figures |= intervals.of_mean(errors).columns("mse")
    if len(control) > 1:
        figures |= intervals.of_mean(control).columns("mse_nonmembers")
    if min(len(errors), len(control)) > 1:
        figures |= intervals.of_gap(control, errors).columns("mse_gap")
    return figures


def _mean(values: NDArray[np.float64] | None) -> float | None:
    return None if values is None else float(values.mean())


def _likeness(images: NDArray[np.float32], originals: Split) -> dict[str, NDArray[np.float64]]:
    """Return each row's ``mse`` and, for image data, ``ssim``; empty if a pixel is not finite."""
    if not np.isfinite(images).all():
        return {}
    real = originals.pixels()
    errors = {"mse": metrics.squared_errors(images, real)}
    return errors | ({"ssim": metrics.similarities(images, real)} if originals.is_image else {})


def _recognition_figures(
    recognition: Recognition | None, labels: NDArray[np.int64]
) -> dict[str, Any]:
    if recognition is None:
        return {}
    rate = intervals.proportion(int((recognition.names == labels).sum()), len(labels))
    return rate.columns("recognition_rate") | {"recogniser_accuracy": recognition.accuracy}


def floors(pool: Split, subject: Subject) -> tuple[float, float]:
    """Return the MSE of the mean image of the ``pool``, and of its class-mean images.

    These guesses use no model, so an inversion that is no better has rebuilt nothing.
    """
    pixels, labels = pool.pixels(), subject.labels
    mean = pixels.mean(axis=0)
    by_class = {label: pixels[pool.labels == label] for label in np.unique(labels)}
    means = {label: some.mean(axis=0) if len(some) else mean for label, some in by_class.items()}

    guesses = (
        np.broadcast_to(mean, (len(labels), *mean.shape)),
        np.stack([means[k] for k in labels]),
    )
    of_mean, of_label = (
        metrics.mean_squared_error(guess, subject.originals(guess).pixels()) for guess in guesses
    )
    return of_mean, of_label
