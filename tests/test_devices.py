"""Which device a parameter names, and what is said where it is absent."""

from __future__ import annotations

import pytest
import torch

from hyperrank import devices

no_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")


def test_auto_is_what_there_is() -> None:
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert devices.resolve("auto").type == expected
    assert devices.resolve("cpu") == devices.resolve(torch.device("cpu")) == torch.device("cpu")


@no_cuda
@pytest.mark.parametrize("asked", ["cuda", "cuda:1", torch.device("cuda")])
def test_cuda_asked_for_and_absent(asked: str | torch.device) -> None:
    with pytest.raises(ValueError, match=r"was asked for, but torch sees 0 CUDA devices here; use"):
        devices.resolve(asked)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("gpu", "device 'gpu' is unknown to torch; use 'auto', 'cpu' or 'cuda'"),
        ("meta", "device 'meta' is not supported; use 'auto', 'cpu' or 'cuda'"),
        ("cuda:99", "device 'cuda:99' was asked for, but torch sees"),
    ],
)
def test_bad_devices(asked: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        devices.resolve(asked)


def test_a_seed_fixes_the_stream() -> None:
    first, second, other = (torch.rand(3, generator=devices.seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_free_memory_is_plausible() -> None:
    assert 2**20 < devices.free_memory(torch.device("cpu")) < 2**50


@pytest.mark.gpu
def test_free_memory_of_cuda() -> None:
    assert devices.free_memory(torch.device("cuda")) > 2**20
    assert devices.seeded(0, "cuda").device.type == "cuda"
