"""Pictures of fitted models: every kind there is, and a clear word where there is none."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

import kg.plots
import recsys.plots
from hyperrank import portrait, store
from hyperrank.hyperbolic import radius
from hyperrank.pairs import pair_set
from hyperrank.plots import NothingToDrawError
from hyperrank.portrait import KINDS, Look, draw, groups_of, listed, read_groups
from hyperrank.scorers import Constant, Factors
from hyperrank.vocabulary import Vocabulary
from kg import MIGTF, TuckER
from link_predictors import Fixed, Paths, parity_facts
from recsys import EASE, Interactions, Popularity, PureSVD, TriplH, UltraGCN

pytest.importorskip("matplotlib")

FACTS = parity_facts()
SMALL: dict[str, Any] = {"entity_dim": 6, "relation_dim": 3, "epochs": 3, "batch_size": 30}


@pytest.fixture
def log(checkerboard: Interactions) -> Interactions:
    return checkerboard


def test_every_kind_of_a_recommender(log: Interactions) -> None:
    model = TriplH(dim=4, epochs=3, evaluate_every=1).fit(*log.split_random(0.2))
    for kind in KINDS:
        figure = getattr(recsys.plots, kind)(model)
        assert type(figure).__name__ == "Figure"
        assert figure.get_suptitle().startswith("TriplH: ")
    assert "users" in recsys.plots.disk(model, users=True).axes[0].get_title(loc="left")
    assert (
        recsys.plots.popularity(model, 3).legends[0].get_texts()[0].get_text()[:10] == "lists of 3"
    )


@pytest.mark.filterwarnings("ignore:20 of 50 validation facts are in train")
def test_every_kind_of_a_link_predictor() -> None:
    model = MIGTF(**SMALL, hyperbolic_dim=3, curvature=-1 / 1.3).fit(
        FACTS, parity_facts(50, number=1)
    )
    for kind in KINDS:
        figure = getattr(kg.plots, kind)(model)
        assert figure.get_suptitle().startswith("MIGTF: ")
    found = draw(kg.plots.subject(model), "disk")
    assert found.numbers["curvature"] == pytest.approx(-1 / 1.3)
    assert found.figure.get_suptitle() == "MIGTF: 30 entities on the Poincaré disk"
    spectra = draw(kg.plots.subject(model), "spectrum").numbers
    assert {name: row["size"] for name, row in spectra.items()} == {
        "points": 3, "TuckER's vectors": 6
    }  # fmt: skip
    groups = {f"e{n}": n % 2 for n in range(30)}
    figure = kg.plots.disk(model, groups)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["0", "1"]


def test_euclidean_link_predictors() -> None:
    found = draw(kg.plots.subject(TuckER(**SMALL).fit(FACTS)), "disk")
    assert found.figure.get_suptitle() == "TuckER: 30 entities on two principal axes"
    subject = kg.plots.subject(Paths().fit(FACTS))
    facts = subject.known
    assert int(facts.candidate_degrees.sum()) == 2 * len(FACTS)
    assert draw(subject, "spectrum").numbers["vectors"]["size"] == 30
    plain = Fixed(values=torch.zeros(4, 30, 30)).fit(FACTS)
    with pytest.raises(NothingToDrawError, match=r"^Fixed learns no vectors; use TuckER or MIGTF$"):
        kg.plots.disk(plain)


@pytest.mark.parametrize("geometry", ["triangle", "lorentzian", "geodesic"])
def test_hyperbolic_items_are_the_free_vectors(
    geometry: Any, log: Interactions, generator: torch.Generator
) -> None:
    model = TriplH(dim=3, epochs=1, geometry=geometry, item_radius=geometry == "geodesic").fit(log)
    one = recsys.plots.subject(model).table()
    assert (one.curvature, one.rows.shape) == (-1.0, (len(model.items_), 3))
    torch.testing.assert_close(one.distance, radius(one.rows.double(), curvature=-1.0))
    if geometry == "geodesic":  # no dot product, so there is one spectrum
        assert list(recsys.plots.subject(model).spectra()) == ["items"]
        return
    again = model._item_vectors(one.rows)
    torch.testing.assert_close(again, model._factors().candidates, rtol=1e-4, atol=1e-5)


def test_flat_models_are_no_disk(log: Interactions) -> None:
    for model in (UltraGCN(dim=4, epochs=1), TriplH(dim=4, epochs=1, geometry="cosine")):
        figure = recsys.plots.disk(model.fit(log))
        assert figure.get_suptitle().endswith("items on two principal axes")


def test_the_spectrum_of_scores(log: Interactions) -> None:
    model = PureSVD(dim=4).fit(log)
    factors = model._factors()
    want = torch.linalg.svdvals((factors.queries @ factors.candidates.T).double())[:4]
    found = recsys.plots.subject(model).spectra()["scores of all users"].values
    torch.testing.assert_close(found, want, rtol=1e-5, atol=1e-5)


def test_the_dial_is_not_drawn(log: Interactions) -> None:
    model = TriplH(dim=3, epochs=1).fit(log)
    turned = recsys.plots.subject(model.with_popularity(0.5)).table()
    table = recsys.plots.subject(model).table()
    assert table.others is not None
    assert turned.others is not None
    torch.testing.assert_close(turned.others, table.others)


def test_models_without_something(log: Interactions) -> None:
    for model in (EASE().fit(log), Popularity().fit(log)):
        for kind in ("disk", "radius", "spectrum"):
            with pytest.raises(NothingToDrawError, match="learns no vectors; use a factor model"):
                getattr(recsys.plots, kind)(model)
        assert "top 10% of items" in recsys.plots.popularity(model).get_suptitle()
    with pytest.raises(NothingToDrawError, match=r"^PureSVD keeps no training history: it is not"):
        recsys.plots.training(PureSVD(dim=3).fit(log))
    with pytest.raises(ValueError, match="no picture 'face'; there are disk, radius, popularity"):
        draw(recsys.plots.subject(PureSVD(dim=3).fit(log)), "face")
    with pytest.raises(ValueError, match="not fitted"):
        recsys.plots.disk(TriplH())


def test_training_curves_survive_a_store(log: Interactions, tmp_path: Path) -> None:
    model = UltraGCN(dim=4, epochs=3, evaluate_every=1).fit(*log.split_random(0.2))
    before = draw(recsys.plots.subject(model), "training").numbers
    store.save(model, tmp_path / "m")
    loaded = store.load(tmp_path / "m")
    assert isinstance(loaded, UltraGCN)
    assert draw(recsys.plots.subject(loaded), "training").numbers == before
    assert before["best"] == max(value for _, value in model.validation_history_)
    alone = copy.copy(model)
    alone.validation_history_ = []
    assert len(recsys.plots.training(alone).axes) == 1


def test_listed_against_counting(
    generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    query = torch.randint(0, 20, (90,), generator=generator)
    candidate = torch.randint(0, 12, (90,), generator=generator)
    known = pair_set(query, candidate, n_queries=25, n_candidates=12)
    scorer = Factors(*(torch.randn(n, 3, generator=generator) for n in (25, 12)))
    counts, lists = listed(scorer, known, 4)
    wanted, pairs = [0] * 12, set(zip(query.tolist(), candidate.tolist(), strict=True))
    asked = {one for one, _ in pairs}
    for one in asked:
        row = scorer.score(torch.tensor([one]))[0].tolist()
        free = [place for place in range(12) if (one, place) not in pairs]
        for place in sorted(free, key=row.__getitem__)[-4:]:
            wanted[place] += 1
    assert (counts.tolist(), lists) == (wanted, len(asked))
    monkeypatch.setattr(portrait, "MOST_LISTS", 5)
    some = listed(Constant(torch.arange(12.0)), known, 4, 1)
    assert some[1] == 5
    assert int(some[0].sum()) <= 20
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        listed(scorer, known, 0)


def test_groups_of_ids() -> None:
    known = Vocabulary.from_ids([3, 5, 8])
    assert groups_of({5: "a", 99: "b", 8: None, 3: 1990}, known, "rows") == ["1990", "a", None]
    message = "the groups are of 1 ids, such as 99, of which the model knows none among its 3 rows"
    with pytest.raises(ValueError, match=message):
        groups_of({99: "b"}, known, "rows")
    with pytest.raises(ValueError, match="groups are of 0 ids, such as none"):
        groups_of({}, known, "rows")


def test_groups_in_a_file(tmp_path: Path) -> None:
    known = Vocabulary.from_ids([3, 5, 8])
    (tmp_path / "a.csv").write_text("id,kind,year\n5,a,1990\n3,,1991\n5,b,\n")
    path = str(tmp_path / "a.csv")
    assert read_groups(path, "kind", "id", known) == {5: "b", 3: None}
    assert read_groups(path, "year", "id", known) == {5: None, 3: 1991}
    with pytest.raises(ValueError, match="has no column 'kinds'; did you mean 'kind'"):
        read_groups(path, "kinds", "id", known)


def test_look_is_by_popularity() -> None:
    assert Look() == (None, False, 10, 0)
