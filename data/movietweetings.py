"""MovieTweetings: ratings of films found in tweets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa

from data.formats import delimited, with_types
from data.recipe import Recipe, Source, Tables

# the commit that added the official snapshot of the first 100,000 ratings
SNAPSHOT = (
    "https://raw.githubusercontent.com/sidooms/MovieTweetings/"
    "4d8280a3f1ea83e3e23f13d1710d19f43564274f/snapshots/100K"
)


def _snapshot(files: Mapping[str, Path]) -> Tables:
    events = delimited(
        files["ratings.dat"].read_text(encoding="utf-8"),
        ("user", "item", "rating", "timestamp"),
        separator="::",
    )
    items = delimited(
        files["movies.dat"].read_text(encoding="utf-8"), ("item", "title", "genres"), separator="::"
    )
    types = {"user": pa.int32(), "item": pa.int32(), "rating": pa.int8(), "timestamp": pa.int64()}
    return {
        "interactions": with_types(events, types),
        "items": with_types(items, {"item": pa.int32()}),
    }


RECIPES = (
    Recipe(
        name="movietweetings",
        kind="log",
        users=21_081,
        items=12_611,
        events=141_695,
        publisher="S. Dooms et al. 2013, https://github.com/sidooms/MovieTweetings",
        licence="MIT, Copyright (c) 2013 Simon Dooms",
        note="Ratings from 0 to 10; items are IMDb numbers. Sizes are those of the file of "
        "2013-11-06; a download is the official snapshot of the first 100,000 ratings, checksum "
        "unknown, not verified.",
        time=("timestamp",),
        weight="rating",
        source=Source(
            {name: f"{SNAPSHOT}/{name}" for name in ("ratings.dat", "movies.dat")},
            _snapshot,
            same_edition=False,
        ),
    ),
)
