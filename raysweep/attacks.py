"""What an attacker may know, and the judge who alone knows who is a member."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from raysweep import metrics
from raysweep.config import plain, sub_seed
from raysweep.data import Split, concatenate
from raysweep.record import AttackRecord, ScoreRows

if TYPE_CHECKING:
    from raysweep.shadows import Shadow
    from raysweep.train import TrainedTarget

Access = Literal["black-box", "white-box"]  # what an attack needs of the target itself
DatasetName = str | dict[str, Any]
FPRS = {"0_001": 0.001, "0_01": 0.01, "0_1": 0.1}


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


def parameters_json(attack: Any) -> str:
    """Return an attack's parameters as strict JSON."""
    return json.dumps(plain(asdict(attack)), sort_keys=True)


def judge_membership(
    name: str,
    attack: MembershipAttack,
    target: TrainedTarget,
    *,
    members: Split,
    nonmembers: Split,
    knowledge: Knowledge,
    trial_id: str,
    seed: int,
) -> tuple[AttackRecord, ScoreRows]:
    """Shuffle members among nonmembers, let ``attack`` score them, and compare with the truth.

    Those that ``knowledge`` holds as known are left out, whatever the attack.
    """
    start = time.perf_counter()
    own = sub_seed(seed, "membership", name)
    members, nonmembers = knowledge.unknown(members, nonmembers)
    truth = np.repeat([True, False], [len(members), len(nonmembers)])
    order = np.random.default_rng(sub_seed(seed, "judge")).permutation(len(truth))
    examples, truth = concatenate(members, nonmembers, order), truth[order]
    granted = knowledge.granted(attack, target)
    scores = attack.score(target, examples, granted, seed=own)
    record = AttackRecord(
        trial_id=trial_id,
        family="membership",
        attack=name,
        parameters=parameters_json(attack),
        n_members=len(members),
        n_nonmembers=len(nonmembers),
        n_known_members=None if granted.known is None else len(granted.known.members),
        n_known_nonmembers=None if granted.known is None else len(granted.known.nonmembers),
        **_figures(scores, truth, seed=own),
        seconds=time.perf_counter() - start,
    )
    rows = ScoreRows(
        attack=name,
        example=examples.indices,
        member=truth,
        score=scores.values.astype(np.float64),
        reached=None if scores.distances is None else scores.distances.reached,
    )
    return record, rows


def _figures(scores: Scores, truth: NDArray[np.bool_], *, seed: int) -> dict[str, Any]:
    values = scores.values.astype(np.float64)
    area = metrics.auc_interval(values, truth, seed=sub_seed(seed, "bootstrap"))
    figures: dict[str, Any] = {
        "auc": area.value,
        "auc_low": area.low,
        "auc_high": area.high,
        "advantage_oracle": metrics.advantage_oracle(values, truth),
    }
    if scores.threshold is not None:
        gap = metrics.advantage(values, truth, scores.threshold)
        figures |= {"advantage": gap.value, "advantage_low": gap.low, "advantage_high": gap.high}
    if scores.distances is not None:
        figures |= _distance_figures(scores.distances, truth, seed=seed)
    for label, fpr in FPRS.items():
        found = metrics.tpr_at_fpr(values, truth, fpr, seed=sub_seed(seed, "ties"))
        if found is not None:
            key = f"tpr_at_fpr_{label}"
            figures |= {key: found.tpr.value, f"{key}_low": found.tpr.low}
            figures |= {f"{key}_high": found.tpr.high, f"{key}_realised_fpr": found.realised_fpr}
    return figures


def _distance_figures(found: Distances, truth: NDArray[np.bool_], *, seed: int) -> dict[str, Any]:
    """Return the mean distances and their gap, over all and over those unsure at first."""
    figures: dict[str, Any] = {
        "n_unsure_members": int((found.unsure & truth).sum()),
        "n_unsure_nonmembers": int((found.unsure & ~truth).sum()),
        "unreached_members": float((~found.reached[truth]).mean()),
        "unreached_nonmembers": float((~found.reached[~truth]).mean()),
    }
    for kind, chosen in (("distance", np.ones_like(truth)), ("unsure_distance", found.unsure)):
        members, nonmembers = found.values[chosen & truth], found.values[chosen & ~truth]
        if len(members) and len(nonmembers):
            gap = metrics.relative_gap(members, nonmembers, seed=sub_seed(seed, "gap", kind))
            figures |= {f"{kind}_members": float(members.mean()), f"{kind}_gap": gap.value}
            figures |= {f"{kind}_nonmembers": float(nonmembers.mean())}
            figures |= {f"{kind}_gap_low": gap.low, f"{kind}_gap_high": gap.high}
    return figures
