"""What ``recsys fit`` and ``recsys search`` do, from parsed options to an answer."""

from __future__ import annotations

from argparse import Namespace

from hyperrank.command_shell import check_free, device_of, save_model
from hyperrank.rendering import Answer
from recsys.command_logs import train_and_validation


def fit(options: Namespace) -> Answer:
    """Reads, plans, learns, saves."""
    import time

    from recsys import plan as planning
    from recsys.column_names import remember
    from recsys.intake import Roles
    from recsys.models import make_model

    check_free(options.out, options.force)
    model = make_model(
        options.model,
        options.set,
        random_state=options.seed,
        progress=not options.quiet,
        **device_of(options),
    )
    train, validation = train_and_validation(options)
    if not options.ignore_plan:
        planning.check_memory(model, train)
    began = time.perf_counter()
    model.fit(train, validation)
    seconds = time.perf_counter() - began
    remember(model, Roles(options.user, options.item, options.time, options.weight))
    judged = {} if validation is None else {"validation_ndcg@10": float(model.score(validation))}
    digest, as_version = save_model(model, options, judged)
    data = {
        "store": options.out,
        "model": type(model).__name__,
        "params": model.get_params(),
        "users": train.n_users,
        "items": train.n_items,
        "pairs": len(train.pairs),
        "seconds": round(seconds, 3),
        "digest": digest,
        **judged,
    }
    text = f"saved {data['model']} of {len(train.pairs):,} pairs in {options.out}{as_version}"
    text += f", {seconds:.1f} s"
    for score in judged.values():
        text += f"; validation NDCG@10 {score:.4f}"
    return Answer(data, text)


def search(options: Namespace) -> Answer:
    """Trials of a model, each planned, the best of them saved."""
    from functools import partial

    from hyperrank import search_command
    from recsys import plan as planning
    from recsys import spaces
    from recsys.column_names import remember
    from recsys.intake import Roles
    from recsys.models import make_model

    search_command.check(options)
    model = make_model(options.model, options.set, random_state=options.seed, **device_of(options))
    options.split = options.split or ("none" if options.validation else "random:0.2")
    if options.split == "none" and not options.validation:
        raise ValueError("a search needs a part to judge by; give --split or --validation")
    roles = Roles(options.user, options.item, options.time, options.weight)
    parts = train_and_validation(options)
    check = None if options.ignore_plan else partial(planning.check_memory, log=parts[0])
    if check is not None:
        check(model, at_once=max(options.n_jobs, 1))
    finish = partial(remember, roles=roles)
    return search_command.run(options, model, spaces, parts, check=check, finish=finish)
