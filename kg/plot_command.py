"""What ``kg plot`` does, from parsed options to an answer."""

from __future__ import annotations

from argparse import Namespace

from hyperrank.command_shell import device_of, load_model
from hyperrank.rendering import Answer


def plot(options: Namespace) -> Answer:
    """A picture of a saved model, or a page of all of them."""
    from hyperrank import plot_command
    from kg.plots import subject
    from kg.predictor import LinkPredictor

    plot_command.check(options)
    model = load_model(options.store, LinkPredictor, **device_of(options))
    return plot_command.run(options, subject(model))
