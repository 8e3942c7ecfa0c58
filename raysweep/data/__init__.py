"""Read data sets and deal them into splits, the same for every trial of a sweep."""

from raysweep.data.deal import SPLITS
from raysweep.data.loading import Dataset, deal_key, load
from raysweep.data.sources import SOURCES
from raysweep.data.splits import Split, Splits, concatenate
from raysweep.data.summary import PER_RECORD

__all__ = [
    "PER_RECORD",
    "SOURCES",
    "SPLITS",
    "Dataset",
    "Split",
    "Splits",
    "concatenate",
    "deal_key",
    "load",
]
