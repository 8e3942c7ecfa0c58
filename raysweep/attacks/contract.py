"""The types that an attack takes and returns. This module does not import torch."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from raysweep.config import sub_seed
from raysweep.data import Split
from raysweep.errors import ModelError, NotFinite

if TYPE_CHECKING:
    import torch

    from raysweep.attacks.shadows import TrainedShadow


Need = Literal["white-box", "training-loss", "known", "pool", "pool-shadows"]
"""What an attack needs beyond posteriors and labels.

- ``white-box``: the model itself, to compute gradients.
- ``training-loss``: the mean and median loss over the members.
- ``known``: members and nonmembers whose status the attacker knows.
- ``pool``: examples of the target's distribution, to fit a decoder to.
- ``pool-shadows``: shadow models trained on the pool, which must be large enough for them.
"""

DatasetName = str | dict[str, Any]


class Target(Protocol):
    """A trained model as attacks see it: a :class:`~raysweep.training.target.TrainedTarget`."""

    @property
    def model(self) -> torch.nn.Module:
        """The model in evaluation mode, from inputs in [0, 1] to logits."""

    @property
    def n_classes(self) -> int:
        """The number of classes."""

    @property
    def member_loss(self) -> tuple[float, float]:
        """The mean and median cross-entropy over the members."""

    @property
    def device(self) -> torch.device:
        """The device that the model is on."""

    def logits(self, examples: Split) -> NDArray[np.float32]:
        """Return the logits, (n, classes)."""

    def activations(self, examples: Split, layer: str) -> torch.Tensor:
        """Return the flat activations after ``layer``, (n, features), on the CPU."""


@dataclass(frozen=True, kw_only=True)
class Distances:
    """How far each example is from a confident prediction, (n,), as fractions of [0, 1].

    ``reached`` (n,) is true if the search reached a confident prediction. ``unsure`` (n,) is true
    if the prediction was not confident at the start.
    """

    values: NDArray[np.float64]
    reached: NDArray[np.bool_]
    unsure: NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Scores:
    """One score for each example, (n,): the higher, the more likely a member.

    ``threshold`` is the score from which the attack predicts membership, None if it sets none. An
    attack that scores by distances also sets ``distances``.

    Raises:
        NotFinite: a score is not a number, so that it could not be ranked.

    """

    values: NDArray[np.float64]
    threshold: float | None = None
    distances: Distances | None = None

    def __post_init__(self) -> None:
        n_missing = int(np.isnan(self.values).sum())
        if n_missing:
            raise NotFinite(
                f"the scores of {n_missing:,} of {len(self.values):,} examples are not numbers"
            )


@dataclass(frozen=True, kw_only=True)
class Known:
    """Members and nonmembers whose status the attacker knows. They are not evaluated."""

    members: Split
    nonmembers: Split


def draw_known(members: Split, nonmembers: Split, share: float, *, seed: int) -> Known:
    """Return a random ``share``, in (0, 1), of the members and of the nonmembers."""

    def draw(split: Split, side: str) -> Split:
        order = np.random.default_rng(sub_seed(seed, "known", side)).permutation(len(split))
        return split.rows(np.sort(order[: round(share * len(split))]))

    return Known(members=draw(members, "members"), nonmembers=draw(nonmembers, "nonmembers"))


class Knowledge:
    """The data and models that an attacker has.

    ``pool`` is data of the target's distribution and ``reference`` is public data. Shadow models
    are trained on first use and shared by the attacks. ``training_loss`` is the (mean, median)
    loss over the members. Only attacks that need ``training_loss`` or ``known`` are granted them.
    """

    def __init__(
        self,
        *,
        pool: Split,
        train_shadows: Callable[[Sequence[int], DatasetName | None], list[TrainedShadow]]
        | None = None,
        reference: Split | None = None,
        training_loss: tuple[float, float] | None = None,
        known: Known | None = None,
    ) -> None:
        self.pool = pool
        self.training_loss = training_loss
        self.known = known
        self.reference = reference
        self._train_shadows = train_shadows
        self._shadows: dict[str, list[TrainedShadow]] = {}

    def shadows(self, n: int, *, dataset: DatasetName | None = None) -> list[TrainedShadow]:
        """Return ``n`` shadow models trained by the target's whole recipe on the pool.

        If ``dataset`` is given, they are trained on this data set instead, named as in an attack.
        """
        trained = self._shadows.setdefault(json.dumps(dataset, sort_keys=True), [])
        missing = range(len(trained), n)
        if missing:
            assert self._train_shadows is not None, "this attacker cannot train shadows"
            trained += self._train_shadows(missing, dataset)
        return trained[:n]

    def grant(self, attack: MembershipAttack, target: Target) -> Knowledge:
        """Return the part of this knowledge, and the training loss, that ``attack`` needs."""
        granted = Knowledge(
            pool=self.pool,
            train_shadows=self._train_shadows,
            reference=self.reference,
            training_loss=target.member_loss if "training-loss" in attack.needs else None,
            known=self.known if "known" in attack.needs else None,
        )
        granted._shadows = self._shadows
        return granted

    def exclude_known(self, members: Split, nonmembers: Split) -> tuple[Split, Split]:
        """Return the members and nonmembers that are not known, on which attacks are evaluated."""
        if self.known is None:
            return members, nonmembers
        return exclude(members, self.known.members), exclude(nonmembers, self.known.nonmembers)


def exclude(split: Split, others: Split) -> Split:
    """Return the examples of ``split`` that are not among ``others``."""
    return split.rows(np.flatnonzero(~np.isin(split.indices, others.indices)))


def check_scores(scores: Any, n: int) -> None:
    """Raise :class:`ModelError` unless ``scores`` holds one number for each of ``n`` examples."""
    if not isinstance(scores, Scores):
        raise ModelError("`score` must return Scores", got=type(scores).__name__)
    values = scores.values
    if not isinstance(values, np.ndarray) or values.shape != (n,):
        got = getattr(values, "shape", type(values).__name__)
        raise ModelError(f"Scores.values must be an array of shape ({n},)", got=got)
    if values.dtype.kind not in "biuf":
        raise ModelError("Scores.values must be numbers", got=values.dtype)


class MembershipAttack(Protocol):
    """Scores examples, and does not get the truth about their membership."""

    needs: ClassVar[tuple[Need, ...]]

    def score(self, target: Target, examples: Split, knowledge: Knowledge, *, seed: int) -> Scores:
        """Return one score for each example, in the order of ``examples``."""


@dataclass(frozen=True, kw_only=True)
class Observed:
    """The input of an inversion attack.

    For examples: ``activations`` (n, features) after ``layer`` (``output``: the log-posteriors)
    and ``labels`` (n,). Members and nonmembers are mixed, and the attack is not told which are
    which. For classes: only ``labels``; ``layer`` and ``activations`` are None.
    """

    layer: str | None
    activations: torch.Tensor | None
    labels: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Reconstruction:
    """Rebuilt examples (n, *shape) in [0, 1] and which of them converged (n,).

    ``decoder`` names the decoder that was used, if any. ``cost`` (n,) is the value that the attack
    minimised for each image, if it minimised one.
    """

    images: NDArray[np.float32]
    converged: NDArray[np.bool_]
    decoder: str | None = None
    cost: NDArray[np.float64] | None = None


def check_reconstruction(rebuilt: Any, shape: tuple[int, ...]) -> None:
    """Raise :class:`ModelError` unless ``rebuilt`` holds images of ``shape``, (n, ...)."""
    if not isinstance(rebuilt, Reconstruction):
        raise ModelError("`reconstruct` must return a Reconstruction", got=type(rebuilt).__name__)
    for name, wanted in (("images", shape), ("converged", shape[:1])):
        found = getattr(getattr(rebuilt, name), "shape", None)
        if found != wanted:
            rule = f"Reconstruction.{name} must be an array of shape {wanted}"
            raise ModelError(rule, got=found)


class InversionAttack(Protocol):
    """Rebuilds examples from activations of ``layers``; whole classes where a layer is None."""

    layers: tuple[str | None, ...]
    needs: ClassVar[tuple[Need, ...]]

    def reconstruct(
        self, target: Target, observed: Observed, knowledge: Knowledge, *, seed: int
    ) -> Reconstruction:
        """Return the reconstructions, in the order of ``observed``."""
