"""A start for factor models that skips the plateau where only popularity is learned."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from hyperrank.lowrank import randomized_svd
from hyperrank.pairs import PairSet
from hyperrank.sparse import from_pairs


def spectral_tables(
    pairs: PairSet,
    dim: int,
    log_odds: Float[Tensor, " n_items"],
    *,
    scale: float,
    generator: torch.Generator,
) -> tuple[Float[Tensor, "n_users dim"], Float[Tensor, "n_items dim"]]:
    """Tables whose scores are popularity log-odds plus the leading user-item structure.

    The first coordinate holds ``log_odds``: a constant for users, a share for items. The others
    are the leading singular vectors of D_u^-1/2 R D_i^-1/2 but for its trivial pair, the square
    roots of the degrees, which is popularity and said better by the log-odds; values are split
    evenly and rows scaled to a mean norm of ``scale``. Random coordinates would have to discover
    all that: training from them idles at the popularity solution for a hundred epochs on gowalla.

    Where ``dim`` exceeds the rank of R, the remaining coordinates are small normal numbers.
    """
    users, items = (d.clamp_min(1).rsqrt() for d in (pairs.query_degrees, pairs.candidate_degrees))
    normalized = from_pairs(pairs, users[pairs.queries] * items[pairs.candidates])
    rank = min(dim, *normalized.shape)
    svd = randomized_svd(normalized.linear_map(), rank, generator=generator)
    # the trivial pair has the largest singular value, 1; where others equal it (a graph in several
    # pieces) the SVD may mix them, so a reflection first turns it into the first pair
    trivial = svd.left.T @ (pairs.query_degrees.float() / max(len(pairs), 1)).sqrt()
    mirror = trivial - torch.eye(rank, device=pairs.device)[0] * trivial.norm()
    mirror = mirror / mirror.norm().clamp_min(torch.finfo(mirror.dtype).tiny)
    tables = []
    for pair in (svd.left, svd.right):
        vectors = pair - 2 * torch.outer(pair @ mirror, mirror)
        table = torch.randn(len(vectors), dim, generator=generator, device=pairs.device) * 1e-2
        table[:, :rank] = vectors * svd.values.sqrt()
        norm = table[:, 1:].norm(dim=1).mean().clamp_min(torch.finfo(table.dtype).tiny)
        tables.append(table.mul_(scale / norm))
    size = log_odds.abs().mean().sqrt().clamp_min(1e-3)
    tables[0][:, 0], tables[1][:, 0] = size, log_odds / size
    return tables[0], tables[1]
