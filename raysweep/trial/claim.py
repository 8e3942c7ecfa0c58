"""Hold what the attacks of a trial have measured against what its epsilon allows any attacker."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from raysweep.attacks.intervals import least_rate, most_rate
from raysweep.config import sub_seed
from raysweep.defences.dpsgd.tradeoff import RATES, most_found
from raysweep.errors import PrivacyError
from raysweep.records.columns import ScoreRows
from raysweep.training.signals import Floats

if TYPE_CHECKING:
    from raysweep.training.recipe import PrivacySpent


LEVEL = 0.999
"""How sure the bounds of one call are, all together."""


def refuse_broken_claim(
    scores: Sequence[ScoreRows],
    spent: PrivacySpent | None,
    group_records: int | None,
    *,
    seed: int,
) -> None:
    """Raise :class:`PrivacyError` if an attack has found more members than epsilon allows.

    ``scores`` may be of several models, each with a score of each example. Thresholds are chosen on
    one half of the examples and bounded on the other, by Clopper and Pearson 1934. Where members
    come in groups, the bound is that of a whole group: an attack may know a record by others of its
    group.
    """
    if spent is None:
        return
    for row in scores:
        for tpr, fpr in _bounds(row, len(scores), seed=sub_seed(seed, "claim", row.attack)):
            most = most_found(
                fpr,
                spent.noise_multiplier,
                sample_rate=spent.sample_rate,
                steps=spent.steps,
                records=group_records or 1,
            )
            if tpr > most:
                raise PrivacyError(
                    f"attack {row.attack!r} finds at least {100 * tpr:.3g} % of the members at "
                    f"{100 * fpr:.3g} % false alarms or fewer ({100 * LEVEL:g} % sure), and "
                    f"epsilon {spent.epsilon:.3g} allows at most {100 * most:.3g} %: the training "
                    "does not keep its guarantee",
                    remedy="run `raysweep selftest` on the space, and look for members that are "
                    "in the data more than once",
                )


def rows_of_models(attack: str, scores: Floats, inside: NDArray[np.bool_]) -> ScoreRows:
    """Return the scores (K, n) of K models, of which ``inside`` says who is a member, as rows."""
    k, n = scores.shape
    return ScoreRows(
        attack=f"{attack} of {k} models",
        example=np.tile(np.arange(n), k),
        member=inside.ravel(),
        score=scores.ravel(),
    )


def _bounds(row: ScoreRows, n_attacks: int, *, seed: int) -> Iterator[tuple[float, float]]:
    """Yield a lower bound of the true-positive rate and an upper one of the false-positive rate.

    There is a pair for each of RATES.
    """
    examples, places = np.unique(row.example, return_inverse=True)
    chosen = (np.random.default_rng(seed).random(len(examples)) < 0.5)[places]
    strangers = row.score[chosen & ~row.member]
    if len(strangers) == 0:
        return
    members, others = row.score[~chosen & row.member], row.score[~chosen & ~row.member]

    alpha = (1 - LEVEL) / (2 * n_attacks * len(RATES))
    for rate in RATES:
        threshold = np.quantile(strangers, 1 - rate, method="higher")
        found, alarms = (members > threshold).sum(), (others > threshold).sum()
        tpr = least_rate(found, len(members), alpha)
        yield float(tpr), float(most_rate(alarms, len(others), alpha))
