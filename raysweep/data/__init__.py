"""Data sets dealt into splits: the same deal for every trial of a sweep.

Read :func:`load`. ``sources`` is the catalogue, ``deal`` the arithmetic of splits.
"""

from raysweep.data.loading import deal_key, describe, find, load, share
from raysweep.data.sources import SOURCES
from raysweep.data.splits import SPLITS, Split, Splits, concatenate

__all__ = [
    "SOURCES",
    "SPLITS",
    "Split",
    "Splits",
    "concatenate",
    "deal_key",
    "describe",
    "find",
    "load",
    "share",
]
