"""How long is a pass of TuckER and of MIG-TF over FB15k-237, and how long is PyKEEN's?

The same number of drawn (head, relation) pairs, both directions, at 200 dimensions each: PyKEEN's
LCWA loop against one of ours, in batches of 128 and of 512 (PyKEEN's of 128 there too: at 512 it
did not fit 24 GB); and MIG-TF's second stage and joint training, with 50 more dimensions, against
our TuckER. PyKEEN gets its batches from a subset of its own instances; the rest is its loop as it
is: binary cross-entropy, label smoothing and Adam.

PyKEEN is an optional peer: ``pip install pykeen==1.11.1``, here or into a folder of its own
(``pip install --no-deps --target FOLDER pykeen==1.11.1`` and what it misses), with that folder in
PYTHONPATH. Without it our sides are timed alone.
"""

from __future__ import annotations

import argparse
import importlib.util
import logging
import warnings
from collections.abc import Callable
from itertools import count, islice
from typing import Any

import torch

import data
from benchmarks.record import compared, record, turn_by_turn, under_both_heaps
from hyperrank.devices import seeded
from hyperrank.products import fast_products
from kg import MIGTF, Triples, TuckER
from kg.answer_batches import AnswerBatches

MOST = 128  # pairs a step of PyKEEN: it makes batch x entities x dim numbers, 6 GB each at 512
SETTING: dict[str, Any] = {
    "entity_dim": 200,
    "relation_dim": 200,
    "input_dropout": 0.3,
    "core_dropout": 0.4,
    "output_dropout": 0.5,
    "smoothing": 0.1,
    "lr": 5e-4,
}
MODELS: dict[str, TuckER] = {
    "TuckER": TuckER(**SETTING),
    "TuckER, a mask for each relation": TuckER(**SETTING, core_noise="relation"),
    "TuckER, a mask for each query": TuckER(**SETTING, core_noise="query"),
    "MIG-TF, second stage": MIGTF(**SETTING),
    "MIG-TF, jointly": MIGTF(**SETTING, training="joint"),
}


def ours(model: TuckER, facts: Triples, batch_size: int, n_pairs: int) -> Callable[[], None]:
    """A pass over so many pairs."""
    generator = seeded(0)
    module: Any = model.module(facts.n_entities, facts.n_relations, generator)
    if isinstance(model, MIGTF):
        module = model.mixed(module, generator)
    queries = facts.queries()
    model.batch_size = batch_size
    batches = AnswerBatches(queries, batch_size, generator)
    optimizer = model.make_optimizer(module, queries)

    def run() -> None:
        module.train()
        with fast_products():
            for batch in islice(batches, n_pairs // batch_size):
                optimizer.zero_grad(set_to_none=True)
                module.loss(batch).backward()
                optimizer.step()

    return run


def pykeen(facts: Triples, batch_size: int, n_pairs: int) -> Callable[[], None]:
    """The same by PyKEEN's loop, its products sped up as ours are."""
    from pykeen.models import TuckER as Peer
    from pykeen.training import LCWATrainingLoop
    from pykeen.triples import CoreTriplesFactory
    from pykeen.triples.instances import LCWAInstances
    from torch.utils.data import DataLoader, Subset

    logging.getLogger("pykeen").setLevel(logging.ERROR)
    factory = CoreTriplesFactory(
        torch.stack([facts.head, facts.relation, facts.tail], 1),
        num_entities=facts.n_entities,
        num_relations=facts.n_relations,
        create_inverse_triples=True,
    )
    every = LCWAInstances.from_triples_factory(factory)
    drawn = torch.randperm(len(every), generator=seeded(0))[:n_pairs].tolist()

    class Loop(LCWATrainingLoop):  # type: ignore[misc]
        def _create_training_data_loader(self, *_: Any, **options: Any) -> Any:
            options.pop("sampler", None)
            return DataLoader(dataset=Subset(every, drawn), **options)

    model = Peer(
        triples_factory=factory,
        embedding_dim=200,
        relation_dim=200,
        dropout_0=0.3,
        dropout_1=0.4,
        dropout_2=0.5,
        loss="BCEWithLogitsLoss",
        random_seed=0,
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-4)
    loop = Loop(model=model, triples_factory=factory, optimizer=optimizer)
    options: dict[str, Any] = {"batch_size": batch_size, "label_smoothing": 0.1, "use_tqdm": False}
    passes = count(1)  # it counts on from the last, and so keeps its tables

    def run() -> None:
        done = next(passes)
        with fast_products(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pinned memory without an accelerator
            loop.train(factory, num_epochs=done, continue_training=done > 1, **options)

    return run


def main() -> None:
    """A line for each batch size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=4096)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[128, 512])
    options = parser.parse_args()
    train = data.graph("fb15k-237")[0]
    there = importlib.util.find_spec("pykeen") is not None
    for batch_size in options.batch_sizes:
        sizes = {
            "pairs": options.pairs,
            "batch": batch_size,
            "PyKEEN's batch": min(batch_size, MOST),
            "entities": train.n_entities,
        }
        sides = {
            name: ours(model, train, batch_size, options.pairs) for name, model in MODELS.items()
        }
        if there:
            sides["PyKEEN"] = pykeen(train, min(batch_size, MOST), options.pairs)
        times = turn_by_turn(sides, repeats=options.repeats)
        facts = compared(times, ours="TuckER", base="PyKEEN" if there else "TuckER")
        own = facts["times"]["TuckER"]["median_s"]
        facts["of_tucker"] = {name: each["median_s"] / own for name, each in facts["times"].items()}
        record("tucker_epoch", case=f"batch {batch_size}", sizes=sizes, **facts)


if __name__ == "__main__":
    under_both_heaps(main)
