"""Fast float32 products: left on only where exact, put back afterwards."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from hyperrank import products
from hyperrank.products import fast_products, product_error, reduced_products


@pytest.fixture(autouse=True)
def _fresh_probe():
    products._keeps_float32.cache_clear()
    yield
    products._keeps_float32.cache_clear()


def setting():
    switch = products._switch()
    return None if switch is None else switch.fp32_precision


def test_products_inside_are_as_exact_as_float32():
    with fast_products():
        assert product_error() < products.MOST_ERROR


def test_setting_is_put_back_also_after_an_error_and_when_nested():
    before = setting()
    with fast_products() as outer, fast_products() as inner:
        assert outer == inner
        if outer:
            assert setting() == "bf16"
    assert setting() == before
    with pytest.raises(RuntimeError, match="inside"), fast_products():
        raise RuntimeError("inside")
    assert setting() == before


def test_bfloat16_rounding_is_refused(monkeypatch):
    """On a processor with matrix units the switch rounds the terms; here that is acted out."""
    if products._switch() is None:
        pytest.skip("this torch has no such switch")
    true_product = torch.Tensor.__matmul__

    def rounded(a, b):
        if a.dtype == torch.float32 and setting() == "bf16":
            return true_product(a.bfloat16().float(), b.bfloat16().float())
        return true_product(a, b)

    before = setting()
    monkeypatch.setattr(torch.Tensor, "__matmul__", rounded)
    with fast_products() as fast:
        assert not fast
        assert setting() == before
    assert setting() == before


def test_nan_from_a_product_is_refused(monkeypatch):
    monkeypatch.setattr(torch, "randn", lambda *size, generator: torch.full(size, torch.nan))
    assert product_error() == float("inf")


@pytest.mark.parametrize(
    "mkldnn", [{"is_available": lambda: False}, {"is_available": lambda: True}]
)
def test_nothing_happens_without_the_switch(monkeypatch, mkldnn):
    monkeypatch.setattr(torch.backends, "mkldnn", SimpleNamespace(**mkldnn))
    with fast_products() as fast:
        assert not fast


def test_the_probe_runs_once(monkeypatch):
    if products._switch() is None:
        pytest.skip("this torch has no such switch")
    calls = []
    monkeypatch.setattr(products, "product_error", lambda: calls.append(1) or 0.0)
    for _ in range(3):
        with fast_products() as fast:
            assert fast
    assert len(calls) == 1


def test_reduced_products_are_reduced_inside_only() -> None:
    cpu = torch.device("cpu")
    a = torch.randn(64, 64, generator=torch.Generator().manual_seed(0))
    exact = a @ a
    with reduced_products(cpu, "bf16"):
        rounded = a @ a
    assert rounded.dtype == torch.bfloat16
    assert 1e-4 < float((rounded.float() - exact).abs().max() / exact.abs().max()) < 0.05
    before = torch.backends.cuda.matmul.allow_tf32
    with reduced_products(cpu, "tf32"):
        assert torch.backends.cuda.matmul.allow_tf32
        torch.testing.assert_close(a @ a, exact)
    assert torch.backends.cuda.matmul.allow_tf32 == before
    torch.testing.assert_close(a @ a, exact)


@pytest.mark.parametrize("precision", ["float32", "tf32", "bf16"])
def test_products_inside_are_exact_again(precision: Any) -> None:
    with reduced_products(torch.device("cpu"), precision):
        with products.exact_products(torch.device("cpu")):
            assert product_error() < products.MOST_ERROR
        assert (product_error() > products.MOST_ERROR) == (precision == "bf16")


def test_shorter_products_follow_a_parameter_that_moves() -> None:
    """Torch's cache of rounded copies would go on with the old one."""
    table = torch.nn.Parameter(torch.ones(2, 2))
    with reduced_products(torch.device("cpu"), "bf16"):
        before = table @ torch.ones(2, 2)
        with torch.no_grad():
            table.mul_(3)
        torch.testing.assert_close(table @ torch.ones(2, 2), 3 * before)
