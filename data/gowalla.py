"""Gowalla check-ins in the split of the LightGCN and NGCF papers."""

from __future__ import annotations

from data.formats import adjacency_parts
from data.recipe import Recipe, Source

SPLIT = "https://raw.githubusercontent.com/gusye1234/LightGCN-PyTorch/master/data/gowalla"

RECIPES = (
    Recipe(
        name="gowalla",
        kind="split",
        users=29_858,
        items=40_981,
        events=1_027_370,
        publisher="He et al. 2020 (LightGCN), https://github.com/gusye1234/LightGCN-PyTorch; "
        "check-ins of Cho et al. 2011, SNAP",
        licence="no explicit licence (SNAP research data); for evaluation, do not redistribute",
        note="No checksum is published; a download is checked against the known pairs instead.",
        source=Source({f"{p}.txt": f"{SPLIT}/{p}.txt" for p in ("train", "test")}, adjacency_parts),
        digests={
            "train": "da9435cb5137f254c6f7b35e35dd3a2151816125c5b256e2f0c3b62a20f8aa4f",
            "test": "8e957baefc5816800bdfe9dcbd00814de8e3842965bd1704ad7c5d8cdcf6968b",
        },
    ),
)
