"""Does the aggregate posterior, one draw of q(z | x) per item, fill the prior? Distances of the two, and the prior's holes.

    k-distance² = E k(z, z') + E k(p, p') − E k(z, p) − E k(z', p)

estimated without bias over pairs of different items (Gretton et al. 2012, eq. 4), so that it may be negative.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from latent_atlas.metrics.distances import PRODUCTS
from latent_atlas.metrics.result import Z95, Measured, TooFewSamples, mean_of
from latent_atlas.spaces.kernels import KERNELS


def mmd(draws: Tensor, prior: Tensor, kernel: str = "imq", limit: int = 1000, permutations: int = 50, seed: int = 0) -> Measured:
    """Maximum mean discrepancy² of draws and prior, unbiased; kernels are bounded by 1, so it lies between about 0 and 2.

    The floor is that of a single place in which all draws lie. The ceiling is the mean, and ``noise`` in the parts the 95 % point,
    of the same estimate with draws and prior dealt anew to the two sides: what an aggregate posterior equal to the prior reaches at
    this N. ``p`` is the share of deals that reach the value.

    Args:
        draws: (N, d) coordinates, one draw of q(z | x) per item.
        prior: (N, d) coordinates of prior draws.
        kernel: a key of ``KERNELS``: ``imq``, ``rbf`` or ``energy``.
        limit: the most draws of each; the cost grows with N².
        permutations: deals.
        seed: of the deals.

    Raises:
        TooFewSamples: fewer than 20 draws.
    """
    n = min(len(draws), len(prior), limit)
    if n < 20:
        raise TooFewSamples(f"a distance of two clouds needs 20 draws of each, there are {n}")
    matrix = gram(draws[:n], prior[:n], kernel)
    value, terms = paired(matrix, torch.arange(2 * n))
    draw = torch.Generator().manual_seed(seed)
    dealt = torch.stack([paired(matrix, torch.randperm(2 * n, generator=draw))[0] for _ in range(permutations)])
    # Two parts: the first order, which vanishes where the clouds are equal, and the noise of equal clouds, which does not.
    half = Z95 * math.sqrt(4 * float(terms.var()) / n + float(dealt.var()))
    found = float(value)
    one_place = float(paired(gram(draws[:1].expand(n, -1), prior[:n], kernel), torch.arange(2 * n))[0])
    parts = {"noise": float(dealt.quantile(0.95)), "p": (1 + int((dealt >= value).sum())) / (1 + permutations)}
    provenance: dict[str, Any] = {"n": n, "kernel": kernel, "estimator": "unbiased"}
    return Measured(found, (found - half, found + half), one_place, float(dealt.mean()), provenance=provenance, parts=parts)


def energy_distance(draws: Tensor, prior: Tensor, limit: int = 1000, permutations: int = 50, seed: int = 0) -> Measured:
    """2 E|z − p| − E|z − z'| − E|p − p'| in units of the latent space (Székely & Rizzo 2013), unbiased; as ``mmd`` otherwise."""
    return mmd(draws, prior, "energy", limit, permutations, seed)


def gram(draws: Tensor, prior: Tensor, kernel: str) -> Tensor:
    """The kernel of all pairs of n draws and then n prior draws, (2n, 2n)."""
    rows = torch.cat([draws, prior]).double()
    rows = rows - rows.mean(0)
    squares = torch.cdist(rows, rows, compute_mode=PRODUCTS).square()
    return KERNELS[kernel](squares, float(prior.double().var(0).sum()))


def paired(matrix: Tensor, order: Tensor) -> tuple[Tensor, Tensor]:
    """The unbiased estimate from a kernel matrix (2n, 2n) whose sides are the two halves of ``order``, and its terms (n,).

    Over pairs i ≠ j of h = k(z_i, z_j) + k(p_i, p_j) − k(z_i, p_j) − k(z_j, p_i); a term is the mean of h over j.
    """
    n = len(matrix) // 2
    sign = torch.ones(2 * n, dtype=matrix.dtype)
    sign[order[n:]] = -1
    sums = sign * (matrix @ sign)  # of one row: same side minus other side
    a, b = order[:n], order[n:]
    own = matrix[a, a] + matrix[b, b] - 2 * matrix[a, b]  # the pairs i = j
    terms = (sums[a] + sums[b] - own) / (n - 1)
    return terms.mean(), terms


def prior_holes(draws: Tensor, prior: Tensor, quantile: float = 0.99, limit: int = 5000) -> Measured:
    """Share of prior draws that lie in a hole: farther from every draw of the aggregate posterior than these from each other.

    Farther than the ``quantile`` of the draws' distances to their nearest other draw. An aggregate posterior equal to the prior
    leaves 1 − ``quantile``, the ceiling; draws in a single place leave all of it, the floor. Draws that cover more than the prior
    leave no holes: ``mmd`` sees them.

    Args:
        draws: (N, d) coordinates, one draw of q(z | x) per item.
        prior: (N, d) coordinates of prior draws.
        quantile: of nearest distances.
        limit: the most draws of each.

    Raises:
        TooFewSamples: fewer than 2 / (1 − quantile) draws.
    """
    n = min(len(draws), len(prior), limit)
    if n * (1 - quantile) < 2 - 1e-9:
        raise TooFewSamples(f"the {quantile:.0%} point of nearest distances needs {math.ceil(2 / (1 - quantile))} draws, not {n}")
    z, p = draws[:n].double(), prior[:n].double()
    centre = z.mean(0)
    reach = nearest_distance(z - centre, z - centre, skip=True).quantile(quantile)
    away = nearest_distance(p - centre, z - centre)
    found = mean_of((away > reach).double(), quantile=quantile)
    ceiling = 1 - quantile
    parts = {"reach": float(reach), "median_away": float(away.median())}
    return Measured(found.value, found.interval, 1.0, ceiling, provenance={**found.provenance, "n": n}, parts=parts)


def nearest_distance(rows: Tensor, others: Tensor, skip: bool = False, block: int = 1024) -> Tensor:
    """The distance of each row (N, d) to its nearest of the others (M, d), (N,); ``skip`` leaves out the one of the same number."""
    found = []
    for start in range(0, len(rows), block):
        distances = torch.cdist(rows[start : start + block], others, compute_mode=PRODUCTS)
        if skip:
            distances[torch.arange(len(distances)), torch.arange(start, start + len(distances))] = torch.inf
        found.append(distances.amin(1))
    return torch.cat(found)
