"""Memory and time of a fit, predicted before it starts."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from hyperrank import devices
from recsys.costs import Cost, Sizes, cost_of

if TYPE_CHECKING:
    from recsys.interactions import Interactions

GIB = 2**30
SPARE = 0.9  # of what is available: the rest is for the allocator's waste and for other programs
PROBE_ROWS, PROBE_DIM = 100_000, 64  # 25 MB: beyond the caches nearest to a core


class OutOfMemoryPlanError(ValueError):
    """A fit is predicted to need more memory than there is."""


class Rates(NamedTuple):
    """What this machine does in a second."""

    flops: float  # of a float32 matrix product
    moved: float  # bytes of table rows gathered at random and written


@dataclass(frozen=True)
class Plan:
    """A prediction for one fit."""

    model: str
    sizes: Sizes
    cost: Cost
    available: int
    seconds: float
    where: str = ""  # "main memory", or a GPU, where a fit uses both

    @property
    def fits(self) -> bool:
        """Whether the predicted peak stays below ``SPARE`` of the available memory."""
        return self.cost.peak <= SPARE * self.available

    @property
    def sentence(self) -> str:
        """The prediction in words, with what to change where it does not fit."""
        peak, there = self.cost.peak / GIB, self.available / GIB
        what = (
            f"{self.model} on {self.sizes.n_users:,} users x {self.sizes.n_items:,} items, "
            f"{self.sizes.n_pairs:,} pairs"
        )
        if not self.fits:
            part, size = self.cost.largest
            return (
                f"{what} would need {peak:.1f} GiB, {size / GIB:.1f} of it for {part}, but "
                f"{there:.1f} GiB are available{self._there}; {self.cost.advice}"
            )
        of = f"{peak:.2f} of {there:.1f} GiB{self._there}"
        return f"{what}: {of}, about {_spoken(self.seconds)}"

    @property
    def _there(self) -> str:
        return f" in {self.where}" if self.where else ""

    def as_dict(self) -> dict[str, Any]:
        """The prediction as plain values."""
        return {
            "model": self.model,
            **self.sizes._asdict(),
            "fits": self.fits,
            "peak_bytes": self.cost.peak,
            "available_bytes": self.available,
            "where": self.where or "main memory",
            "parts": self.cost.parts,
            "seconds": round(self.seconds, 2),
            "sentence": self.sentence,
        }


def plan(
    model: Any, sizes: Sizes, *, available: int | None = None, rates: Rates | None = None
) -> Plan:
    """Peak memory and time of ``model.fit`` on a log of these sizes.

    Memory is that of the fit, beside the log and the Python process; it is counted from what the
    model allocates and holds within a factor of 2 on the CPU where it exceeds 50 MB. Time comes
    from the operations that the model does, at rates measured here in a fifth of a second; it
    holds within a factor of about 4 on a machine that does nothing else. Early stopping ends
    sooner than planned.

    On CUDA the phases that run on the host are held against main memory and the others against the
    GPU's; the plan tells of the one that comes nearer to its limit.

    Args:
        model: An unfitted recommender; its parameters count.
        sizes: Of the log.
        available: Bytes that may be used; default: what the model's device has free now.
        rates: Of this machine; measured when not given.

    Raises:
        ValueError: If a size is below 1, or the model is not one that is counted.
    """
    if min(sizes.n_users, sizes.n_items, sizes.n_pairs) < 1:
        raise ValueError(
            f"expected at least one user, item and pair, got {sizes.n_users}, {sizes.n_items} and "
            f"{sizes.n_pairs}"
        )
    device = devices.resolve(getattr(model, "device", "cpu"))
    if available is None:
        available = devices.free_memory(device)
    cost, where = cost_of(model, sizes), ""
    if device.type == "cuda":
        host = devices.free_memory(torch.device("cpu"))
        places = [(cost.on(False), available, str(device)), (cost.on(True), host, "main memory")]
        used = [(one, free, name) for one, free, name in places if one is not None]
        cost, available, where = max(used, key=lambda place: place[0].peak / max(place[1], 1))
    rates = probe(device) if rates is None else rates
    seconds = cost.flops / rates.flops + cost.moved / rates.moved
    return Plan(type(model).__name__, sizes, cost, available, seconds, where)


def check_memory(model: Any, log: Interactions, at_once: int = 1) -> None:
    """Refuses a fit that would not do with the memory that is free now, or its share of that.

    Raises:
        OutOfMemoryPlanError: With the figures and what to change.
    """
    free = devices.free_memory(devices.resolve(getattr(model, "device", "cpu"))) // at_once
    rates = Rates(1.0, 1.0)  # the time is not asked for
    found = plan(model, sizes_of(log), available=free, rates=rates)
    if not found.fits:
        shared = f", or run fewer than {at_once} fits at once" if at_once > 1 else ""
        raise OutOfMemoryPlanError(found.sentence + shared)


def sizes_of(log: Interactions) -> Sizes:
    """The sizes of a log, its squared degrees included."""
    squares = int(log.pairs.query_degrees.square().sum())
    return Sizes(log.n_users, log.n_items, len(log.pairs), squares)


def probe(device: torch.device) -> Rates:
    """Rates of this machine, the best of a few short runs."""
    generator = torch.Generator(device).manual_seed(0)
    table = torch.randn(PROBE_ROWS, PROBE_DIM, generator=generator, device=device)
    other = table[:1024].contiguous()
    rows = torch.randint(PROBE_ROWS, (PROBE_ROWS,), generator=generator, device=device)
    product = _fastest(lambda: table[:4096] @ other.T, device)
    gather = _fastest(lambda: torch.nn.functional.embedding(rows, table), device)
    flops = 2 * 4096 * len(other) * PROBE_DIM / product
    return Rates(flops, 2 * table.nbytes / gather)


def _fastest(run: Any, device: torch.device, repeats: int = 5) -> float:
    """Seconds of the fastest of a few runs, the first not counted."""
    best = float("inf")
    for turn in range(repeats + 1):
        began = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        if turn:
            best = min(best, time.perf_counter() - began)
    return best


def _spoken(seconds: float) -> str:
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
