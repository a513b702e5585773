"""MovieLens by GroupLens: 100K, 1M and the small educational set."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import pyarrow as pa

from data.formats import delimited, member, with_types
from data.recipe import Checksum, Recipe, Source, Tables

HOME = "GroupLens, https://grouplens.org/datasets/movielens/ (Harper and Konstan 2015)"
FILES = "https://files.grouplens.org/datasets/movielens"
RESEARCH = (
    "GroupLens terms: research use with citation, no commercial use, no redistribution without "
    "permission"
)
EVENT = ("user", "item", "rating", "timestamp")
TYPES = {"user": pa.int32(), "item": pa.int32(), "rating": pa.float32(), "timestamp": pa.int64()}


def _hundred_thousand(files: Mapping[str, Path]) -> Tables:
    archive = files["ml-100k.zip"]
    events = delimited(member(archive, "u.data"), EVENT, separator="\t")
    titles = member(archive, "u.item", encoding="latin-1")
    items = delimited(titles, ("item", "title"), separator="|")
    return {
        "interactions": with_types(events, TYPES),
        "items": with_types(items, {"item": pa.int32()}),
    }


def _million(files: Mapping[str, Path]) -> Tables:
    archive = files["ml-1m.zip"]
    events = delimited(member(archive, "ratings.dat"), EVENT, separator="::")
    titles = member(archive, "movies.dat", encoding="latin-1")
    items = delimited(titles, ("item", "title", "genres"), separator="::")
    return {
        "interactions": with_types(events, TYPES),
        "items": with_types(items, {"item": pa.int32()}),
    }


def _latest(files: Mapping[str, Path]) -> Tables:
    archive = files["ml-latest-small.zip"]
    events = pd.read_csv(io.StringIO(member(archive, "ratings.csv")))
    events = events.rename(columns={"userId": "user", "movieId": "item"})
    items = pd.read_csv(io.StringIO(member(archive, "movies.csv")))
    items = items.rename(columns={"movieId": "item"})
    return {
        "interactions": pa.Table.from_pandas(events[list(EVENT)], preserve_index=False),
        "items": pa.Table.from_pandas(items, preserve_index=False),
    }


RECIPES = (
    Recipe(
        name="ml-100k",
        kind="log",
        users=943,
        items=1682,
        events=100_000,
        publisher=HOME,
        licence=RESEARCH,
        note="Ratings from 1 to 5, 1997-09-20 to 1998-04-22.",
        time=("timestamp",),
        weight="rating",
        source=Source(
            {"ml-100k.zip": f"{FILES}/ml-100k.zip"},
            _hundred_thousand,
            {"ml-100k.zip": Checksum("md5", "0e33842e24a9c977be4e0107933c0723")},
        ),
        digests={
            "interactions": "9d8336c7659e40979578ed7d2bc7d17daa61c08793ae56ca16c6bb81fed22ae1"
        },
    ),
    Recipe(
        name="ml-1m",
        kind="log",
        users=6040,
        items=3706,
        events=1_000_209,
        publisher=HOME,
        licence=RESEARCH,
        note="Ratings from 1 to 5. The publisher's file has the second of each rating; copies with "
        "a column 'order' instead have its position in the user's own history.",
        time=("timestamp", "order"),
        weight="rating",
        source=Source(
            {"ml-1m.zip": f"{FILES}/ml-1m.zip"},
            _million,
            {"ml-1m.zip": Checksum("md5", "c4d9eecfca2ab87c1945afe126590906")},
        ),
        digests={
            "interactions": "04815d21c46d004ec036ab3dfd1951c4c51dfd0e7af5fa11ea286525c275e9c6"
        },
    ),
    Recipe(
        name="ml-latest-small",
        kind="log",
        users=671,
        items=9066,
        events=100_004,
        publisher=HOME,
        licence="GroupLens terms of this set: no commercial use; redistribution under the same "
        "conditions with citation",
        note="Sizes are those of the edition of October 2016. The publisher replaces the file from "
        "time to time: a download is the edition of its day, checksum unknown, not verified.",
        time=("timestamp",),
        weight="rating",
        source=Source(
            {"ml-latest-small.zip": f"{FILES}/ml-latest-small.zip"}, _latest, same_edition=False
        ),
    ),
    Recipe(
        name="ml-1m-ultragcn",
        kind="split",
        users=6022,
        items=3043,
        events=895_699,
        publisher="Mao et al. 2021, https://github.com/xue-pai/UltraGCN; from " + HOME,
        licence=RESEARCH,
        note="The split of the UltraGCN paper, with ids of its own. No stable address is known: "
        "fetch train.txt and test.txt by hand and put them into the cache folder. Checksum "
        "unknown, not verified.",
        digests={
            "train": "17caec156ce236954610da98904f31c3424fe6a552027f7647f3575f9b4731d8",
            "test": "a98f7f96c52af7ff09fceb25f33771b00638657196aa3661cf764e8e28079816",
        },
    ),
)
