"""What an inversion attack is shown, what it rebuilds, and the judge who knows the originals."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from raysweep.attacks import metrics
from raysweep.attacks.contract import InversionAttack, Knowledge, Observed
from raysweep.config import sub_seed
from raysweep.data import Split
from raysweep.records.columns import AttackRecord, ReconstructionRows
from raysweep.trial import face_recogniser as recogniser
from raysweep.trial.membership_judge import parameters_json

if TYPE_CHECKING:
    from raysweep.training.target import TrainedTarget


N_STORED_IMAGES = 16

N_REBUILT = 2000

N_REAL = 2000  # images that the independent eye learns from


class Subject(Protocol):
    """What is to be rebuilt, and what that is held against."""

    @property
    def n_stored(self) -> int | None:
        """How many images are kept; None: all."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """The class of each."""

    def originals(self, images: NDArray[np.floating]) -> Split:
        """Return what each image (n, *shape) is held against."""

    def recognition(self, images: NDArray[np.floating]) -> Recognition | None:
        """Return whom an independent eye sees in the images, where that says anything."""


@dataclass(frozen=True, kw_only=True)
class Recognition:
    """The class seen in each image, (n,), by an eye that is right on ``accuracy`` of real ones."""

    names: NDArray[np.int64]
    accuracy: float


@dataclass(frozen=True, kw_only=True)
class Examples:
    """Members, each held against itself."""

    members: Split
    n_stored: int | None = N_STORED_IMAGES

    @property
    def labels(self) -> NDArray[np.int64]:
        """The class of each member."""
        return self.members.labels

    def originals(self, images: NDArray[np.floating]) -> Split:
        """Return the members themselves."""
        return self.members

    def recognition(self, images: NDArray[np.floating]) -> None:
        """Return None: an example is known by its error."""


@dataclass(frozen=True, kw_only=True)
class Classes:
    """Every class of the members, held against the nearest of its members (least MSE).

    The eye learns from the ``members`` and is tested on the ``nonmembers``.
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
            own = np.flatnonzero(self.members.labels == label)
            errors = metrics.squared_errors(self.members.rows(own).pixels(), image[None])
            nearest.append(own[errors.argmin()])
        return self.members.rows(np.array(nearest))

    def recognition(self, images: NDArray[np.floating]) -> Recognition:
        """Return whom linear discriminant analysis of the real members sees."""
        order = np.random.default_rng(self.seed).permutation(len(self.members))
        real = self.members.rows(order[:N_REAL])
        eye = recogniser.fit(real.pixels(), real.labels)
        accuracy = eye.accuracy(self.nonmembers.pixels(), self.nonmembers.labels)
        return Recognition(names=eye.names(images), accuracy=accuracy)


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
    """Show ``attack`` what ``layer`` gives of the members (None: no more than their classes).

    Measure what it rebuilds. At most N_REBUILT members that no attacker knows, the same for every
    layer and trial: activations of more would not fit a worker.
    """
    start = time.perf_counter()
    subject: Subject
    if layer is None:
        subject = Classes(members=members, nonmembers=nonmembers, seed=sub_seed(seed, "eye"))
        observed = Observed(layer=None, activations=None, labels=subject.labels)
    else:
        members, _ = knowledge.exclude_known(members, nonmembers)
        order = np.random.default_rng(sub_seed(seed, "inversion")).permutation(len(members))
        subject = Examples(members=members.rows(order[:N_REBUILT]))
        activations = target.activations(subject.members, layer)
        observed = Observed(layer=layer, activations=activations, labels=subject.labels)
    own = sub_seed(seed, "inversion", name, layer or "class")
    rebuilt = attack.reconstruct(target, observed, knowledge, seed=own)
    found = subject.originals(rebuilt.images)
    likeness = _likeness(rebuilt.images, found)
    seen = subject.recognition(rebuilt.images) if likeness else None
    floor_mean, floor_label = floors(knowledge.pool if len(knowledge.pool) else nonmembers, subject)
    record = AttackRecord(
        trial_id=trial_id,
        family="inversion",
        attack=name,
        parameters=parameters_json(attack),
        layer=layer,
        decoder=rebuilt.decoder,
        n_members=len(members) if layer is None else len(subject.labels),
        n_rebuilt=len(subject.labels),
        mse=_mean(likeness.get("mse")),
        ssim=_mean(likeness.get("ssim")),
        floor_mean=floor_mean,
        floor_label=floor_label,
        converged=bool(likeness) and bool(rebuilt.converged.all()),
        converged_share=float(rebuilt.converged.mean()) if likeness else 0.0,
        cost=_mean(rebuilt.cost),
        **_recognised(seen, subject.labels),
        seconds=time.perf_counter() - start,
    )
    first = slice(subject.n_stored)
    rows = ReconstructionRows(
        attack=name,
        layer=layer,
        example=found.indices[first],
        label=subject.labels[first],
        original=found.pixels()[first],
        image=(rebuilt.images[first] * 255).round().astype(np.float32) / np.float32(255),
        converged=rebuilt.converged[first],
        cost=None if rebuilt.cost is None else rebuilt.cost[first],
        recognised=None if seen is None else (seen.names == subject.labels)[first],
        **{key: values[first] for key, values in likeness.items()},
    )
    return record, rows


def _mean(values: NDArray[np.float64] | None) -> float | None:
    return None if values is None else float(values.mean())


def _likeness(images: NDArray[np.float32], originals: Split) -> dict[str, NDArray[np.float64]]:
    """Return each image's ``mse`` and, of images, ``ssim``; nothing where a pixel is not finite."""
    if not np.isfinite(images).all():
        return {}
    real = originals.pixels()
    errors = {"mse": metrics.squared_errors(images, real)}
    return errors | ({"ssim": metrics.similarities(images, real)} if originals.is_image else {})


def _recognised(seen: Recognition | None, labels: NDArray[np.int64]) -> dict[str, Any]:
    if seen is None:
        return {}
    rate = metrics.proportion(int((seen.names == labels).sum()), len(labels))
    return {
        "recognition_rate": rate.value,
        "recognition_rate_low": rate.low,
        "recognition_rate_high": rate.high,
        "recogniser_accuracy": seen.accuracy,
    }


def floors(pool: Split, subject: Subject) -> tuple[float, float]:
    """Return the MSE of the mean image of the ``pool``, and of its class-mean images.

    They see no model: an inversion that is no better than them has rebuilt nothing.
    """
    pixels, labels = pool.pixels(), subject.labels
    mean = pixels.mean(axis=0)
    by_class = {label: pixels[pool.labels == label] for label in np.unique(labels)}
    means = {label: own.mean(axis=0) if len(own) else mean for label, own in by_class.items()}
    guesses = (
        np.broadcast_to(mean, (len(labels), *mean.shape)),
        np.stack([means[k] for k in labels]),
    )
    of_mean, of_label = (
        metrics.mean_squared_error(guess, subject.originals(guess).pixels()) for guess in guesses
    )
    return of_mean, of_label
