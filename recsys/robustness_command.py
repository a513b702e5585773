"""What ``recsys robustness`` does, from parsed options to an answer."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from hyperrank.command_shell import device_of, load_model
from hyperrank.rendering import Answer, records


def robustness(options: Namespace) -> Answer:
    """Accuracy under attack, certified radii, norms."""
    from hyperrank import figures, pages
    from hyperrank import robustness as told
    from hyperrank.devices import seeded
    from recsys.attacks import accuracy_under_attack
    from recsys.interactions import Interactions
    from recsys.recommender import Recommender
    from recsys.short_vectors import balanced

    if options.report:
        pages.check(options.report)
        figures.check_installed("a report")
    model = load_model(options.store, Recommender, **device_of(options))
    factors = model._factors()
    metric, curve = f"ndcg@{options.k}", []
    if options.test:
        roles = ("user", "item", "time", "weight", "repeated")
        columns: dict[str, Any] = {role: getattr(options, role) for role in roles}
        test = Interactions.read(options.test, **columns, like=(model.users_, model.items_))
        train = Interactions.from_pairs(model.seen_, model.users_, model.items_)
        asked: dict[str, Any] = {"metric": metric, "seeds": (options.seed,)}
        curve = records(accuracy_under_attack(model, train, test, options.epsilons, **asked))
        short = accuracy_under_attack(
            balanced(model), train, test, options.epsilons, ("pgd",), **asked
        )
        curve += [row | {"method": "balanced pgd"} for row in records(short)[1:]]
    tables = {
        "scores": (factors.queries, factors.candidates),
        "user vectors": told.alone(factors.queries),
        "item vectors": told.alone(factors.candidates),
    }
    found = told.Findings(
        metric,
        curve,
        told.certified(model.certify(k=options.k), factors.queries.norm(dim=1)),
        told.norm_rows(tables, seeded(options.seed, factors.queries.device)),
        options.k,
        "users",
    )
    name = type(model).__name__
    return told.answer(f"Robustness of {options.store}, a {name}", found, options.report)
