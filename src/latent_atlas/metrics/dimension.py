"""How many directions the codes really fill: intrinsic dimension from distances to nearest neighbours.

Both estimates fall short where a cloud has much surface for its volume, that is from about ten dimensions on at usual N: they
compare models at equal N, and are no count.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from latent_atlas.metrics.distances import PRODUCTS, centred
from latent_atlas.metrics.result import Z95, Measured, NotApplicable

MOST = 2**22  # numbers held at once
ALIKE = 1e-5  # of the cloud's radius: equal items whose codes differ by the rounding of float32 are one item


def two_nn(codes: Tensor, limit: int = 5000) -> Measured:
    """d = (N − 1) / Σ log(r₂ / r₁) from the two nearest neighbours of each item (Facco et al. 2017), the unbiased estimate.

    Local density cancels in the ratio, which has a Pareto law of index d. The ratios of neighbours are not quite independent; the
    interval d ± 1.96 d / √N takes them as if they were.

    Args:
        codes: (N, d).
        limit: the most items that are used.

    Raises:
        NotApplicable: fewer than 20 distinct items.
    """
    distances = neighbour_distances(codes[:limit], 2)
    ratios = (distances[:, 1] / distances[:, 0]).log()
    n = len(ratios)
    if float(ratios.sum()) <= 0:
        raise NotApplicable("the two nearest neighbours of every item are equally far")
    value = (n - 1) / float(ratios.sum())
    half = Z95 * value / math.sqrt(n)
    return Measured(value, (value - half, value + half), 0.0, float(codes.shape[1]), {"n": n, "estimator": "TwoNN"})


def levina_bickel(codes: Tensor, k: int = 20, limit: int = 5000) -> Measured:
    """Maximum likelihood from k neighbours, 1/d = mean over items of mean_j log(r_k / r_j) (Levina & Bickel 2004).

    Averaged over items as inverses, the likelihood of all items at once (MacKay & Ghahramani 2005). Items share neighbours, so the
    interval counts N / k independent ones.

    Args:
        codes: (N, d).
        k: neighbours of each item.
        limit: the most items that are used.

    Raises:
        NotApplicable: fewer than 20 distinct items, or at most k.
    """
    distances = neighbour_distances(codes[:limit], k)
    inverse = (distances[:, -1:] / distances[:, :-1]).log().sum(1)
    if float(inverse.sum()) <= 0:
        raise NotApplicable(f"the {k} nearest neighbours of every item are equally far")
    n, mean = len(inverse), float(inverse.mean())
    value = (k - 1) / mean
    half = Z95 * value * float(inverse.std()) / mean / math.sqrt(n / k)
    return Measured(
        value,
        (value - half, value + half),
        floor=0.0,
        ceiling=float(codes.shape[1]),
        provenance={"n": n, "k": k, "estimator": "Levina-Bickel, inverse averaged"},
    )


def neighbour_distances(codes: Tensor, k: int) -> Tensor:
    """Distances to the k nearest others, ascending (N, k), of the items that are no duplicates of an earlier one."""
    rows = distinct(centred(codes))
    if len(rows) <= max(k, 19):
        raise NotApplicable(f"{len(rows)} different codes are too few for an intrinsic dimension from {k} neighbours")
    found, block = [], max(16, min(1024, MOST // ((k + 1) * rows.shape[1])))
    for start in range(0, len(rows), block):
        part = rows[start : start + block]
        near = torch.cdist(part, rows, compute_mode=PRODUCTS).topk(k + 1, largest=False).indices
        # Products lose the digits of distances far below the cloud's size: those of neighbours are taken anew from differences.
        exact = torch.linalg.vector_norm(rows[near] - part[:, None], dim=2).sort(1).values
        found.append(exact[:, 1:])
    return torch.cat(found)


def distinct(rows: Tensor, block: int = 1024) -> Tensor:
    """The centred rows (N, d) that do not lie within rounding of an earlier one: a duplicate says nothing about dimension."""
    radius = torch.linalg.vector_norm(rows - rows.median(0).values, dim=1).median()  # medians: one outlier must not set the scale
    reach, kept = ALIKE * float(radius), []
    for start in range(0, len(rows), block):
        part = rows[start : start + block]
        near = torch.cdist(part, rows[: start + len(part)], compute_mode=PRODUCTS) <= reach
        kept.append(~near.tril(start - 1).any(1))
    return rows[torch.cat(kept)]
