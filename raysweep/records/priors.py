"""The names of the PPV at several priors: `ppv_at_prior_0_01` is at one member in a hundred."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

PREFIX = "ppv_at_prior_"

ENDS = ("", "_low", "_high")

_FIGURE = re.compile(rf"{PREFIX}(0_\d+)")


def figure_at(prior: float) -> str:
    """Return the name of the PPV at a prior.

    >>> figure_at(0.1), figure_at(1e-5)
    ('ppv_at_prior_0_1', 'ppv_at_prior_0_00001')
    """
    return PREFIX + np.format_float_positional(prior, trim="-").replace(".", "_")


def prior_of(name: str) -> float | None:
    """Return the prior of such a figure; None for another name.

    >>> prior_of("ppv_at_prior_0_1"), prior_of("ppv_at_prior_0_1_low"), prior_of("ppv")
    (0.1, None, None)
    """
    match = _FIGURE.fullmatch(name)
    return float(match[1].replace("_", ".")) or None if match else None


def is_at_prior(column: str) -> bool:
    """Return whether a column is of the PPV at a prior: the figure, or an end of its interval."""
    return prior_of(re.sub("_(low|high)$", "", column)) is not None


def figures_at(priors: Sequence[float]) -> dict[str, float]:
    """Return the names of all PPV with their priors: `ppv` at the first, and each of several.

    >>> figures_at([0.01, 0.1])
    {'ppv': 0.01, 'ppv_at_prior_0_01': 0.01, 'ppv_at_prior_0_1': 0.1}
    >>> figures_at([0.2])
    {'ppv': 0.2}
    """
    named = {figure_at(prior): prior for prior in priors} if len(priors) > 1 else {}
    return {"ppv": priors[0], **named}


def columns_at(priors: Sequence[float]) -> list[str]:
    """Return the columns that a record has for several priors, with the ends of intervals."""
    return [f"{name}{end}" for name in figures_at(priors) if is_at_prior(name) for end in ENDS]


def stated_columns(*documents: Mapping[str, Any]) -> list[str]:
    """Return the columns for the priors of spaces, given as plain values."""
    blocks = [document.get("attacks") for document in documents]
    given = [block.get("prior") for block in blocks if isinstance(block, dict)]
    lists = [[p for p in one if isinstance(p, float)] for one in given if isinstance(one, list)]
    return list(dict.fromkeys(name for one in lists if one for name in columns_at(one)))
