"""Public data sets by name, and the loaders of the packages for those who look here first.

A leaf: nothing that is installed imports it, and it is not installed itself. Each data set is
looked for in the folder that ``HYPERRANK_DATA`` names, then in the cache (``HYPERRANK_CACHE``, or
the system's cache folder), then fetched from its publisher.
"""

from __future__ import annotations

from data.catalogue import describe, entities, graph, items, log, relations, split
from data.download import DownloadError
from data.finding import MissingDataError
from hyperrank.pairs import PairSet, pair_set
from hyperrank.tables import read
from hyperrank.vocabulary import Vocabulary

__all__ = [
    "DownloadError",
    "MissingDataError",
    "PairSet",
    "Vocabulary",
    "describe",
    "entities",
    "graph",
    "items",
    "log",
    "pair_set",
    "read",
    "relations",
    "split",
]
