"""Where tensors live: the device that a parameter names, its memory, its generators."""

from __future__ import annotations

import psutil
import torch


def resolve(device: str | torch.device) -> torch.device:
    """The device that ``device`` names; "auto" is CUDA where there is one, else the CPU.

    Raises:
        ValueError: If torch knows no such device, or this machine has none.
        TypeError: If it is neither text nor a torch device.
    """
    if not isinstance(device, str | torch.device):
        raise TypeError(f"device must be text or a torch.device, got {type(device).__name__}")
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
    except RuntimeError:
        raise ValueError(
            f"device {device!r} is unknown to torch; use 'auto', 'cpu' or 'cuda'"
        ) from None
    if found.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (found.index or 0) >= count:
            raise ValueError(
                f"device {str(device)!r} was asked for, but torch sees {count} CUDA devices here; "
                "use device='auto' or 'cpu', or install a CUDA build of torch"
            )
    elif found.type != "cpu":
        raise ValueError(f"device {str(device)!r} is not supported; use 'auto', 'cpu' or 'cuda'")
    return found


def seeded(random_state: int, device: str | torch.device = "cpu") -> torch.Generator:
    """A generator on ``device`` that starts from ``random_state``."""
    return torch.Generator(resolve(device)).manual_seed(random_state)


def free_memory(device: torch.device) -> int:
    """Bytes that can still be taken on ``device`` without swapping."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)
