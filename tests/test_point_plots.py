"""Points in the plane: what is drawn is where it is and says what it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import reference_plots
from hyperrank import point_plots
from hyperrank.figures import svg
from hyperrank.hyperbolic import to_ball
from hyperrank.plots import Names
from hyperrank.point_plots import Table, disk, quartiles, radius

pytest.importorskip("matplotlib")

NAMES = Names("Model", "rows", "friends", "askers")


def table(n: int = 60, d: int = 2, curvature: float | None = -1.0, number: int = 0) -> Table:
    source = torch.Generator().manual_seed(number)
    degree = torch.randint(1, 300, (n,), generator=source)
    rows = torch.randn(n, d, generator=source) * degree[:, None] ** 0.25 / 2
    return Table(rows, degree, NAMES, curvature, torch.randn(9, d, generator=source))


def drawn(figure: Any) -> list[np.ndarray]:
    return [np.asarray(one.get_offsets()) for one in figure.axes[0].collections]


def note(figure: Any) -> str:
    return str(figure.axes[0].get_title(loc="left"))


def test_disk_by_popularity() -> None:
    one = table()
    found = disk(one)
    assert found.figure.get_suptitle() == "Model: 60 rows on the Poincaré disk"
    assert (
        note(found.figure) == "Distances from the centre, which rings tell, and angles are exact."
    )
    (places,) = drawn(found.figure)
    lengths = to_ball(one.rows.double(), curvature=-1.0).norm(dim=1)
    order = one.degree.argsort(stable=True)
    np.testing.assert_allclose(np.linalg.norm(places, axis=1), lengths[order])
    axes, bar = found.figure.axes
    assert axes.collections[0].get_array().tolist() == one.degree[order].tolist()
    assert bar.get_ylabel() == "friends"
    assert bar.get_yscale() == "log"
    assert found.numbers["largest_distance"] == pytest.approx(float(one.distance.max()))
    rings = [text.get_text() for text in axes.texts]
    assert rings[:2] == ["0.5", "1"]


def test_disk_says_what_is_lost_and_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(point_plots, "MOST_POINTS", 25)
    one = table(d=8)
    found = disk(one, others=True, random_state=3)
    share = f"hold {found.numbers['share_of_axes']:.0%} of the directions in 8 dimensions."
    assert note(found.figure).endswith(f"{share} Drawn: 25 at random.\nCrosses: askers.")
    crosses, places = drawn(found.figure)
    assert (len(crosses), len(places), found.numbers["askers_drawn"]) == (9, 25, 9)
    again = drawn(disk(one, others=True, random_state=3).figure)[1]
    np.testing.assert_array_equal(again, places)
    assert not np.array_equal(drawn(disk(one, random_state=4).figure)[0], places)
    assert svg(found.figure).count("<image") == 1, "of the colour bar"
    monkeypatch.setattr(point_plots, "VECTOR_POINTS", 10)
    assert svg(disk(one).figure).count("<image") == 2, "many points are pixels"


def test_rings_are_hyperbolic_distances() -> None:
    found = disk(table(curvature=-4.0))
    rings = found.figure.axes[0].texts
    for ring in rings:
        distance, place = float(ring.get_text()), ring.get_position()[1]
        assert place == pytest.approx(np.tanh(distance * 2 / 2), abs=1e-9)


def test_plane_of_a_euclidean_model() -> None:
    one = table(d=5, curvature=None)
    found = disk(one)
    assert found.figure.get_suptitle() == "Model: 60 rows on two principal axes"
    share = found.numbers["share_of_axes"]
    assert note(found.figure) == (
        f"The two principal axes hold {share:.0%} of the variance of 5 numbers."
    )
    assert found.figure.axes[0].get_xlabel() == "first principal axis"
    assert found.numbers["curvature"] is None
    torch.testing.assert_close(one.distance, one.rows.double().norm(dim=1))


def test_groups() -> None:
    sizes = {"g": 3, "f": 4, "e" * 40: 5, "d": 6, "c": 7, "b": 8, "a": 9}
    groups: list[str | None] = [name for name, size in sizes.items() for _ in range(size)]
    groups += [None] * (60 - len(groups))
    found = disk(table(), groups)
    assert found.numbers["groups"] == {
        "a": 9, "b": 8, "c": 7, "d": 6, "e" * 40: 5, "f": 4, "other": 21
    }  # fmt: skip
    (legend,) = found.figure.legends
    names = [text.get_text() for text in legend.get_texts()]
    assert names == ["a", "b", "c", "d", "e" * 27 + "…", "f", "other"]
    assert [len(places) for places in drawn(found.figure)] == [9, 8, 7, 6, 5, 4, 21]
    assert len(found.figure.axes) == 1, "no colour bar"
    few = disk(table(), ["x", "y"] * 30)
    assert few.numbers["groups"] == {"x": 30, "y": 30}


@pytest.mark.parametrize("curvature", [None, -1.0])
def test_radius(curvature: float | None) -> None:
    one = table(200, 4, curvature)
    found = radius(one)
    slow = reference_plots.spearman(one.degree.tolist(), one.distance.tolist())
    assert found.numbers["spearman"] == pytest.approx(slow)
    what = "length" if curvature is None else "distance"
    title = f"Model: {what} against popularity, Spearman {slow:+.2f}"
    assert found.figure.get_suptitle() == title
    axes = found.figure.axes[0]
    assert (axes.get_xscale(), axes.get_xlabel()) == ("log", "friends")
    assert len(drawn(found.figure)[0]) == 200
    want = reference_plots.quartiles(one.degree.tolist(), one.distance.tolist(), 12, 3)
    told = [tuple(row.values()) for row in found.numbers["bins"]]
    np.testing.assert_allclose(told, want)
    medians = [middle for _, _, middle, _ in want]
    np.testing.assert_allclose(axes.lines[0].get_ydata(), medians)


def test_radius_leaves_out_what_nobody_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(point_plots, "MOST_POINTS", 30)
    one = table()
    one.degree[:4] = 0
    found = radius(one)
    assert note(found.figure) == (
        "56 rows, of which 30 are drawn at random; 4 without training are left out."
    )
    assert (found.numbers["rows"], found.numbers["drawn"]) == (56, 30)


def test_radius_without_differences() -> None:
    one = Table(torch.ones(5, 2), torch.ones(5, dtype=torch.int64), NAMES)
    found = radius(one)
    assert found.figure.get_suptitle().endswith("popularity, all alike")
    assert np.isnan(found.numbers["spearman"])
    assert quartiles(np.empty(0), np.empty(0)) == []
    assert len(drawn(disk(one).figure)[0]) == 5
