"""What ``recsys fit`` and ``recsys search`` do, from parsed options to an answer."""

from __future__ import annotations

from argparse import Namespace

from hyperrank.command_shell import check_free, device_of
from hyperrank.rendering import Answer
from recsys.command_logs import train_and_validation


def fit(options: Namespace) -> Answer:
    """Reads, plans, learns, saves."""
    import time

    from hyperrank import generations, store, writers
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
    score = None if validation is None else float(model.score(validation))
    if generations.is_versioned(options.out):
        report = {} if score is None else {"validation_ndcg@10": score}
        made = writers.add(model, options.out, report)
        digest, as_version = made.model, f" as {made.version}"
    else:
        digest, as_version = store.save(model, options.out, overwrite=options.force), ""
    data = {
        "store": options.out,
        "model": type(model).__name__,
        "params": model.get_params(),
        "users": train.n_users,
        "items": train.n_items,
        "pairs": len(train.pairs),
        "seconds": round(seconds, 3),
        "digest": digest,
    }
    text = f"saved {data['model']} of {len(train.pairs):,} pairs in {options.out}{as_version}"
    text += f", {seconds:.1f} s"
    if score is not None:
        data["validation_ndcg@10"] = score
        text += f"; validation NDCG@10 {score:.4f}"
    return Answer(data, text)


def search(options: Namespace) -> Answer:
    """Trials of a model, the best of them saved."""
    from hyperrank import search_command
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
    return search_command.run(options, model, spaces, parts, lambda best: remember(best, roles))
