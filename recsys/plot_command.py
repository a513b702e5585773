"""What ``recsys plot`` does, from parsed options to an answer."""

from __future__ import annotations

from argparse import Namespace

from hyperrank.command_shell import device_of, load_model
from hyperrank.rendering import Answer


def plot(options: Namespace) -> Answer:
    """A picture of a saved model, or a page of all of them."""
    from hyperrank import plot_command
    from recsys.plots import subject
    from recsys.recommender import Recommender

    plot_command.check(options)
    model = load_model(options.store, Recommender, **device_of(options))
    return plot_command.run(options, subject(model))
