"""Link predictors under attack, and what is certified of their answers."""

from __future__ import annotations

import copy

import numpy as np
import pandas as pd
import pytest
import torch

from hyperrank import attacks, store
from hyperrank.attacks import rms_row_norm
from hyperrank.devices import seeded
from hyperrank.vocabulary import UnknownIdError
from kg import MIGTF, Triples, TuckER
from kg.answer_batches import AnswerBatches
from kg.attacks import LOSSES, TABLES, _rising, accuracy_under_attack, attacked
from kg.certificates import _steepest
from link_predictors import Paths, parity_facts

FACTS = parity_facts()
CHOSEN = torch.arange(len(FACTS)) % 4 > 0
TRAIN, TEST = FACTS.select(CHOSEN), FACTS.select(~CHOSEN)
SMALL = {"entity_dim": 12, "relation_dim": 4, "epochs": 40, "batch_size": 16}


@pytest.fixture(scope="module")
def tucker() -> TuckER:
    return TuckER(**SMALL).fit(TRAIN)


@pytest.fixture(scope="module")
def mixed() -> MIGTF:
    return MIGTF(**SMALL, hyperbolic_dim=4).fit(TRAIN)


@pytest.fixture(params=["tucker", "mixed"])
def model(request: pytest.FixtureRequest) -> TuckER | MIGTF:
    return request.getfixturevalue(request.param)


def test_attacks_harm_more_than_chance(model) -> None:
    frame = accuracy_under_attack(model, TRAIN, TEST, [0.3], seeds=(0, 1))
    value = frame.set_index("method")["value"]
    assert value["clean"] == pytest.approx(model.score(TEST))
    assert value["pgd"] < value["random"] - 0.02
    assert value["fgsm"] < value["random"] - 0.02
    radii = [name for name in frame if name.endswith("_radius")]
    names = ["entity_radius", "relation_radius"]
    if isinstance(model, MIGTF):
        names += ["point_radius", "relation_point_radius"]
    assert sorted(radii) == sorted(names)


def test_rows_stay_within_their_balls_and_the_model_as_it_was(model) -> None:
    before = copy.deepcopy(model.module_.state_dict())
    moved, again = (attacked(model, TRAIN, 0.3, random_state=1) for _ in range(2))
    for name, table in model.module_.state_dict().items():
        assert torch.equal(table, before[name])
        after = moved.module_.state_dict()[name]
        assert torch.equal(after, again.module_.state_dict()[name])
        if name.rpartition(".")[2] in ("entities", "relations", "points", "relation_points"):
            far = (after - table).norm(dim=1).max()
            assert 0 < far <= 0.3 * rms_row_norm(table) * (1 + 1e-5)
        else:
            assert torch.equal(after, table)
    same = attacked(model, TRAIN, 0.0)
    assert torch.equal(same.module_.vectors(), model.module_.vectors())


@pytest.mark.parametrize("loss", LOSSES)
def test_each_loss_rises_over_the_queries_that_it_is_made_of(model, loss) -> None:
    asked = TRAIN.queries()
    batch = next(iter(AnswerBatches(asked, 2048, seeded(0))))
    tables = [
        {n: p for n, p in one.module_.named_parameters() if n.rpartition(".")[2] in TABLES}
        for one in (model, attacked(model, TRAIN, 0.2, "fgsm", loss=loss))
    ]
    rising = _rising(loss, model.module_, asked, batch, tables[0], seeded(1))
    before, after = (float(rising(*one.values()).detach()) for one in tables)
    assert after > 1.05 * before
    if loss == "softmax":
        logits = model.module_.score(batch.anchor, batch.relation)
        plain = -logits.log_softmax(1)[batch.position, batch.positive].mean()
        assert before == pytest.approx(float(plain), rel=1e-5)


def test_the_worse_loss_is_told(model) -> None:
    found = [attacked(model, TRAIN, 0.3, loss=loss).score(TEST) for loss in LOSSES]
    frame = accuracy_under_attack(model, TRAIN, TEST, [0.3], ["pgd"])
    assert frame["value"].tolist() == [pytest.approx(model.score(TEST)), pytest.approx(min(found))]
    assert found[0] != found[1]


def test_the_auc_loss_is_the_share_of_wrong_pairs_and_knows_no_scale() -> None:
    liked, other = torch.randn(2, 500, generator=seeded(0))
    found = [
        attacks.share_wrong(lambda a, b, by=by: (by * a, by * b), [liked, other], part)(
            liked, other
        )
        for by, part in ((1.0, 0.5), (100.0, 0.5), (1.0, 1e-4))
    ]
    gap = other - liked
    assert float(found[0]) == pytest.approx(
        float((gap / gap.std(correction=0) * 2).sigmoid().mean())
    )
    assert float(found[1]) == pytest.approx(float(found[0]))
    assert float(found[2]) == pytest.approx(float((gap > 0).float().mean()), abs=1e-2)


def test_logits_of_pairs_are_those_of_all_entities(model) -> None:
    anchor, relation = torch.tensor([3, 0, 5]), torch.tensor([0, 3, 1])
    position, answer = torch.tensor([2, 0, 2, 1]), torch.tensor([7, 3, 0, 7])
    every = model.module_.score(anchor, relation)
    few = model.module_.logits(anchor, relation, position, answer)
    torch.testing.assert_close(few.detach(), every[position, answer])
    assert few.requires_grad


def test_an_attacked_model_is_saved(model, tmp_path) -> None:
    moved = attacked(model, TRAIN, 0.1, "fgsm")
    store.save(moved, tmp_path / "moved")
    assert store.load(tmp_path / "moved").attack_ == moved.attack_


@pytest.mark.parametrize("side", ["tails", "heads"])
def test_certificates_hold_and_are_tight(model, side: str) -> None:
    ids = [f"e{number}" for number in range(12)]
    relation = ["like", "unlike"] * 6
    given = "head" if side == "tails" else "tail"
    asked = {f"{given}s": ids, "relations": relation}
    frame = model.certify(**asked, k=4)
    assert list(frame) == [
        given,
        "relation",
        "radius",
        "relative_radius",
        "radius_2k",
        "global_radius",
        "answer_radius",
        "joint_radius",
        "entity_radius",
    ]
    assert frame[given].tolist() == ids
    assert frame["relation"].tolist() == relation
    answer = "tail" if side == "tails" else "head"
    listed = model.complete(**asked, k=4).groupby(given)[answer].agg(set)
    questions = model._asked("certify", asked.get("heads"), relation, asked.get("tails"))
    y, entities = model.module_.answering(*questions)
    logits = model.module_.score(*questions).double() - (y @ entities.T).double()
    logits = logits.detach()
    hidden = model.facts_.lookup(*questions)
    logits[hidden.queries, hidden.candidates] = -torch.inf
    for row, radius in enumerate(frame["radius"]):
        inside = model.entities_.rows(list(listed[ids[row]]))
        rest = torch.ones(len(entities), dtype=torch.bool)
        rest[inside] = False

        def stays(move: torch.Tensor, row=row, inside=inside, rest=rest) -> bool:
            moved = (y[row].double() + move) @ entities.double().T + logits[row]
            return bool(moved[inside].min() > moved[rest].max())

        apart = (entities[inside][:, None] - entities[None, rest]).double().flatten(0, 1)
        for direction in torch.nn.functional.normalize(apart):
            assert stays(-0.9999 * radius * direction)
        crossed = [not stays(-1.0001 * radius * d) for d in torch.nn.functional.normalize(apart)]
        assert any(crossed)


def test_the_radius_of_the_given_entity_is_that_of_a_singular_vector(tucker: TuckER) -> None:
    module, relation, anchor = tucker.module_, torch.tensor([0, 3]), torch.tensor([5, 7])
    for r, a in zip(relation, anchor, strict=True):

        def vector(row: torch.Tensor, r=r, a=a) -> torch.Tensor:
            table = module.entities.detach().index_copy(0, a[None], row[None])
            given = module.norm_in(table[a[None]])
            return module.wanted(given, r[None])[0]

        slope = torch.autograd.functional.jacobian(vector, module.entities[a].detach())
        torch.testing.assert_close(module.slopes(r[None])[0].T.float(), slope, rtol=1e-4, atol=1e-5)
    steepest = _steepest(module, torch.tensor([3, 0, 3]))
    exact = torch.linalg.matrix_norm(module.slopes(torch.tensor([3, 0, 3])), 2)
    torch.testing.assert_close(steepest, exact)
    frame = tucker.certify(["e5", "e7"], ["like", "unlike"])
    stretch = _steepest(module, torch.tensor([0, 1])).detach().numpy()
    np.testing.assert_allclose(frame["entity_radius"], frame["radius"] / stretch)


@pytest.mark.parametrize(("blocks", "batch_norm"), [(1, True), (2, True), (4, False)])
def test_slopes_are_what_a_move_is_multiplied_with(blocks: int, batch_norm: bool) -> None:
    model = TuckER(**(SMALL | {"epochs": 2}), blocks=blocks, batch_norm=batch_norm).fit(TRAIN)
    module, relation = model.module_.double(), torch.tensor([0, 1, 1])
    start, move = torch.randn(2, 3, 12, dtype=torch.float64)
    with torch.no_grad():
        before, after = (
            module.wanted(module.norm_in(rows), relation) for rows in (start, start + move)
        )
        expected = torch.einsum("bd,bde->be", move, module.slopes(relation))
    torch.testing.assert_close(after - before, expected)


def test_repeats_are_kept_and_known_answers_left_out(tucker: TuckER) -> None:
    frame = tucker.certify(["e1", "e2", "e1"], ["like"] * 3, 3)
    assert frame["radius"][0] == frame["radius"][2]
    every = tucker.certify(["e1"], ["like"], 400)
    assert np.isinf(every["radius"][0])
    assert np.isinf(every["entity_radius"][0])
    with_known = tucker.certify(["e1"], ["like"], 3, exclude_known=False)
    assert with_known["radius"][0] != frame["radius"][0]


@pytest.mark.gpu
def test_the_gpu_attacks_and_certifies(tucker: TuckER) -> None:
    model = TuckER(**SMALL, device="cuda").fit(TRAIN)
    value = accuracy_under_attack(model, TRAIN, TEST, [0.3]).set_index("method")["value"]
    assert value["pgd"] < value["random"]
    frame = model.certify(["e1", "e2"], ["like", "unlike"])
    assert (frame["global_radius"] <= frame["radius"]).all()


def test_refusals(tucker: TuckER) -> None:
    paths = Paths().fit(TRAIN)
    with pytest.raises(TypeError, match="Paths are no products of vectors; use TuckER or MIGTF"):
        paths.certify(["e1"], ["like"])
    with pytest.raises(TypeError, match="Paths cannot be attacked; TuckER and MIGTF can"):
        attacked(paths, TRAIN, 0.1)
    with pytest.raises(ValueError, match="certify asks for tails or for heads"):
        tucker.certify(relations=["like"])
    with pytest.raises(ValueError, match="certify needs relations="):
        tucker.certify(["e1"])
    with pytest.raises(UnknownIdError, match="e999"):
        tucker.certify(["e999"], ["like"])
    with pytest.raises(ValueError, match="epsilon must be a number of at least 0, got -1"):
        attacked(tucker, TRAIN, -1)
    with pytest.raises(ValueError, match="loss must be one of softmax, auc, got 'bpr'"):
        attacks.check_loss("bpr", LOSSES)
    with pytest.raises(ValueError, match="methods is empty; give one at least"):
        accuracy_under_attack(tucker, TRAIN, TEST, methods=())
    strange = pd.DataFrame({"head": ["a"], "relation": ["b"], "tail": ["c"]})
    with pytest.raises(ValueError, match="no fact has its head, relation and tail in the model"):
        attacked(tucker, Triples.from_frame(strange), 0.1)
