"""Do classes form regions of the latent space? Islands of a class, k-means against the labels, silhouettes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latent_atlas.metrics.distances import PRODUCTS, centred
from latent_atlas.metrics.intervals import refitted
from latent_atlas.metrics.neighbours import nearest
from latent_atlas.metrics.result import Z95, Measured, NotApplicable, mean_of

Labels = NDArray[np.int64]
Agreement = Callable[[Labels, Labels], float]
HALVES = 10  # of the items, for the interval of components
SUBSET = 0.8  # of the items in each refit of k-means


def class_component(codes: Tensor, labels: Tensor, k: int = 5, limit: int = 5000, resamples: int = 0, seed: int = 0) -> Measured:
    """Mean over classes of the share of a class that lies in its largest component of the k-NN graph.

    The graph joins each item with its k nearest others, whatever their class; then only edges inside a class are kept. 1: every
    class is one region; 0.5: it is two islands of equal size, or other classes lie between. The floor is that of shuffled labels,
    and high where classes are few: an item with k neighbours among C classes still has about 2k / C of its own.

    Args:
        codes: (N, d).
        labels: (N,) int64; a negative one is missing.
        k: neighbours of each item.
        limit: the most items that are used.
        resamples: of the interval, at most 10: halves of the items, for items drawn twice would be each other's nearest.
        seed: of the shuffle and of the halves.

    Raises:
        NotApplicable: at most k items, or a single class.
    """
    z, y = labelled(codes[:limit], labels[:limit])
    if len(z) <= k:
        raise NotApplicable(f"{len(z)} items have no {k} neighbours each")
    neighbours = nearest(z, k).numpy()
    shares = component_shares(neighbours, y)
    rng = np.random.default_rng(seed)
    shuffled = component_shares(neighbours, rng.permutation(y))
    value = float(np.mean(list(shares.values())))
    halves: list[float] = []
    for _ in range(min(resamples, HALVES) if len(z) >= 4 * (k + 1) else 0):
        rows = np.sort(rng.permutation(len(z))[: len(z) // 2])
        halves.append(float(np.mean(list(component_shares(nearest(z[rows], k).numpy(), y[rows]).values()))))
    # Two halves are as far apart as two sets of that size: without replacement, N / 2 of N spread as the mean of N does.
    half = Z95 * float(np.std(halves, ddof=1)) if len(halves) > 1 else None
    return Measured(
        value,
        None if half is None else (value - half, value + half),
        floor=float(np.mean(list(shuffled.values()))),
        ceiling=1.0,
        provenance={"n": len(z), "k": k},
        parts={"class": {str(label): share for label, share in shares.items()}},
    )


def component_shares(neighbours: NDArray[np.int64], y: Labels) -> dict[int, float]:
    """For each class the share of its items in its largest component; neighbours (N, k) of each item."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    start = np.repeat(np.arange(len(y)), neighbours.shape[1])
    stop = neighbours.reshape(-1)
    same = y[start] == y[stop]
    graph = coo_array((np.ones(int(same.sum()), np.int8), (start[same], stop[same])), shape=(len(y), len(y)))
    component = connected_components(graph.tocsr(), directed=False)[1]
    return {int(label): float(np.bincount(component[y == label]).max() / (y == label).sum()) for label in np.unique(y)}


def nmi(codes: Tensor, labels: Tensor, limit: int = 5000, refits: int = 0, seed: int = 0) -> Measured:
    """Normalised mutual information, I / mean(H, H), of the classes with k-means of as many clusters (Strehl & Ghosh 2002)."""
    from sklearn.metrics import normalized_mutual_info_score

    return _clustering(codes, labels, normalized_mutual_info_score, limit, refits, seed)


def ari(codes: Tensor, labels: Tensor, limit: int = 5000, refits: int = 0, seed: int = 0) -> Measured:
    """Adjusted Rand index of the classes with k-means of as many clusters: 0 is chance, 1 is equality (Hubert & Arabie 1985)."""
    from sklearn.metrics import adjusted_rand_score

    return _clustering(codes, labels, adjusted_rand_score, limit, refits, seed)


def _clustering(codes: Tensor, labels: Tensor, agreement: Agreement, limit: int, refits: int, seed: int) -> Measured:
    """The agreement of one k-means, or the mean over refits, each on another 80 % of the items, with its interval."""
    z, y = labelled(codes[:limit], labels[:limit])
    classes, rng = len(np.unique(y)), np.random.default_rng(seed)
    found, shuffled = [], []
    for refit in range(max(1, refits)):
        rows = rng.permutation(len(y))[: round(SUBSET * len(y))] if refits else np.arange(len(y))
        clusters = k_means(z[rows].double().numpy(), classes, seed + refit)
        found.append(float(agreement(y[rows], clusters)))
        shuffled.append(float(agreement(rng.permutation(y[rows]), clusters)))
    value, interval = refitted(found)
    provenance: dict[str, Any] = {"n": len(y), "estimator": f"k-means, K = {classes}", "refits": refits}
    return Measured(value, interval, float(np.mean(shuffled)), 1.0, provenance, {"refits": found} if refits else {})


def k_means(rows: NDArray[np.float64], clusters: int, seed: int) -> Labels:
    """The best of four runs of k-means, as cluster numbers (N,)."""
    from sklearn.cluster import KMeans

    if len(np.unique(rows[: 10 * clusters], axis=0)) < clusters and len(np.unique(rows, axis=0)) < clusters:
        raise NotApplicable(f"the codes have fewer than {clusters} different values")
    found: Labels = KMeans(clusters, n_init=4, random_state=seed).fit_predict(rows).astype(np.int64)
    return found


def silhouette(codes: Tensor, labels: Tensor, limit: int = 2000, seed: int = 0) -> Measured:
    """Mean of (b − a) / max(a, b): a the mean distance to the own class, b to the nearest other (Rousseeuw 1987); −1 to 1.

    The floor is that of shuffled labels.

    Args:
        codes: (N, d).
        labels: (N,) int64; a negative one is missing.
        limit: the most items that are used; the cost grows with N².
        seed: of the shuffle.
    """
    z, y = labelled(codes[:limit], labels[:limit])
    rows = centred(z)
    distances = torch.cdist(rows, rows, compute_mode=PRODUCTS).fill_diagonal_(0)  # products leave 1e-8 there
    shuffled = silhouettes(distances, np.random.default_rng(seed).permutation(y)).mean()
    found = mean_of(silhouettes(distances, y))
    return Measured(found.value, found.interval, float(shuffled), 1.0, found.provenance)


def silhouettes(distances: Tensor, y: Labels) -> Tensor:
    """Of each item (N,), from distances (N, N) and classes (N,); 0 for an item alone in its class."""
    _, index = np.unique(y, return_inverse=True)
    own = torch.from_numpy(index)
    members = torch.nn.functional.one_hot(own).to(distances)
    totals, sizes = distances @ members, members.sum(0)
    inside = totals.gather(1, own[:, None])[:, 0] / (sizes[own] - 1).clamp(min=1)
    outside = (totals / sizes).scatter(1, own[:, None], torch.inf).amin(1)
    found = (outside - inside) / torch.maximum(inside, outside).clamp(min=1e-300)
    return torch.where(sizes[own] > 1, found, torch.zeros_like(found))


def labelled(codes: Tensor, labels: Tensor) -> tuple[Tensor, Labels]:
    """The items whose label is known.

    Raises:
        NotApplicable: fewer than two classes among them.
    """
    known = labels >= 0
    y = labels[known].numpy().astype(np.int64)
    if len(np.unique(y)) < 2:
        raise NotApplicable("every item has the same label")
    return codes[known], y
