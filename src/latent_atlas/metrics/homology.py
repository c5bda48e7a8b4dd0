"""What shape a cloud of points has: pieces and loops by persistent homology of Vietoris-Rips complexes.

Balls grow around the points. Each piece (H0) lives until it touches another; each loop (H1) is born when balls close it and dies
when they fill it. What lives long belongs to the shape, what dies soon is noise of sampling.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latent_atlas.metrics.neighbours import centred
from latent_atlas.metrics.result import NotApplicable

Array = NDArray[np.float64]
RATIO = 3.0  # death / birth from which a cycle is a loop: the longest of noise in two dimensions and more stay below it
CHANCE = 0.05  # cycles as long that noise may be expected to have
LEAST = 20  # distinct points; cycles for a law of noise
SHARE = 0.05  # of the points, from which a piece counts


@dataclass(frozen=True)
class Persistence:
    """Lifetimes, longest first, in units of the cloud's radius: the largest distance of a point to the mean.

    Args:
        pieces: (n - 1,) at which distance each piece joins another.
        births: (m,) of the cycles of H1.
        deaths: (m,) of the same.
        sizes: how many points each piece has once all pairs nearer than ``RATIO`` median joints are joined, largest first.
    """

    pieces: Array
    births: Array
    deaths: Array
    sizes: tuple[int, ...]

    @property
    def lifetimes(self) -> Array:
        """death - birth of the cycles, (m,)."""
        return self.deaths - self.births

    @property
    def ratios(self) -> Array:
        """death / birth of the cycles, (m,): how long they live whatever the scale."""
        return self.deaths / self.births


def persistence(points: Tensor, limit: int = 400, directions: int = 30, seed: int = 0) -> Persistence:
    """H0 and H1 of at most ``limit`` points, drawn by ``seed``, in their ``directions`` leading principal components.

    Args:
        points: (N, d).
        limit: the most points: the cost rises with their cube, and 400 take about a second.
        directions: principal components that are kept.
        seed: of the subsample.

    Raises:
        NotApplicable: fewer than 20 distinct points, or some are not finite.
    """
    from ripser import ripser

    rows = torch.from_numpy(np.random.default_rng(seed).permutation(len(points))[:limit])
    kept = leading(points[rows], directions)
    found = np.unique(kept, axis=0)
    if len(found) < LEAST:
        raise NotApplicable(f"{len(found)} distinct points are too few for a shape")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # more directions than points is no fault
        joints, cycles = ripser(found, maxdim=1)["dgms"]
    lengths = np.sort(joints[np.isfinite(joints[:, 1]), 1].astype(np.float64))[::-1]
    cycles = cycles[(cycles[:, 0] > 0) & (cycles[:, 1] > cycles[:, 0])].astype(np.float64)
    order = np.argsort(cycles[:, 0] - cycles[:, 1], kind="stable")
    births, deaths = cycles[order].T
    return Persistence(lengths, births, deaths, joined(found, RATIO * float(np.median(lengths))))


def leading(points: Tensor, directions: int) -> Array:
    """The points (n, d) in their leading principal components, (n, at most directions), over the largest distance to the mean."""
    if not bool(points.isfinite().all()):
        raise NotApplicable("some points are not finite")
    rows = centred(points.flatten(1))
    radius = float(torch.linalg.vector_norm(rows, dim=1).max()) if len(rows) else 0.0
    if radius == 0:
        raise NotApplicable("all points are the same")
    rows = rows / radius
    if rows.shape[1] > directions:
        values, vectors = torch.linalg.eigh(rows @ rows.T)  # of (n, n), however wide an image is
        rows = vectors[:, -directions:].flip(1) * values[-directions:].flip(0).clamp(min=0).sqrt()
    kept: Array = rows.numpy()
    return kept


def joined(points: Array, reach: float) -> tuple[int, ...]:
    """The sizes of what hangs together when all pairs within ``reach`` are joined, largest first."""
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import cKDTree

    near = cKDTree(points).sparse_distance_matrix(cKDTree(points), reach, output_type="coo_matrix")
    _, label = connected_components(near, directed=False)
    return tuple(sorted(np.bincount(label).tolist(), reverse=True))


def loops(found: Persistence) -> int:
    """How many cycles are no noise of sampling: death / birth of at least 3, or a ratio that noise has with expectation below 0.05.

    For noise, log log(death / birth) less its mean over all cycles has one law whatever the distribution and the dimension: that of
    the logarithm of an exponential variable, less its mean (Bobrowski & Skraba 2023, doi:10.1038/s41598-023-37842-2). It finds a
    loop under noise in many dimensions, where every ratio is small. Ratios of 3 and more are rarer in noise than this law says, and
    few cycles have no law: a clean circle has one.
    """
    ratios = found.ratios
    if len(ratios) < LEAST:
        return int((ratios >= RATIO).sum())
    length = np.log(np.log(ratios))
    chance = np.exp(-np.exp(length - length.mean() - np.euler_gamma))
    return int(((ratios >= RATIO) | (chance * len(ratios) < CHANCE)).sum())


def pieces(found: Persistence) -> int:
    """How many parts hold at least 5 % of the points when all pairs nearer than 3 median joints are joined."""
    return max(1, sum(size >= SHARE * sum(found.sizes) for size in found.sizes))
