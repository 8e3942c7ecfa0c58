"""Keep the hashes of a sweep's data in its folder, and refuse data that have changed."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from typing import Any

from raysweep.config.plain_text import one_line
from raysweep.config.user_function import is_reference
from raysweep.data import Dataset, Splits
from raysweep.errors import RaysweepError, StoreError
from raysweep.records.store import Store

DATA = "data.json"

KINDS = ("data", "splits")
"""What is hashed: the examples, and how they are dealt."""


def kept_hashes(store: Store) -> dict[str, dict[str, str]]:
    """Return the hashes in a results folder by :func:`raysweep.data.deal_key`; none at first."""
    try:
        kept = json.loads(store.folder.read_bytes(DATA))
        return {key: {kind: str(hashes[kind]) for kind in KINDS} for key, hashes in kept.items()}
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        reason = one_line(error)
        raise StoreError(f"{store.path}/{DATA} is damaged ({reason})", remedy="remove it") from None


def keep_hashes(store: Store, loaded: Mapping[str, Splits]) -> None:
    """Write the hashes of the data that a sweep reads, or refuse data that have changed.

    Raises:
        StoreError: the folder holds a sweep on other data.

    """
    kept = kept_hashes(store)
    now = {key: {"data": splits.data_hash, "splits": splits.hash} for key, splits in loaded.items()}
    for key in now.keys() & kept.keys():
        if now[key] != kept[key]:
            raise StoreError(
                f"{store.path} holds a sweep on other data: {_change(key, kept[key], now[key])}",
                remedy="restore the data, or give another --out (nothing was changed)",
            )
    store.folder.write_bytes(json.dumps(kept | now, indent=1).encode(), DATA)


def refuse_other_data(first: Store, second: Store) -> None:
    """Raise :class:`StoreError` if two sweeps read other data under one name."""
    one, other = kept_hashes(first), kept_hashes(second)
    for key, against in itertools.product(one, other):
        is_same = one[key] == other[against]
        if key != against:  # dealt by another seed, so that only the examples are the same
            is_same = _without_seed(key) != _without_seed(against)
            is_same |= one[key]["data"] == other[against]["data"]
        if not is_same:
            raise StoreError(
                f"these sweeps cannot share a front, {_where(key)} was other data or dealt into "
                f"other splits in {first.path} than in {second.path}"
            )


def _without_seed(key: str) -> Any:
    """Return what a key says of the data but for the seed; a stranger's key as it is."""
    try:
        settings, _seed = json.loads(key)
    except (ValueError, TypeError, RecursionError):
        return key
    return settings


def _where(key: str) -> str:
    """Return in words which data a key names; the key may have been written by a stranger."""
    try:
        return Dataset.parse(json.loads(key)[0]).where
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError, RaysweepError):
        return "the data set"


def _change(key: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Return in words what changed in the deal of a key."""
    where = _where(key)
    if before["data"] == now["data"]:
        return f"{where} is dealt into other splits than when the sweep began"
    is_function = is_reference(json.loads(key)[0]["name"])
    cause = " (its function may give other data at each call)" if is_function else ""
    return (
        f"{where} is not what the sweep began with{cause}: "
        f"hash {before['data']} became {now['data']}"
    )
