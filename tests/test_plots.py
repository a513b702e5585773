"""What pictures of lists, spectra and training say, and that they say what is true."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import reference_plots
from hyperrank.plots import Names, NothingToDrawError, popularity, spectra, training
from hyperrank.spectrum import Spectrum, spectrum

pytest.importorskip("matplotlib")

NAMES = Names("Model", "rows", "friends", "askers")


def labels(axes: Any) -> list[str]:
    return [line.get_label() for line in axes.lines if line.get_label()[0] != "_"]


def test_popularity(generator: torch.Generator) -> None:
    degree = torch.randint(1, 200, (150,), generator=generator)
    listed = torch.randint(0, 9, (150,), generator=generator) * (degree > 90)
    found = popularity(listed, degree, 7, "40 askers", NAMES)
    for name, counts in (("lists", listed), ("training", degree)):
        told = found.numbers[name]
        for key, most in (("top_1", 2), ("top_10", 15)):
            slow = reference_plots.held_by_top(counts.tolist(), degree.tolist(), most)
            assert told[key] == pytest.approx(slow)
        assert told["gini"] == pytest.approx(reference_plots.gini(counts.tolist()))
    assert (found.numbers["in_top_1"], found.numbers["in_top_10"]) == (2, 15)
    first, second = (f"{found.numbers[name]['top_10']:.0%}" for name in ("lists", "training"))
    (axes,) = found.figure.axes
    title = f"Model: the top 10% of rows hold {first} of lists, {second} of training"
    assert found.figure.get_suptitle() == title
    lists, known, alike = labels(axes)
    assert lists.startswith("lists of 7 for 40 askers: top 1% hold ")
    assert lists.endswith(f"Gini {found.numbers['lists']['gini']:.2f}")
    assert (known[:9], alike) == ("training:", "if all had the same")
    assert axes.get_xscale() == "log"
    assert axes.get_xlabel() == "share of the 150 rows, those of most friends first"


def test_a_catalogue_of_one() -> None:
    one = torch.ones(1, dtype=torch.int64)
    assert popularity(one, one, 1, "1 askers", NAMES).numbers["lists"]["top_1"] == 1


def test_empty_lists() -> None:
    with pytest.raises(NothingToDrawError, match="lists of Model are empty: all rows are known to"):
        popularity(torch.zeros(3, dtype=torch.int64), torch.ones(3).long(), 5, "2 askers", NAMES)


def test_spectra(generator: torch.Generator) -> None:
    table = torch.randn(30, 6, generator=generator) * torch.arange(1, 7)
    values = spectrum(table)
    found = spectra({"one": values, "flat": Spectrum(torch.ones(4))}, NAMES)
    rank = reference_plots.effective_rank(table.double().numpy())
    most = reference_plots.rank_of_energy(table.double().numpy(), 0.9)
    assert found.numbers["one"]["effective_rank"] == pytest.approx(rank)
    assert found.numbers["one"]["rank_90"] == most
    assert found.numbers["flat"]["size"] == 4
    (axes,) = found.figure.axes
    assert labels(axes)[0] == (
        f"one: effective rank {rank:.1f} of 6 (dashed), 90% of energy in {most} (dotted)"
    )
    marked = [float(line.get_xdata()[0]) for line in axes.lines if line.get_label()[0] == "_"]
    assert marked == pytest.approx([rank, most, 4, 4])
    assert axes.get_yscale() == "log"
    assert axes.get_ylim()[0] <= 0.5


def test_spectrum_of_zeros() -> None:
    found = spectra({"none": Spectrum(torch.zeros(3))}, NAMES)
    assert found.numbers["none"]["effective_rank"] == 0
    assert labels(found.figure.axes[0])[0].startswith("none: effective rank 0.0 of 3")


def test_training_with_validation() -> None:
    looks = [[0, 0.1], [2, 0.3], [4, 0.2]]
    found = training([3.0, 2.0, 1.5, 1.2], looks, 2, "ndcg@20", NAMES)
    assert found.numbers == {
        "epochs": 4, "first_loss": 3.0, "last_loss": 1.2, "metric": "ndcg@20", "best_epoch": 2,
        "best": 0.3,
    }  # fmt: skip
    assert found.figure.get_suptitle() == "Model: 4 epochs, best at 2 with ndcg@20 0.3000"
    loss, look = found.figure.axes
    assert loss.lines[0].get_xydata().tolist() == [[1, 3], [2, 2], [3, 1.5], [4, 1.2]]
    assert look.lines[0].get_xydata().tolist() == looks
    assert look.lines[1].get_xydata().tolist() == [[2, 0.3]]
    assert (loss.get_ylabel(), look.get_ylabel()) == ("mean loss", "ndcg@20, validation")


def test_training_alone_and_over_magnitudes() -> None:
    found = training([100.0, 1.0, 0.5], [], 3, "mrr", NAMES)
    (axes,) = found.figure.axes
    assert axes.get_yscale() == "log"
    assert axes.get_title(loc="left") == "No validation data was given."
    assert found.figure.get_suptitle() == "Model: 3 epochs"
    assert "best" not in found.numbers
    assert training([1.0, -3.0], [], 2, "mrr", NAMES).figure.axes[0].get_yscale() == "linear"
