"""Likelihood ratios: a model against models that did, or did not, train on an example.

RMIA (Zarifzadeh et al. 2024) and LiRA (Carlini et al. 2022). Against one model they are offline:
its references are shadows of the pool. In an ensemble they are online: half of an example's
references trained on it. The functions of arrays take log-odds log(p / (1 - p)) of the label's
posterior p, in float64. They tell apart posteriors near 1 that round to 1 themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NamedTuple

import numpy as np
from annotated_types import Ge, Gt, Le
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field
from pydantic.dataclasses import dataclass

from raysweep.attacks.contract import Knowledge, Need, Scores, Target
from raysweep.data import Split
from raysweep.errors import DataError
from raysweep.training import signals
from raysweep.training.signals import Floats

if TYPE_CHECKING:
    from raysweep.attacks.shadows import TrainedShadow

Bools = NDArray[np.bool_]

CHOICES = tuple(tenth / 10 for tenth in range(11))
"""The values of ``a`` among which ``auto`` chooses."""

OWN_VARIANCE = 64
"""Models from which on each example has its own variance in LiRA."""

LEAST_VARIANCE = 1e-12
"""A lower variance is raised to it: equal log-odds then have equal densities."""


def _check_a(a: Any) -> Any:
    is_number = isinstance(a, int | float) and not isinstance(a, bool)
    if a == "auto" or (is_number and 0 <= a <= 1):
        return a
    raise ValueError(f"`a` must be auto, or a number in [0, 1], got {a!r}")


@dataclass(frozen=True, kw_only=True)
class Rmia:
    """Black-box with the label and data of the target's distribution.

    The posterior of an example's label is compared with that of ``n_shadows`` models that did not
    train on the example: the shadows of the attack ``shadow``. Training on the example is taken to
    raise a posterior p to ``a`` p + 1 - ``a``. With ``auto`` the shadows' own members and
    nonmembers choose ``a``.
    """

    needs: ClassVar[tuple[Need, ...]] = ("pool-shadows",)

    n_shadows: Annotated[int, Gt(0), Field(description="shadow models to train")] = 1
    a: Annotated[
        Annotated[float, Ge(0), Le(1)] | Literal["auto"],
        BeforeValidator(_check_a),
        Field(description="1: training does not raise a posterior; 0: it raises it to 1"),
    ] = "auto"

    def score(self, target: Target, examples: Split, knowledge: Knowledge, *, seed: int) -> Scores:
        """Return :func:`log_ratio`, and the threshold that is best for attacks on the shadows.

        A shadow is attacked with the other shadows and the target as references: the target did
        not train on the pool. No judged example is used.
        """
        shadows = knowledge.shadows(self.n_shadows)
        judged = _odds(target, _references(shadows), examples)
        rehearsals = [_rehearse(target, shadows, number) for number in range(len(shadows))]

        a = _best_a(rehearsals) if self.a == "auto" else self.a
        return Scores(values=judged.log_ratio(a), threshold=_best_threshold(rehearsals, a))

    def score_online(self, odds: Floats, references: Floats, seen: Bools) -> Floats:
        """Return log p - log((p_in + p_out) / 2), (n,), of the model's log-odds (n,).

        ``references`` (n, k) are those of models of which some saw each example, as ``seen`` says.
        """
        return log_ratio(odds, expected_odds_online(references, seen))


@dataclass(frozen=True, kw_only=True)
class Lira:
    """Black-box with the label and data of the target's distribution.

    The log-odds of an example's label are taken as Gaussian over models. Against one model the
    score is how many standard deviations its log-odds lie above the mean of ``n_shadows`` models
    that did not train on the example. Below 64 models all examples share one variance.
    """

    needs: ClassVar[tuple[Need, ...]] = ("pool-shadows",)

    n_shadows: Annotated[int, Gt(0), Field(description="shadow models to train")] = 4

    def score(self, target: Target, examples: Split, knowledge: Knowledge, *, seed: int) -> Scores:
        """Return the standard deviations above the mean; the attack sets no threshold."""
        shadows = knowledge.shadows(self.n_shadows)
        model, references, seen = _odds(target, _references(shadows), examples)
        _check_unseen(seen)
        out = _gaussian(references, ~seen, n_models=len(shadows))
        return Scores(values=(model - out.mean) / np.sqrt(out.variance))

    def score_online(self, odds: Floats, references: Floats, seen: Bools) -> Floats:
        """Return log N(odds; in) - log N(odds; out), (n,), of the model's log-odds (n,).

        ``references`` (n, k) are those of models of which some saw each example, as ``seen`` says.
        The model and its complement, which is none of them, count as models too.
        """
        n_models = references.shape[1] + 2
        inside = _gaussian(references, seen, n_models=n_models)
        return inside.log_density(odds) - _gaussian(
            references, ~seen, n_models=n_models
        ).log_density(odds)


def log_ratio(odds: Floats, expected: Floats) -> Floats:
    """Return log p - log p(x), (n,), of the model's log-odds (n,) and the expected ones (n,).

    The paper scores an example x by the share of population examples z that it beats: those with
    ratio(x) >= gamma ratio(z). On one model this share rises with ratio(x), whatever gamma and z
    are. It ties the examples that beat the same z, so that the ratio itself ranks better.
    """
    result: Floats = np.logaddexp(0.0, -expected) - np.logaddexp(0.0, -odds)
    return result


def expected_odds(references: Floats, seen: Bools, a: float) -> Floats:
    """Return the log-odds of p(x) = ((1 + a) p_out + 1 - a) / 2, (n,).

    p_out is the mean posterior over the references that did not see the example. ``references``
    holds their log-odds, (n, k), and ``seen`` (n, k) says which of them trained on the example.
    ``a`` is in [0, 1].

    Raises:
        DataError: all references saw an example.

    """
    _check_unseen(seen)
    out, not_out = _log_means(references, ~seen)
    weight = np.log((1 + a) / 2)
    raised = out + weight if a == 1 else np.logaddexp(out + weight, np.log((1 - a) / 2))
    odds: Floats = raised - (not_out + weight)
    return odds


def expected_odds_online(references: Floats, seen: Bools) -> Floats:
    """Return the log-odds of p(x) = (p_in + p_out) / 2, (n,).

    p_in and p_out are the mean posteriors over the references that saw the example and over those
    that did not; each example has some of both. The shapes are those of :func:`expected_odds`.
    """
    inside, not_inside = _log_means(references, seen)
    out, not_out = _log_means(references, ~seen)
    odds: Floats = np.logaddexp(inside, out) - np.logaddexp(not_inside, not_out)
    return odds


def _log_means(odds: Floats, chosen: Bools) -> tuple[Floats, Floats]:
    """Return log mean p and log mean (1 - p), (n,), over the chosen references of each example."""
    count = np.log(chosen.sum(axis=1))

    def log_mean(logs: Floats) -> Floats:
        result: Floats = np.logaddexp.reduce(np.where(chosen, logs, -np.inf), axis=1) - count
        return result

    return log_mean(-np.logaddexp(0.0, -odds)), log_mean(-np.logaddexp(0.0, odds))


def _check_unseen(seen: Bools) -> None:
    """Raise :class:`DataError` if all references (n, k) trained on an example."""
    all_saw = seen.all(axis=1)
    if all_saw.any():
        raise DataError(
            f"all shadows trained on {int(all_saw.sum()):,} of {len(seen):,} examples",
            remedy="train more shadows, or take examples that are not in the pool",
        )


class _Gaussian(NamedTuple):
    """The mean and the variance of log-odds over models, (n,)."""

    mean: Floats
    variance: Floats

    def log_density(self, odds: Floats) -> Floats:
        density: Floats = -((odds - self.mean) ** 2) / (2 * self.variance)
        return density - np.log(2 * np.pi * self.variance) / 2


def _gaussian(odds: Floats, chosen: Bools, *, n_models: int) -> _Gaussian:
    """Return the Gaussian of the chosen references of each example, (n,), from odds (n, k).

    Below OWN_VARIANCE models the variance is that around the examples' means, over all examples;
    around the mean of all, where no example has two references.
    """
    count = chosen.sum(axis=1)
    mean = np.where(chosen, odds, 0.0).sum(axis=1) / count
    squares = np.where(chosen, (odds - mean[:, None]) ** 2, 0.0).sum(axis=1)
    freedom = count - 1

    if n_models >= OWN_VARIANCE and freedom.all():
        variance = squares / freedom
    elif freedom.any():
        variance = np.full(len(odds), squares.sum() / freedom.sum())
    else:
        variance = np.full(len(odds), odds[chosen].var())
    return _Gaussian(mean, np.maximum(variance, LEAST_VARIANCE))


class _Reference(NamedTuple):
    """A model and the indices of the examples that it trained on."""

    model: Target
    trained_on: NDArray[np.int64]


class _Odds(NamedTuple):
    """Log-odds of a model (n,) and of its references (n, k), and which of them saw the example."""

    model: Floats
    references: Floats
    seen: Bools

    def log_ratio(self, a: float) -> Floats:
        return log_ratio(self.model, expected_odds(self.references, self.seen, a))


class _Rehearsal(NamedTuple):
    """The attack on a shadow, whose members (n,) the attacker knows."""

    odds: _Odds
    is_member: Bools


def _references(shadows: Sequence[TrainedShadow]) -> list[_Reference]:
    return [_Reference(shadow.target, shadow.members.indices) for shadow in shadows]


def _odds(model: Target, references: Sequence[_Reference], examples: Split) -> _Odds:
    def odds(of: Target) -> Floats:
        return signals.label_log_odds(of.logits(examples), examples.labels)

    return _Odds(
        model=odds(model),
        references=np.stack([odds(reference.model) for reference in references], axis=1),
        seen=np.stack([np.isin(examples.indices, r.trained_on) for r in references], axis=1),
    )


def _rehearse(target: Target, shadows: Sequence[TrainedShadow], number: int) -> _Rehearsal:
    """Return the attack on one shadow, by the target and the other shadows."""
    attacked, others = shadows[number], [*shadows[:number], *shadows[number + 1 :]]
    nothing = np.empty(0, dtype=np.int64)  # of the pool
    references = [_Reference(target, nothing), *_references(others)]

    splits = (attacked.members, attacked.nonmembers)
    parts = [_odds(attacked.target, references, split) for split in splits]
    return _Rehearsal(
        odds=_Odds(*map(np.concatenate, zip(*parts, strict=True))),
        is_member=np.repeat([True, False], [len(split) for split in splits]),
    )


def _best_a(rehearsals: Sequence[_Rehearsal]) -> float:
    """Return the choice nearest to the middle among those whose mean AUC is about the highest.

    The highest itself is mostly chance: that choice had an AUC .002 lower on other examples (six
    kinds of targets, n = 63).
    """
    from raysweep.attacks.metrics import auc

    areas = np.mean(
        [[auc(odds.log_ratio(a), is_member) for a in CHOICES] for odds, is_member in rehearsals],
        axis=0,
    )
    is_member = rehearsals[0].is_member
    deviation = np.sqrt((1 / is_member.sum() + 1 / (~is_member).sum()) / 12)  # of an AUC near 0.5
    high = [
        a for a, area in zip(CHOICES, areas, strict=True) if area >= areas.max() - deviation / 4
    ]
    return min(high, key=lambda a: abs(a - 0.5))


def _best_threshold(rehearsals: Sequence[_Rehearsal], a: float) -> float:
    """Return the threshold with the highest TPR - FPR over all rehearsals."""
    from raysweep.attacks.metrics import roc

    values = np.concatenate([odds.log_ratio(a) for odds, _ in rehearsals])
    fpr, tpr = roc(values, np.concatenate([is_member for _, is_member in rehearsals]))
    falling = np.append(np.inf, np.unique(values)[::-1])
    return float(falling[np.argmax(tpr - fpr)])
