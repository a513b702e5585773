"""Benchmark knowledge graphs in their published parts."""

from __future__ import annotations

from data.formats import fact_parts
from data.recipe import Graph, Source

CONVE = "https://github.com/TimDettmers/ConvE"
ARCHIVES = "https://raw.githubusercontent.com/TimDettmers/ConvE"
# the commit of the release of its triples
CODEX = (
    "https://raw.githubusercontent.com/tsafavi/codex/"
    "e805ea2f512d7f0f8e44f213bc4db51dac0de118/data/triples/codex-s"
)
KEMP = "Kemp et al. 2006; split of Dettmers et al. 2018, " + CONVE
NO_LICENCE = "published for research without an explicit licence"
UNSEEN = "Some entities of valid and test never occur in train."


def _archive(commit: str, name: str) -> Source:
    file = f"{name}.tar.gz"
    return Source({file: f"{ARCHIVES}/{commit}/{file}"}, fact_parts)


RECIPES = (
    Graph(
        name="fb15k-237",
        entities=14_541,
        relations=237,
        facts=(272_115, 17_535, 20_466),
        publisher="Toutanova and Chen 2015; files of Dettmers et al. 2018, " + CONVE,
        licence="Freebase, CC BY 2.5; labels from Wikidata, CC0",
        note="Entities are Freebase ids; data.entities has labels of most. " + UNSEEN,
        source=_archive("9e3ad48b3f7bdf1f512dca1723b77bce500508e1", "FB15k-237"),
        digests={
            "train": "8d2a771809b0f38f2824c839f25ec57e3a187405049112751e72c82ee9eb3e12",
            "valid": "1c4febacc6daabc6f3f8e72650935126ef208b098be3a90a81780ba69401836d",
            "test": "a7156e4560d173ee2e3e8504c490e95d14fa893f1863a6d584d2f5053489a647",
        },
    ),
    Graph(
        name="wn18rr",
        entities=40_943,
        relations=11,
        facts=(86_835, 3034, 3134),
        publisher="Dettmers et al. 2018, " + CONVE,
        licence="WordNet licence: free use and redistribution with its notice",
        note="Entities are WordNet offsets with leading zeros, so text; data.entities has "
        "synsets, several where the offset is ambiguous. " + UNSEEN,
        source=_archive("86eb7dcbbea5f1074529db70654517713030ba62", "WN18RR"),
        digests={
            "train": "70fbc1c7881f33bd10c77bb493127fad58e5720f260d39c137fc927ecfb5d7f6",
            "valid": "0f42971b8aa35b97350a9aec3e2015bdce5d33636ed2d5a5b9ea5b2ea5f36547",
            "test": "92f29d2ed83e81896b91575792696fb4d79db289789128f4c1ddbb38b1a07350",
        },
    ),
    Graph(
        name="codex-s",
        entities=2_034,
        relations=42,
        facts=(32_888, 1827, 1828),
        publisher="Safavi and Koutra 2020, https://github.com/tsafavi/codex",
        licence="MIT; Wikidata, CC0",
        note="Entities and relations are Wikidata ids; data.relations has labels.",
        source=Source({f"{part}.txt": f"{CODEX}/{part}.txt" for part in Graph.parts}, fact_parts),
        digests={
            "train": "b474f0bcef256ff9a8e76bb7d2be459f45d5843b8557a29028e79cc10a2aeeee",
            "valid": "43eb7ccc5309081986df7dfa3d530a0609c4d75325831086038f7c3b131ed4f6",
            "test": "29f42710dcab8551acf260d3bf84b22839fce48c47727cc173a5fb5c99e64822",
        },
    ),
    Graph(
        name="kinship",
        entities=104,
        relations=25,
        facts=(8544, 1068, 1074),
        publisher=KEMP,
        licence=NO_LICENCE,
        note="Kinship terms of the Alyawarra: who calls whom what.",
        source=_archive("9e77da660b877aa5e584e2b35bb4a5beafcbb421", "kinship"),
        digests={
            "train": "ebbbfcdbc08e6e9c9c4f8a40e4eb60ac25e105d6f65bb7f4c7234cf9c5f4a539",
            "valid": "e4f7d94a2bc5373e7306edcc42458a99a9ef4218c7cd0137a47db10dd1c2b88b",
            "test": "1d2f6e45db7d59ef6e92822f73fd4350cb0bfa2f043c3fa054aa05a0b4bdd821",
        },
    ),
    Graph(
        name="umls",
        entities=135,
        relations=46,
        facts=(5216, 652, 661),
        publisher=KEMP,
        licence=NO_LICENCE,
        note="Semantic network of the Unified Medical Language System.",
        source=_archive("87a1f4d23272d467d5b82a26aa9de0b38670c011", "umls"),
        digests={
            "train": "de6801fd5ca13372b5a0f314462fac674346badc292462c58e2f2852c147534f",
            "valid": "64c7771d5b5e2b5d76eaf93c758b45130c89cf419c5b963689956209ec213c95",
            "test": "cc119a3289e7f3a4f389b9f9e42d76e36a305f48ae5292315cfd0488083a2e14",
        },
    ),
    Graph(
        name="nations",
        entities=14,
        relations=55,
        facts=(1592, 199, 201),
        publisher=KEMP,
        licence=NO_LICENCE,
        note="Relations among 14 nations, 1950 to 1965.",
        source=_archive("87a1f4d23272d467d5b82a26aa9de0b38670c011", "nations"),
        digests={
            "train": "221440ca1f3f182772e0947b882f6ca78014d9defc61d5052f67503b36796e80",
            "valid": "5149131c1c9732f780a1097b99145e2c3f1edbb1051faccc7a90fb1efb574b05",
            "test": "19bde3b6d6f573e1bcc4bd50e52f3954243293a64ec2455a298e9941f71a7002",
        },
    ),
)
