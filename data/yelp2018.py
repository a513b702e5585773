"""Yelp reviews of the 2018 challenge in the split of the LightGCN and NGCF papers."""

from __future__ import annotations

from data.formats import adjacency_parts
from data.recipe import Recipe, Source

SPLIT = "https://raw.githubusercontent.com/gusye1234/LightGCN-PyTorch/master/data/yelp2018"

RECIPES = (
    Recipe(
        name="yelp2018",
        kind="split",
        users=31_668,
        items=38_048,
        events=1_561_406,
        publisher="He et al. 2020 (LightGCN), https://github.com/gusye1234/LightGCN-PyTorch; "
        "Yelp data set, 2018 challenge",
        licence="Yelp data set terms: academic use, no redistribution",
        note="No checksum is published; a download is checked against the known pairs instead.",
        source=Source({f"{p}.txt": f"{SPLIT}/{p}.txt" for p in ("train", "test")}, adjacency_parts),
        digests={
            "train": "23e048af8640a7bff9471e8bde17c7e33e000f3e3bf4ad31207aaaf1e3ee5ad7",
            "test": "de62e890b0c40b44d89e44ddc209ab137c558bb57e1e5737aae1c370afabeeff",
        },
    ),
)
