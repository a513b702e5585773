"""Attacks stay within their balls, do harm, and say no to what they cannot do."""

from __future__ import annotations

import copy

import numpy as np
import pandas as pd
import pytest
import torch

from hyperrank import attacks, store
from hyperrank.attacks import METHODS, attacked, rms_row_norm
from hyperrank.scorers import Factors
from recsys import BPRMF, EASE, ImplicitALS, Interactions, PureSVD, TriplH, UltraGCN
from recsys.attacks import LOSSES, _rising, accuracy_under_attack, vectors_of
from recsys.attacks import attacked as attacked_model

RADII = (0.3, 0.7)


def made() -> pd.DataFrame:
    """Two tastes: users and items of one parity."""
    source = np.random.default_rng(0)
    user = source.integers(0, 60, 2400)
    return pd.DataFrame({"user": user, "item": 2 * source.integers(0, 30, 2400) + user % 2})


TRAIN, TEST = Interactions.from_frame(made()).split_random(0.3)
SMALL = {"dim": 8, "epochs": 3}
MODELS = [
    UltraGCN(**SMALL, negatives=60),
    BPRMF(dim=8, epochs=10, batch_size=64, lr=0.02),
    TriplH(**SMALL),
    TriplH(**SMALL, geometry="lorentzian"),
    PureSVD(dim=5),
    ImplicitALS(dim=5),
]


def product_loss(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    return (left @ right.T - 1).square().sum()


def tables(generator: torch.Generator, size: float = 1.0) -> list[torch.Tensor]:
    return [size * torch.randn(n, 4, generator=generator) for n in (6, 9)]


@pytest.mark.parametrize("method", METHODS)
def test_rows_stay_within_their_balls(method: str, generator: torch.Generator) -> None:
    start = tables(generator)
    kept = [table.clone() for table in start]
    moved = attacked(product_loss, start, RADII, method, generator=generator)
    for before, after, same, radius in zip(start, moved, kept, RADII, strict=True):
        far = (after - before).norm(dim=1)
        assert (far <= radius * (1 + 1e-5)).all()
        assert torch.equal(before, same)
        if method != "pgd":
            torch.testing.assert_close(far, torch.full_like(far, radius))


def test_gradients_harm_more_than_chance_and_more_steps_more(generator: torch.Generator) -> None:
    start = tables(generator)
    loss = {
        method: float(
            product_loss(*attacked(product_loss, start, RADII, method, generator=generator))
        )
        for method in METHODS
    }
    assert loss["pgd"] > loss["fgsm"] > loss["random"]
    one = attacked(product_loss, start, RADII, "pgd", steps=1, generator=generator)
    assert float(product_loss(*start)) < float(product_loss(*one)) < loss["pgd"]


def test_fgsm_moves_along_the_gradient_of_rows_that_have_one(generator: torch.Generator) -> None:
    left, right = (table.requires_grad_() for table in tables(generator))

    def loss(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        return 1e-30 * product_loss(left[:4], right)  # squares of such slopes vanish

    slope = torch.autograd.grad(product_loss(left[:4], right), left)[0]
    moved = attacked(loss, [left, right], RADII, "fgsm", generator=generator)[0] - left.detach()
    cosine = torch.nn.functional.cosine_similarity(moved[:4], slope[:4])
    torch.testing.assert_close(cosine, torch.ones(4))
    assert not moved[4:].any()


def test_pgd_keeps_the_best_tables_that_it_met(generator: torch.Generator) -> None:
    def peak(table: torch.Tensor) -> torch.Tensor:
        return -table.square().sum()

    top = [torch.zeros(3, 2)]
    assert torch.equal(attacked(peak, top, [1.0], generator=generator)[0], top[0])
    near = [torch.full((3, 2), 1e-3)]  # every step of a quarter oversteps the peak
    assert torch.equal(attacked(peak, near, [1.0], generator=generator)[0], near[0])


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (((1.0, 1.0), "cw", 1), "method must be one of pgd, fgsm, random, got 'cw'"),
        (((1.0, 1.0), "pgd", 0), "steps must be at least 1, got 0"),
        (((1.0,), "pgd", 1), "got 1 radii for 2 tables; give one for each"),
        (((1.0, -1.0), "pgd", 1), r"radii must be numbers of at least 0, got \[1.0, -1.0\]"),
    ],
)
def test_refusals_of_the_floor(given: tuple, text: str) -> None:
    """By the inner check: under this suite the type of the outer door speaks first."""
    with pytest.raises(ValueError, match=text):
        attacks._check(2, *given)


def test_rms_row_norm() -> None:
    assert rms_row_norm(torch.tensor([[3.0, 4.0], [0.0, 0.0]])) == pytest.approx(12.5**0.5)
    assert rms_row_norm(torch.empty(0, 3)) == 0


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
def test_attacks_harm_a_model_more_than_chance(model) -> None:
    model.fit(TRAIN)
    before = model.scorer_.queries.clone()
    frame = accuracy_under_attack(model, TRAIN, TEST, [0.8], metric="ndcg@10", seeds=(0, 1))
    value = frame.set_index("method")["value"]
    assert frame["epsilon"].tolist() == [0, 0.8, 0.8, 0.8]
    assert value["clean"] == pytest.approx(model.score(TEST))
    assert value["pgd"] < value["random"] - 0.01
    assert torch.equal(model.scorer_.queries, before)


@pytest.mark.parametrize("model", MODELS[2:4], ids=["triangle", "lorentzian"])
def test_free_vectors_of_triplh_move_and_are_lifted(model) -> None:
    model.fit(TRAIN)
    moved = attacked_model(model, TRAIN, 0.5, "fgsm")
    before, after = vectors_of(model).free, vectors_of(moved).free
    told = moved.attack_
    assert told["user_radius"] == pytest.approx(0.5 * rms_row_norm(before.queries))
    far = (after.queries - before.queries).norm(dim=1)
    torch.testing.assert_close(far, torch.full_like(far, told["user_radius"]), rtol=1e-3, atol=0)
    torch.testing.assert_close(model._item_vectors(after.candidates), moved.scorer_.candidates)


@pytest.mark.parametrize("loss", ["bpr", "auc"])
def test_each_loss_rises_over_the_triples_that_it_is_made_of(loss) -> None:
    model = PureSVD(dim=5).fit(TRAIN)
    vectors, pairs = vectors_of(model), TRAIN.pairs
    rising = _rising(loss, vectors, pairs, 5000, torch.Generator().manual_seed(0))
    before = rising(vectors.free.queries, vectors.free.candidates)
    after = attacked_model(model, TRAIN, 0.4, "fgsm", loss=loss).scorer_
    assert rising(after.queries, after.candidates) > 1.2 * before


def test_triples_may_be_read_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    model = BPRMF(dim=8, epochs=1).fit(TRAIN)
    found = []
    for size in (2**14, 1):
        monkeypatch.setattr("recsys.attacks.TRIPLES_AT_ONCE", size)
        found.append(attacked_model(model, TRAIN, 0.2, "fgsm", triples=1000).scorer_)
    torch.testing.assert_close(found[0].queries, found[1].queries)
    torch.testing.assert_close(found[0].candidates, found[1].candidates)


def test_the_auc_loss_knows_no_scale() -> None:
    model = PureSVD(dim=5).fit(TRAIN)
    large = copy.copy(model)
    large.scorer_ = Factors(100 * model.scorer_.queries, model.scorer_.candidates)
    one, other = (attacked_model(m, TRAIN, 0.2, loss="auc") for m in (model, large))
    torch.testing.assert_close(
        100 * one.scorer_.queries, other.scorer_.queries, rtol=1e-3, atol=0.1
    )


@pytest.mark.gpu
def test_the_gpu_attacks_as_well() -> None:
    model = TriplH(dim=8, epochs=3, device="cuda").fit(TRAIN)
    frame = accuracy_under_attack(model, TRAIN, TEST, [0.8])
    value = frame.set_index("method")["value"]
    assert value["pgd"] < value["random"] - 0.01


def test_the_copy_answers_saves_and_repeats(tmp_path) -> None:
    model = PureSVD(dim=5).fit(TRAIN)
    moved, again = (attacked_model(model, TRAIN, 0.2, random_state=3) for _ in range(2))
    assert torch.equal(moved.scorer_.queries, again.scorer_.queries)
    store.save(moved, tmp_path / "moved")
    assert store.load(tmp_path / "moved").attack_ == moved.attack_
    same = attacked_model(model, TRAIN, 0.0)
    assert torch.equal(same.scorer_.queries, model.scorer_.queries)


def test_refusals_of_models() -> None:
    svd = PureSVD(dim=5).fit(TRAIN)
    with pytest.raises(ValueError, match="epsilon must be a number of at least 0, got -1"):
        attacked_model(svd, TRAIN, -1)
    with pytest.raises(ValueError, match="loss must be one of bpr, auc, got 'hinge'"):
        attacks.check_loss("hinge", LOSSES)
    with pytest.raises(TypeError, match="EASE learns no vectors"):
        attacked_model(EASE().fit(TRAIN), TRAIN, 0.1)
    radius = TriplH(dim=4, epochs=1, item_radius=True).fit(TRAIN)
    with pytest.raises(TypeError, match="vectors that are not all free; fit it without"):
        attacked_model(radius, TRAIN, 0.1)
    strange = Interactions.from_frame(pd.DataFrame({"user": [777], "item": [888]}))
    with pytest.raises(ValueError, match="no pair of the log has a user and an item of the model"):
        attacked_model(svd, strange, 0.1)
    with pytest.raises(ValueError, match="seeds is empty; give one at least"):
        accuracy_under_attack(svd, TRAIN, TEST, seeds=())
