"""What ``recsys popularity`` does, from parsed options to an answer."""

from __future__ import annotations

from argparse import Namespace

from hyperrank.command_shell import device_of
from hyperrank.rendering import Answer, records, table
from recsys.command_logs import read


def popularity(options: Namespace) -> Answer:
    """Which items each model shows, and the model with a dial at the accuracy of each."""
    from hyperrank import figures, store
    from recsys import pictures
    from recsys.exposure import tradeoff

    names = list(dict.fromkeys(options.stores))
    if len(names) < 2:
        raise ValueError(f"popularity needs at least two different models, got {names}")
    if options.plot:
        figures.check(options.plot)
    models = {name: store.load(name, **device_of(options)) for name in names}
    first = models[names[0]]
    found = tradeoff(
        models,
        read(options, options.test, like=(first.users_, first.items_)),
        turned=options.turn,
        accuracy=options.accuracy,
        k=options.k,
        unknown=options.unknown,
    )
    if options.plot:
        pictures.tradeoff(found, options.plot, f"What the dial of {found.turned} trades")
    rows, curve = records(found.models), records(found.curve)
    text = [table(rows), f"matched: {found.turned} turned until it is as accurate as that model"]
    never = sorted(set(names) - {found.turned} - {row["matched"] for row in rows})
    text += [f"{found.turned} is never as accurate as {', '.join(never)}"] * bool(never)
    text += [f"drew {options.plot}"] * bool(options.plot)
    data = {"turned": found.turned, "models": rows, "curve": curve, "plot": options.plot}
    return Answer(data, "\n".join(text))
