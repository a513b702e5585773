"""Processes beside this one that do the same work until all are told to stop."""

from __future__ import annotations

import multiprocessing
import signal
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import torch

JOIN_SECONDS = 30.0  # for other processes to end, once all are asked to


class Flag:
    """A ``stop`` for a search in one process."""

    def __init__(self) -> None:
        self.told = False

    def is_set(self) -> bool:
        """Whether all must end."""
        return self.told

    def set(self) -> None:
        """Ends all."""
        self.told = True


class Followed(NamedTuple):
    """The ``stop`` of another process: told, or its parent is gone."""

    event: Any

    def is_set(self) -> bool:
        """Whether all must end."""
        parent = multiprocessing.parent_process()
        return self.event.is_set() or parent is None or not parent.is_alive()


@contextmanager
def workers(n: int, work: Callable[..., None], told: tuple[Any, ...]) -> Iterator[Any]:
    """Yields what stops ``n`` other processes that ``work(*told, stop)``, and waits for them.

    An exception stops them. They and this one share the threads that this one had.
    """
    if not n:
        yield Flag()
        return
    context = multiprocessing.get_context("spawn")
    stop, all_threads = context.Event(), torch.get_num_threads()
    threads = max(all_threads // (n + 1), 1)
    others = [context.Process(target=_follow, args=(work, told, stop, threads)) for _ in range(n)]
    try:
        for one in others:
            one.start()
        torch.set_num_threads(threads)
        yield stop
        for one in others:
            one.join()
    except BaseException:
        stop.set()
        raise
    finally:
        torch.set_num_threads(all_threads)
        for one in others:
            if one.pid is not None:
                one.join(JOIN_SECONDS)
                one.terminate()
                one.join()
        ended = [one.exitcode for one in others if one.exitcode]
        if ended and not stop.is_set():
            warnings.warn(
                f"{len(ended)} of {n} other processes ended early, with exit code {ended[0]}; what "
                "they ran is taken up by the next search of this study",
                stacklevel=1,
            )


def _follow(work: Callable[..., None], told: tuple[Any, ...], event: Any, threads: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process tells the others to stop
    torch.set_num_threads(threads)
    with suppress(KeyboardInterrupt):
        work(*told, Followed(event))
