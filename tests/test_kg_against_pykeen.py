"""Our figures against those of PyKEEN's rank-based evaluator, where it is installed."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from hyperrank.evaluation import Resampling
from hyperrank.vocabulary import Vocabulary
from kg.evaluation import evaluate
from kg.predictor import LinkPredictor
from kg.triples import Triples

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("pykeen", reason="pykeen, a peer, is not installed")
    from pykeen.evaluation import RankBasedEvaluator
    from pykeen.models import DistMult
    from pykeen.triples import CoreTriplesFactory

N_ENTITIES, N_RELATIONS = 30, 4
NAMES = {
    "mrr": "inverse_harmonic_mean_rank",
    "hits@1": "hits_at_1",
    "hits@10": "hits_at_10",
    "mean_rank": "arithmetic_mean_rank",
    "amri": "adjusted_arithmetic_mean_rank_index",
}


class Peer(LinkPredictor):
    """A model of PyKEEN behind our doors; nothing is learned."""

    def _learn(self, train, validation):
        return Scores(self.model)


class Scores(torch.nn.Module):
    """PyKEEN's scores, both ways."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def score(self, anchor, relation):
        tails = self.model.score_t(torch.stack([anchor, relation % N_RELATIONS], dim=1))
        heads = self.model.score_h(torch.stack([relation % N_RELATIONS, anchor], dim=1))
        return torch.where((relation < N_RELATIONS)[:, None], tails, heads)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("ties", ["optimistic", "realistic", "pessimistic"])
@pytest.mark.parametrize("levels", [2, 1000])  # many ties, and next to none
def test_figures_are_those_of_pykeen(ties, levels, generator):
    bounds = torch.tensor([N_ENTITIES, N_RELATIONS, N_ENTITIES])
    rows = (torch.rand(500, 3, generator=generator) * bounds).long().unique(dim=0)
    rows = rows[torch.randperm(len(rows), generator=generator)]
    train, test = rows[:300], rows[300:]
    factory = CoreTriplesFactory(train, num_entities=N_ENTITIES, num_relations=N_RELATIONS)
    peer = DistMult(triples_factory=factory, embedding_dim=6, random_seed=0)
    for table in (*peer.entity_representations, *peer.relation_representations):
        for weight in table.parameters():
            weight.data = torch.randint(levels, weight.shape, generator=generator).float()
    evaluator = RankBasedEvaluator(clear_on_finalize=False)
    theirs = evaluator.evaluate(
        peer, test, batch_size=64, additional_filter_triples=[train], use_tqdm=False
    )

    rows_of = [Vocabulary.from_ids(range(n)) for n in (N_ENTITIES, N_RELATIONS)]
    ours = Peer(device="cpu")
    ours.model = peer
    ours.fit(Triples.from_rows(*rows_of, *train.unbind(1)))
    names = {k: v for k, v in NAMES.items() if k != "amri" or ties == "realistic"}  # as theirs
    found = evaluate(
        ours,
        Triples.from_rows(*rows_of, *test.unbind(1)),
        list(names),
        ties=ties,
        resampling=Resampling(draws=2),
    )
    wanted = [theirs.get_metric(f"both.{ties}.{name}") for name in names.values()]
    assert found["value"].tolist() == pytest.approx(wanted, abs=2e-6)  # theirs are float32 means
    rank = np.concatenate(
        [part for side in ("head", "tail") for part in evaluator.ranks[side, ties]]
    )
    assert found["value"][0] == pytest.approx((1 / rank.astype(np.float64)).mean(), abs=1e-12)
