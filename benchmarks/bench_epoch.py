"""How much faster is an epoch than the published algorithm written plainly in torch?

Plain: batches of 512 shuffled pairs, 1,500 negatives for each pair drawn on the host by NumPy, the
loss by gathers and automatic differentiation, L2 on whole tables, dense Adam, as in the published
configuration for gowalla. Ours: the same expected loss by ``UltraGCN`` as ``quality_ultragcn``
chose it. Two cases: the item-item term on both sides (10 neighbours, weight 5e-4), and on neither,
as chosen. Both run a share of an epoch in turns; the times are scaled to the epoch, which is the
same sum over the same pairs. Plain is not trained to its end, which takes days: its accuracy is
that of the published logs, ours that of the judged run, whose numbers stand beside the ratio.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import torch

import data
from benchmarks.accuracy import PUBLISHED, judged
from benchmarks.quality_ultragcn import chosen
from benchmarks.record import compared, record, turn_by_turn, under_both_heaps
from hyperrank.batches import NegativeSampler, QueryBatches
from hyperrank.optim import RowAdam
from hyperrank.products import fast_products
from hyperrank.training import train
from recsys import UltraGCN
from recsys.item_graph import degree_factors, item_neighbours

PLAIN_STEPS, OUR_STEPS, REPEATS = 5, 12, 7
BATCH, NEGATIVES, NEIGHBOURS = 512, 1500, 10


class Plain:
    """The published step (RecZoo's configuration for gowalla), written as one would first."""

    def __init__(self, pairs: Any, neighbours: Any) -> None:
        """Without ``neighbours`` there is no item-item term."""
        self.pairs, self.neighbours = pairs, neighbours
        self.users = torch.nn.Parameter(torch.randn(pairs.n_queries, 64) * 1e-4)
        self.items = torch.nn.Parameter(torch.randn(pairs.n_candidates, 64) * 1e-4)
        self.b_u, self.b_i = degree_factors(pairs)
        self.optimizer = torch.optim.Adam([self.users, self.items], lr=1e-4)
        self.random = np.random.default_rng(0)

    def step(self) -> None:
        """One batch."""
        pairs, softplus = self.pairs, torch.nn.functional.softplus
        read = torch.nn.functional.embedding
        spot = torch.from_numpy(self.random.integers(len(pairs), size=BATCH))
        drawn = self.random.choice(pairs.n_candidates, (BATCH, NEGATIVES), replace=True)
        user, item, negative = pairs.queries[spot], pairs.candidates[spot], torch.from_numpy(drawn)
        u, v = read(user, self.users), read(item, self.items)
        liked = 1e-6 + self.b_u[user] * self.b_i[item]
        others = 1e-6 + self.b_u[user][:, None] * self.b_i[negative]
        score = (u * v).sum(1)
        rival = (u.unsqueeze(1) * read(negative, self.items)).sum(2)
        loss = (liked * softplus(-score)).sum()
        loss = loss + 300 * (others * softplus(rival)).mean(1).sum()
        if self.neighbours is not None:
            near = read(self.neighbours.nearest[item], self.items)
            omega = self.neighbours.weight[item]
            loss = loss + 5e-4 * (omega * softplus(-(u.unsqueeze(1) * near).sum(2))).sum()
        loss = loss + 0.5e-4 * (self.users.square().sum() + self.items.square().sum())
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()


class Ours:
    """UltraGCN's module, batches and loop, a few steps at a time."""

    def __init__(self, log: Any, model: UltraGCN) -> None:
        generator = torch.Generator().manual_seed(0)
        sampler = NegativeSampler(log.pairs, model.negatives, generator)
        self.batches = QueryBatches(log.pairs, model.rows_a_step(log.n_users), sampler)
        self.module = model.module(log.pairs, log, sampler, generator)
        self.optimizer = RowAdam(self.module.parameters(), lr=model.lr)
        self.stream = itertools.chain.from_iterable(itertools.repeat(self.batches))

    def steps(self, count: int) -> None:
        """That many batches through the training loop."""
        train(self.module, itertools.islice(self.stream, count), self.optimizer, epochs=1)


def compare_epochs(case: str, model: UltraGCN, log: Any, neighbours: Any) -> None:
    """Records the ratio of the epochs of one case."""
    plain, ours = Plain(log.pairs, neighbours), Ours(log, model)
    with fast_products() as fast:
        times = turn_by_turn(
            {
                "plain": lambda: [plain.step() for _ in range(PLAIN_STEPS)],
                "ours": lambda: ours.steps(OUR_STEPS),
            },
            repeats=REPEATS,
        )
    facts = compared(times, ours="ours", base="plain")
    n_plain, n_ours = -(-len(log.pairs) // BATCH), len(ours.batches)
    steps = (n_plain / PLAIN_STEPS) / (n_ours / OUR_STEPS)
    facts["ratio"], facts["ratio_cpu"] = facts["ratio"] * steps, facts["ratio_cpu"] * steps
    accuracy = judged()["gowalla"].get("UltraGCN", {}).get("accuracy", {})
    record(
        "epoch",
        case=case,
        sizes={"pairs": len(log.pairs), "steps_plain": n_plain, "steps_ours": n_ours},
        plain_epoch_s=times["plain"].summary()["median_s"] * n_plain / PLAIN_STEPS,
        ours_epoch_s=times["ours"].summary()["median_s"] * n_ours / OUR_STEPS,
        plain_published_recall_ndcg=PUBLISHED["gowalla"],
        ours_judged_recall_ndcg=[one["value"] for one in accuracy.values()],
        fast_products=fast,
        model=repr(model),
        **facts,
    )


def main() -> None:
    """Records both cases under this process's heap setting."""
    log, _ = data.split("gowalla")
    setting = chosen("gowalla")
    neighbours = item_neighbours(log.pairs, NEIGHBOURS, "code")
    compare_epochs("no item-item term", UltraGCN(**setting), log, None)
    with_items = UltraGCN(**{**setting, "item_weight": 5e-4})
    compare_epochs("item-item term on both sides", with_items, log, neighbours)


if __name__ == "__main__":
    under_both_heaps(main)
