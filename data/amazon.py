"""Amazon reviews: the published splits of CDs, Electronics and Books, and the Beauty log."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from data.formats import adjacency_parts, json_lines
from data.recipe import Recipe, Source, Tables

REVIEWS = "reviews by McAuley et al., https://cseweb.ucsd.edu/~jmcauley/datasets/amazon/links.html"
LICENCE = "published for research without an explicit licence; do not redistribute"
BY_HAND = (
    "No stable address is known: fetch train.txt and test.txt by hand and put them into the cache "
    "folder. Checksum unknown, not verified."
)
# the commit that added the split
KGAT = (
    "https://raw.githubusercontent.com/xiangwang1223/knowledge_graph_attention_network/"
    "7bbdb5d080093e9680c97eff76b78278a8500034/Data/amazon-book"
)
BEAUTY = "https://snap.stanford.edu/data/amazon/productGraph/categoryFiles/reviews_Beauty_5.json.gz"


def _beauty(files: Mapping[str, Path]) -> Tables:
    fields = {"user": "reviewerID", "item": "asin", "rating": "overall"}
    path = files["reviews_Beauty_5.json.gz"]
    return {"interactions": json_lines(path, {**fields, "timestamp": "unixReviewTime"})}


RECIPES = (
    Recipe(
        name="amazon-cds",
        kind="split",
        users=43_169,
        items=35_648,
        events=777_426,
        publisher="BARS, https://huggingface.co/datasets/reczoo/AmazonCDs_m1; " + REVIEWS,
        licence=LICENCE,
        note="CDs and Vinyl, the split of the UltraGCN paper. " + BY_HAND,
        digests={
            "train": "a542454bf1ff050e7515a2c030f29d7cc44b380d200a10d685db3a651cf4cb57",
            "test": "f1ff18b2216bfab49a4ed10b0686baccb807d9bb66764884b885e29e63c28a91",
        },
    ),
    Recipe(
        name="amazon-electronics",
        kind="split",
        users=1435,
        items=1522,
        events=35_931,
        publisher="Mao et al. 2021, https://github.com/xue-pai/UltraGCN; " + REVIEWS,
        licence=LICENCE,
        note="The split of the UltraGCN paper. " + BY_HAND,
        digests={
            "train": "fa1cd2eb038705109c832d6eadb37b99bd0476d907c8e4c5f9eeb953f40ef4f5",
            "test": "b21d8f9c9399b53f4136411792bb2a05445c6371088522943b00bec08bdc4d82",
        },
    ),
    Recipe(
        name="amazon-cd-hgcf",
        kind="split",
        users=22_947,
        items=18_395,
        events=422_301,
        publisher="Yang et al. 2022 (HICF), https://github.com/marlin-codes/HICF; " + REVIEWS,
        licence=LICENCE,
        note="CDs and Vinyl, the split of the hyperbolic recommenders HGCF, HRCF and HICF. It is "
        "published as pickle files, which run code when they are read, so nothing is fetched.",
        digests={
            "train": "6351cc56c5f0d5df58a5dd081365676909f099c23d05a89d4d791ab98e8b5397",
            "test": "94458a0268511d51462f28f4e145df03e71cc7c8c5d34a72d6c55107074604f4",
        },
    ),
    Recipe(
        name="amazon-book-kgat",
        kind="split",
        users=70_679,
        items=24_915,
        events=846_434,
        publisher="Wang et al. 2019 (KGAT), "
        "https://github.com/xiangwang1223/knowledge_graph_attention_network; " + REVIEWS,
        licence=LICENCE,
        note="The KGAT split, which is not the Amazon-Book split of the LightGCN paper. No "
        "checksum is published; a download is checked against the known pairs instead.",
        source=Source({f"{p}.txt": f"{KGAT}/{p}.txt" for p in ("train", "test")}, adjacency_parts),
        digests={
            "train": "3868d18344a92be675f533fc3d8d6bacaa59228aac0a3e36f3f96c923998bdbf",
            "test": "c0f4af7b15046257ff23fa2fa5310a7c1302a53c27403c12749e70a6ca573d8f",
        },
    ),
    Recipe(
        name="amazon-beauty",
        kind="log",
        users=22_363,
        items=12_101,
        events=198_502,
        publisher=REVIEWS,
        licence=LICENCE,
        note="Beauty, 5-core, 2002-06-12 to 2014-07-23, times of one-day resolution. A download "
        "has the publisher's ids, which are strings, and is checked by its sizes; checksum "
        "unknown.",
        time=("timestamp",),
        source=Source({"reviews_Beauty_5.json.gz": BEAUTY}, _beauty),
    ),
)
