"""Attacks on tables of vectors: moves of every row within a ball that raise a loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

Method: TypeAlias = Literal["pgd", "fgsm", "random"]
METHODS: tuple[Method, ...] = get_args(Method)
EPSILONS = (0.05, 0.1, 0.2, 0.4, 0.8)  # relative to the root mean square length of rows
STEP = 4  # of the projected ascent, in parts of the radius


def attacked(
    loss: Callable[..., Float[Tensor, ""]],
    tables: Sequence[Float[Tensor, "_ _"]],
    radii: Sequence[float],
    method: Method = "pgd",
    *,
    steps: int = 10,
    generator: torch.Generator,
) -> list[Float[Tensor, "_ _"]]:
    """Tables of higher ``loss(*tables)``, their rows within Euclidean balls around those given.

    - "fgsm": every row moves by its radius along its gradient (He et al. 2018; the direction, not
      the signs). May lower the loss where it is far from linear.
    - "pgd": ``steps`` moves by a quarter of the radius, each followed by projection onto the ball
      (Madry et al. 2018); the best tables met, so never a lower loss.
    - "random": every row moves by its radius in a direction drawn uniformly: the control.

    A row without gradient stays. Costs 1, ``steps`` and no gradients; PGD one more loss.

    Args:
        loss: A function of the tables, differentiable.
        tables: One or several; not changed.
        radii: Of the balls of each table's rows.
        method: As above.
        steps: Of "pgd".
        generator: Of "random".

    Raises:
        ValueError: If the method is unknown, ``steps`` is less than 1, there are more or fewer
            radii than tables, or a radius is negative or not finite.
    """
    _check(len(tables), radii, method, steps)
    start = [table.detach() for table in tables]
    if method == "random":
        moves = [
            torch.randn(t.shape, generator=generator, device=t.device, dtype=t.dtype) for t in start
        ]
        return _moved(start, moves, radii)
    if method == "fgsm":
        return _moved(start, _slopes(loss, start)[1], radii)
    best, highest, now = start, -torch.inf, start
    for _ in range(steps):
        value, slopes = _slopes(loss, now)
        if value > highest:
            best, highest = now, value
        farther = _moved(now, slopes, [radius / STEP for radius in radii])
        now = [
            table + _within(new - table, radius)
            for table, new, radius in zip(start, farther, radii, strict=True)
        ]
    with torch.no_grad():
        return now if float(loss(*now)) > highest else best


def relative_radii(tables: Mapping[str, Float[Tensor, "_ _"]], epsilon: float) -> dict[str, float]:
    """``epsilon`` times the root mean square length of each table's rows, by name.

    Raises:
        ValueError: If ``epsilon`` is negative or not finite.
    """
    if not 0 <= epsilon < float("inf"):
        raise ValueError(f"epsilon must be a number of at least 0, got {epsilon}")
    return {f"{name}_radius": epsilon * rms_row_norm(table) for name, table in tables.items()}


def rms_row_norm(table: Float[Tensor, "n d"]) -> float:
    """Root of the mean squared length of the rows; 0 for a table without rows."""
    return float(table.detach().double().square().sum(1).mean().sqrt()) if len(table) else 0.0


def share_wrong(
    scores: Callable[..., tuple[Float[Tensor, " t"], Float[Tensor, " t"]]],
    tables: Sequence[Tensor],
    part: float = 1.0,
) -> Callable[..., Float[Tensor, ""]]:
    """A bounded loss of tables: about the share of triples whose other candidate scores higher.

    The mean logistic function of the differences of ``scores(*tables)``, of the liked candidate and
    of the other, in units of ``part`` of their deviation at the tables given.
    """
    with torch.no_grad():
        liked, other = scores(*tables)
    deviation = (other - liked).std(correction=0)
    unit = part * deviation.clamp_min(torch.finfo(liked.dtype).tiny)

    def loss(*moved: Tensor) -> Tensor:
        liked, other = scores(*moved)
        return torch.sigmoid((other - liked) / unit).mean()

    return loss


def check_loss(name: str, known: Sequence[str]) -> None:
    """Passes when the loss is known.

    Raises:
        ValueError: If not.
    """
    if name not in known:
        raise ValueError(f"loss must be one of {', '.join(known)}, got {name!r}")


def curve(
    model: Any,
    attack: Callable[..., Any],
    accuracy: Callable[[Any], float],
    losses: Sequence[str],
    epsilons: Sequence[float],
    methods: Sequence[Method],
    seeds: Sequence[int],
) -> dict[str, Any]:
    """Columns epsilon, method, value, deviation and one for each radius; the clean value first.

    The accuracy of ``attack(epsilon, method, loss=, random_state=)``, a model whose ``attack_``
    holds the radii: the least over losses, which a random move has none of, then the mean over
    seeds. ``deviation`` is their standard deviation: NaN of a single one.

    Raises:
        ValueError: If there is no epsilon, no method or no seed.
    """

    def under(epsilon: float, method: Method, seed: int) -> tuple[float, dict[str, float]]:
        values = []
        for loss in losses[:1] if method == "random" else losses:
            moved = attack(epsilon, method, loss=loss, random_state=seed)
            values.append(accuracy(moved))
        told = vars(moved)["attack_"]
        return min(values), {name: told[name] for name in told if name.endswith("_radius")}

    clean = accuracy(model)
    asked = {"epsilons": epsilons, "methods": methods, "seeds": seeds}
    if empty := [name for name, given in asked.items() if not len(given)]:
        raise ValueError(f"{empty[0]} is empty; give one at least")
    rows: list[dict[str, Any]] = []
    for method in methods:
        for epsilon in epsilons:
            values, radii = zip(*(under(epsilon, method, seed) for seed in seeds), strict=True)
            spread = np.std(values, ddof=1) if len(values) > 1 else np.nan
            told = {"epsilon": epsilon, "method": method, "value": np.mean(values)}
            rows.append({**told, "deviation": spread, **radii[0]})
    first = dict.fromkeys(rows[0], 0.0) | {"method": "clean", "value": clean, "deviation": np.nan}
    columns = {name: np.array([row[name] for row in (first, *rows)]) for name in first}
    return columns | {"method": columns["method"].astype(object)}


def _slopes(loss: Callable[..., Tensor], tables: Sequence[Tensor]) -> tuple[float, list[Tensor]]:
    free = [table.clone().requires_grad_() for table in tables]
    with torch.enable_grad():
        value = loss(*free)
        slopes = torch.autograd.grad(value, free)
    return float(value.detach()), list(slopes)


def _moved(
    tables: Sequence[Tensor], directions: Sequence[Tensor], lengths: Sequence[float]
) -> list[Tensor]:
    """Each row moved by its length in its direction; not at all where that is zero."""
    return [
        table + length * _unit(direction)
        for table, direction, length in zip(tables, directions, lengths, strict=True)
    ]


def _unit(rows: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """Rows of length 1, of every size that the dtype holds; zero rows stay zero."""
    tiny = torch.finfo(rows.dtype).tiny
    rows = rows / rows.abs().amax(1, keepdim=True).clamp_min(tiny)
    unit: Tensor = rows / rows.norm(dim=1, keepdim=True).clamp_min(tiny)
    return unit


def _within(rows: Float[Tensor, "n d"], radius: float) -> Float[Tensor, "n d"]:
    """Rows longer than ``radius`` shortened to it."""
    tiny = torch.finfo(rows.dtype).tiny
    short: Tensor = rows * (radius / rows.norm(dim=1, keepdim=True).clamp_min(tiny)).clamp_max(1)
    return short


def _check(n_tables: int, radii: Sequence[float], method: str, steps: int) -> None:
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    if len(radii) != n_tables:
        raise ValueError(f"got {len(radii)} radii for {n_tables} tables; give one for each")
    if not all(0 <= radius < float("inf") for radius in radii):
        raise ValueError(f"radii must be numbers of at least 0, got {list(radii)}")
