"""What an attacker may know, and the judge who alone knows who is a member."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from raysweep.config import sub_seed
from raysweep.data import Split

if TYPE_CHECKING:
    import torch

    from raysweep.attacks.shadows import Shadow
    from raysweep.training.target import TrainedTarget


Access = Literal["black-box", "white-box"]  # what an attack needs of the target itself

DatasetName = str | dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Distances:
    """How far each example is from a confident prediction, (n,), as fractions of [0, 1].

    ``reached`` says whether it got there, ``unsure`` that it was not there at first, both (n,).
    """

    values: NDArray[np.float64]
    reached: NDArray[np.bool_]
    unsure: NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Scores:
    """One score an example, (n,), higher = member; ``threshold`` is the attack's own, or None.

    ``distances`` are what an attack measured that scores by them.
    """

    values: NDArray[np.float64]
    threshold: float | None = None
    distances: Distances | None = None


@dataclass(frozen=True, kw_only=True)
class Known:
    """Members and nonmembers that an attacker knows for what they are; nobody is judged on them."""

    members: Split
    nonmembers: Split


def draw_known(members: Split, nonmembers: Split, share: float, *, seed: int) -> Known:
    """Return a random ``share``, in (0, 1), of each side."""

    def some(split: Split, side: str) -> Split:
        order = np.random.default_rng(sub_seed(seed, "known", side)).permutation(len(split))
        return split.rows(np.sort(order[: round(share * len(split))]))

    return Known(members=some(members, "members"), nonmembers=some(nonmembers, "nonmembers"))


class Knowledge:
    """What an attacker has: the pool, its shadows (trained once, shared), and what is granted.

    ``reference`` is public data. ``training_loss`` is the (mean, median) loss over the members,
    ``known`` some members and nonmembers: the judge grants each only to attacks whose published
    definition uses it, and judges no attack on the known ones.
    """

    def __init__(
        self,
        *,
        pool: Split,
        train_shadows: Callable[[Sequence[int], DatasetName | None], list[Shadow]] | None = None,
        reference: Split | None = None,
        training_loss: tuple[float, float] | None = None,
        known: Known | None = None,
    ) -> None:
        self.pool = pool
        self.training_loss = training_loss
        self.known = known
        self.reference = reference
        self._train_shadows = train_shadows
        self._shadows: dict[str, list[Shadow]] = {}

    def shadows(self, n: int, *, dataset: DatasetName | None = None) -> list[Shadow]:
        """Return ``n`` shadows of the target's whole recipe, trained on the pool.

        With ``dataset``, as an attack names it, they are trained on another data set.
        """
        found = self._shadows.setdefault(json.dumps(dataset, sort_keys=True), [])
        missing = range(len(found), n)
        if missing:
            assert self._train_shadows is not None, "this attacker can train no shadow"
            found += self._train_shadows(missing, dataset)
        return found[:n]

    def granted(self, attack: MembershipAttack, target: TrainedTarget) -> Knowledge:
        """Return what ``attack`` may know of this, and of ``target``'s training."""
        granted = Knowledge(
            pool=self.pool,
            train_shadows=self._train_shadows,
            reference=self.reference,
            training_loss=target.member_loss if attack.knows_training_loss else None,
            known=self.known if attack.needs_known else None,
        )
        granted._shadows = self._shadows
        return granted

    def unknown(self, members: Split, nonmembers: Split) -> tuple[Split, Split]:
        """Return both without those that are known: the ones that may be judged."""
        if self.known is None:
            return members, nonmembers
        return without(members, self.known.members), without(nonmembers, self.known.nonmembers)


def without(split: Split, others: Split) -> Split:
    """Return the examples of ``split`` that are not among ``others``."""
    return split.rows(np.flatnonzero(~np.isin(split.indices, others.indices)))


class MembershipAttack(Protocol):
    """Scores examples; never told who among them is a member."""

    access: ClassVar[Access]
    knows_training_loss: ClassVar[bool]
    needs_shadows: ClassVar[bool]
    needs_known: ClassVar[bool]

    def score(
        self, target: TrainedTarget, examples: Split, knowledge: Knowledge, *, seed: int
    ) -> Scores:
        """Return one score an example, in the order of ``examples``."""


@dataclass(frozen=True, kw_only=True)
class Observed:
    """What an inverter sees of what it is to rebuild.

    Of examples: ``activations`` (n, features) after ``layer`` (``output``: the prediction vector)
    and ``labels`` (n,). Of classes: their labels alone; ``layer`` and ``activations`` are None.
    """

    layer: str | None
    activations: torch.Tensor | None
    labels: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Reconstruction:
    """Rebuilt examples (n, *shape) in [0, 1], which of them converged (n,), and by what.

    ``cost`` (n,) is what the attack minimised, where it minimised one for each image.
    """

    images: NDArray[np.float32]
    converged: NDArray[np.bool_]
    decoder: str | None = None
    cost: NDArray[np.float64] | None = None


class InversionAttack(Protocol):
    """Rebuilds examples from what each of ``layers`` shows of them; with None, whole classes."""

    layers: tuple[str | None, ...]
    needs_pool: ClassVar[bool]

    def reconstruct(
        self, target: TrainedTarget, observed: Observed, knowledge: Knowledge, *, seed: int
    ) -> Reconstruction:
        """Return what is rebuilt, in the order of ``observed``."""
