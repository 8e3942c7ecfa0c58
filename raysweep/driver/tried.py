"""Choose the configurations of a space that are tried on its data and model before a sweep.

All are checked against the rules when the space is read. To try one builds the model or takes steps
with it, so of very many only some are tried, and the user is told.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from raysweep.space.space import Space

T = TypeVar("T")

MOST = 20  # values of an axis that are tried for their place: each takes a few steps

LIKE_A_RANGE = 5  # of a longer list of numbers: the least, the largest, and some between

MOST_SCENARIOS = 100  # that are all tried; of more, MOST are

MOST_KINDS = 100  # texts, lists of other lengths or scenarios of other keys that are all tried

WERE_TRIED = "were tried with the data and the model, the first, the last and each kind among them"


@dataclass(frozen=True, kw_only=True)
class Tried:
    """The points, axis -> value, that are tried of ``n`` at a place of the space."""

    place: tuple[str, ...]
    points: list[dict[str, Any]]
    n: int


def tried(space: Space) -> tuple[list[Tried], list[str]]:
    """Return what is tried at each place of a space, without seeds, and a note where it is not all.

    Of many values or scenarios these are the first of each kind, and some evenly from the first to
    the last, or from the least number to the largest.
    """
    groups: dict[tuple[str, ...], dict[str, dict[str, Any]]] = {}
    for place, values in space.extremes():
        unseeded = {key: value for key, value in values.items() if key != "seed"}
        groups.setdefault(place, {})[repr(unseeded)] = unseeded

    all_points = {place: [*group.values()] for place, group in groups.items()}
    named = [place for place in groups if place[0] == "scenarios"]
    left_out: set[tuple[str, ...]] = set()
    if len(named) > MOST_SCENARIOS:
        left_out = {*named} - {*_some(named, MOST, lambda place: _kind(all_points[place][0]))}

    found = [
        Tried(place=place, points=_of_many(points), n=len(points))
        for place, points in all_points.items()
        if place not in left_out
    ]
    n = len(named) - len(left_out)
    notes = [f"`scenarios`: {n:,} of {len(named):,} {WERE_TRIED}"] if left_out else []
    return found, [*notes, *_notes(found)]


def _notes(found: Sequence[Tried]) -> Iterator[str]:
    """Yield a note for each place at which some values were not tried."""
    for one in found:
        if len(one.points) < one.n:
            yield f"`{'.'.join(one.place)}`: {len(one.points)} of {one.n:,} values {WERE_TRIED}"


def _of_many(points: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the points of one place that are tried."""
    if len(points) > MOST and all(map(_is_number, points)):
        return _some(sorted(points, key=_only), LIKE_A_RANGE, _kind)
    return _some(points, MOST, _kind)


def _some(items: Sequence[T], most: int, kind: Callable[[T], Hashable]) -> list[T]:
    """Return the first item of each kind, and ``most`` evenly from the first to the last."""
    if len(items) <= most:
        return [*items]
    firsts = {kind(item): i for i, item in reversed([*enumerate(items)])}
    places = {*_evenly(sorted(firsts.values()), MOST_KINDS), *_evenly(range(len(items)), most)}
    return [items[i] for i in sorted(places)]


def _evenly(items: Sequence[int], most: int) -> list[int]:
    n, last = min(len(items), most), len(items) - 1
    return [items[round(i * last / max(1, n - 1))] for i in range(n)]


def _kind(value: Any) -> Hashable:
    """Return what values have in common that a model is likely to treat alike.

    >>> _kind({"l2": 0.1}) == _kind({"l2": 3}), _kind([16]) == _kind([16, 8]), _kind("a") == "a"
    (True, False, True)
    """
    if isinstance(value, dict):
        return tuple((key, _kind(inner)) for key, inner in value.items())
    if isinstance(value, list | tuple):
        return tuple(map(_kind, value))
    return value if isinstance(value, str | bool | None) else "a number"


def _only(values: dict[str, Any]) -> Any:
    """Return the one value in ``values``; None if it holds another number of them."""
    return next(iter(values.values())) if len(values) == 1 else None


def _is_number(values: dict[str, Any]) -> bool:
    value = _only(values)
    return isinstance(value, int | float) and not isinstance(value, bool)
