"""Are neighbours in the latent space alike? Euclidean distances of the codes as they are: a dead dimension counts for nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from latent_atlas.metrics.distances import PRODUCTS, centred
from latent_atlas.metrics.information import is_quantity, known_of, quantile_bins
from latent_atlas.metrics.memo import Memo
from latent_atlas.metrics.result import Measured, NotApplicable, mean_of

_APART: Memo[Tensor] = Memo(2)  # trustworthiness and continuity look at the same two sides


def nearest(codes: Tensor, k: int, block: int = 1024) -> Tensor:
    """The k nearest other items of each, nearest first, (N, k)."""
    rows = centred(codes)
    found = []
    for start in range(0, len(rows), block):
        distances = torch.cdist(rows[start : start + block], rows, compute_mode=PRODUCTS)
        distances[torch.arange(len(distances)), torch.arange(start, start + len(distances))] = torch.inf
        found.append(distances.topk(k, largest=False).indices)
    return torch.cat(found)


def _enough(n: int, k: int) -> None:
    if n <= k:
        raise NotApplicable(f"{n} items have no {k} neighbours each")


def knn_accuracy(codes: Tensor, labels: Tensor, k: int = 10) -> Measured:
    """Share of items whose label is the most frequent among their k nearest others; the floor always answers the commonest label.

    Args:
        codes: (N, d).
        labels: (N,) int64; items with a negative one are left out.
        k: neighbours that vote.

    Raises:
        NotApplicable: at most k items, or a single label.
    """
    codes, labels = codes[labels >= 0], labels[labels >= 0]
    _enough(len(codes), k)
    counts = torch.bincount(labels)
    if int((counts > 0).sum()) < 2:
        raise NotApplicable("every item has the same label")
    votes = torch.nn.functional.one_hot(labels[nearest(codes, k)], len(counts)).sum(1)
    return mean_of((votes.argmax(1) == labels).double(), floor=float(counts.max()) / len(labels), k=k)


def knn_factors(
    codes: Tensor,
    factors: Tensor,
    factor_names: Sequence[str] | None = None,
    factor_sizes: Sequence[int] | None = None,
    k: int = 10,
    bins: int = 5,
) -> Measured:
    """How often neighbours agree on a factor, beyond chance, mean over factors: (agreement − chance) / (1 − chance).

    A factor of more than ``bins`` values is cut into groups of equal mass first: neighbours in one fifth of its range agree. 0 is
    chance, 1 is full agreement on all factors. An item whose factor is unknown (a negative class, a NaN) is no part of that one.
    """
    _enough(len(codes), k)
    neighbours = nearest(codes, k)
    names = factor_names or [f"factor {index}" for index in range(factors.shape[1])]
    skills: dict[str, Tensor] = {}
    for index, (name, column) in enumerate(zip(names, factors.numpy().T, strict=True)):
        known = known_of(column, is_quantity(column, None if factor_sizes is None else factor_sizes[index]))
        near = neighbours if known.all() else nearest(codes[known], k) if known.sum() > k else None
        group = torch.as_tensor(quantile_bins(column[known], bins))
        chance = float((torch.bincount(group).double() / len(group)).square().sum()) if len(group) else 1.0
        if near is not None and chance < 1:
            agreement = (group[near] == group[:, None]).double().mean(1)
            # Spread over all items, so that their mean is that over the known ones.
            skills[name] = torch.zeros(len(codes), dtype=torch.float64)
            skills[name][torch.from_numpy(known)] = (agreement - chance) / (1 - chance) * len(codes) / len(group)
    if not skills:
        raise NotApplicable("every factor is constant on these items")
    found = mean_of(torch.stack(list(skills.values())).mean(0), floor=0.0, k=k, bins=bins)
    parts = {name: float(skill.mean()) for name, skill in skills.items()}
    return Measured(found.value, found.interval, 0.0, 1.0, found.provenance, parts)


def trustworthiness(x: Tensor, codes: Tensor, k: int = 10, limit: int = 2000) -> Measured:
    """Are neighbours in the codes neighbours in the data? 1 − 2 / (N k (2N − 3k − 1)) · Σ (rank − k)+ (Venna & Kaski 2001).

    Ranks are of Euclidean distances between observations; the first ``limit`` items are used, since the cost grows with N². The
    floor is that of the same codes dealt to the wrong items.
    """
    return _ranked(x[:limit].flatten(1), codes[:limit], k)


def continuity(x: Tensor, codes: Tensor, k: int = 10, limit: int = 2000) -> Measured:
    """Are neighbours in the data neighbours in the codes? ``trustworthiness`` with the two sides exchanged (Venna & Kaski 2001)."""
    return _ranked(codes[:limit], x[:limit].flatten(1), k)


def _apart(rows: Tensor) -> Tensor:
    """Distances (N, N) of all pairs; -1 of each to itself, which comes first also among duplicates."""

    def found() -> Tensor:
        at = centred(rows)
        return torch.cdist(at, at, compute_mode=PRODUCTS).fill_diagonal_(-1.0)

    return _APART.get([rows.numpy()], None, found)


def _ranked(ranked: Tensor, chosen: Tensor, k: int) -> Measured:
    """How low the k nearest by ``chosen`` (N, a) stand in the order by ``ranked`` (N, b)."""
    n = len(chosen)
    if 2 * n <= 3 * k + 1:
        raise NotApplicable(f"{n} items are too few for {k} neighbours")
    distances, neighbours = _apart(ranked), _apart(chosen).topk(k + 1, largest=False).indices[:, 1:]
    ordered = torch.from_numpy(np.sort(distances.numpy(), axis=1))
    dealt = torch.from_numpy(np.random.default_rng(0).permutation(n))
    wrong = torch.empty_like(neighbours)
    wrong[dealt] = dealt[neighbours]

    def scores(found: Tensor) -> Tensor:
        ranks = torch.searchsorted(ordered, distances.gather(1, found))  # how many lie nearer, itself with them
        return 1 - (ranks - k).clamp(min=0).sum(1).double() * 2 / (k * (2 * n - 3 * k - 1))

    return mean_of(scores(neighbours), floor=float(scores(wrong).mean()), k=k)
