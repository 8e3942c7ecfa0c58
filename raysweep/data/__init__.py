"""Data sets dealt into splits, the same for every trial of a sweep. Read :func:`load`."""

from raysweep.data.loading import Dataset, deal_key, load
from raysweep.data.sources import SOURCES
from raysweep.data.splits import SPLITS, Split, Splits, concatenate

__all__ = [
    "SOURCES",
    "SPLITS",
    "Dataset",
    "Split",
    "Splits",
    "concatenate",
    "deal_key",
    "load",
]
