"""Faster float32 matrix products on the CPU, where a probe shows that they lose no accuracy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Literal

import torch

# Largest error of one product entry against float64, over the sum of its terms' magnitudes.
# Sums of a few hundred float32 terms show 2e-7 to 5e-7; terms rounded to bfloat16 first show 1e-3.
MOST_ERROR = 1e-6
# (rows, terms, columns): kernels differ by size, so a small, a square and a catalogue-like one
PROBES = ((33, 7, 100), (128, 128, 128), (256, 64, 4096))


@contextmanager
def reduced_products(
    device: torch.device, precision: Literal["float32", "tf32", "bf16"]
) -> Iterator[None]:
    """Inside, matrix products are of this precision, with float32 sums.

    "tf32" sets CUDA's tensor cores to 10-bit mantissas and does nothing on a CPU; "bf16" rounds the
    factors to bfloat16, and pays where the machine has matrix units for it. Tables stay float32.
    """
    if precision == "bf16":
        # rounded copies must not outlive a step: torch would go on using those of old parameters
        with torch.autocast(device.type, torch.bfloat16, cache_enabled=False):
            yield
        return
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


@contextmanager
def exact_products(device: torch.device) -> Iterator[None]:
    """Inside, products of float32 matrices are so again, whatever ``reduced_products`` says.

    Slopes are made later: where they matter too, a ``torch.autograd.Function`` makes them inside.
    """
    with reduced_products(device, "float32"), torch.autocast(device.type, enabled=False):
        yield


@contextmanager
def fast_products() -> Iterator[bool]:
    """Inside, float32 products of CPU matrices may go to oneDNN; yields whether they do.

    torch sends them to MKL, which is slow on AMD processors. Allowing oneDNN "bf16" products makes
    it choose its own kernels: 2 to 3 times as fast there, about equal on Intel. Without matrix
    units (AMX) these kernels still compute in float32. Where they would really round to bfloat16,
    or on a torch without the switch, nothing is changed.

    The switch is one for the whole process; it is put back on leaving. CUDA products keep their
    own setting. The probe runs once in a process, and takes milliseconds.
    """
    switch = _switch()
    if switch is None or not _keeps_float32():
        yield False
        return
    before = switch.fp32_precision
    switch.fp32_precision = "bf16"
    try:
        yield True
    finally:
        switch.fp32_precision = before


def _switch() -> Any:
    """Torch's setting for oneDNN products; None on a torch or a build without it."""
    if not torch.backends.mkldnn.is_available():
        return None
    switch = getattr(torch.backends.mkldnn, "matmul", None)
    return switch if hasattr(switch, "fp32_precision") else None


@cache
def _keeps_float32() -> bool:
    """Whether products under the switch are as exact as float32 ones, on this machine."""
    switch = _switch()
    before = switch.fp32_precision
    switch.fp32_precision = "bf16"
    try:
        return product_error() < MOST_ERROR
    finally:
        switch.fp32_precision = before


def product_error() -> float:
    """Largest error of a float32 product as torch is set now; NaN counts as infinite.

    Relative to the sum of the magnitudes of the terms: about 1e-7 when all is float32, 1e-3 when
    the terms are rounded to bfloat16.
    """
    generator = torch.Generator().manual_seed(0)
    worst = 0.0
    for rows, terms, columns in PROBES:
        a = torch.randn(rows, terms, generator=generator)
        b = torch.randn(columns, terms, generator=generator)
        exact, scale = a.double() @ b.double().T, a.double().abs() @ b.double().abs().T
        error = float((((a @ b.T).double() - exact).abs() / scale).max())
        worst = max(worst, error if error == error else float("inf"))  # noqa: PLR0124
    return worst
