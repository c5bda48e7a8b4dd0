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

from latent_atlas.metrics.distances import centred
from latent_atlas.metrics.result import NotApplicable

Array = NDArray[np.float64]
# death / birth from which a cycle is a loop: the longest of noise in two dimensions and more stay below it (up to 2.7 of random
# points, 2.1 of landmarks, 400 each, in uniform and normal clouds)
RATIO, OF_LANDMARKS = 3.0, 2.5
POOL = 3  # times as many points as are used, from which they are chosen as landmarks
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
        sizes: how many points each piece has once all pairs nearer than 3 times the 95th percentile of joints are joined, largest
            first.
        needed: the ratio death / birth from which a cycle is a loop whatever its chance.
    """

    pieces: Array
    births: Array
    deaths: Array
    sizes: tuple[int, ...]
    needed: float = RATIO

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

    Of three times as many and more, up to five times, they are landmarks (de Silva & Carlsson 2004): each the one farthest from
    those before it, which leaves no random gaps and so halves the lifetimes of noise.

    Args:
        points: (N, d).
        limit: the most points: the cost rises with their cube, and 400 take about a second.
        directions: principal components that are kept.
        seed: of the subsample.

    Raises:
        NotApplicable: fewer than 20 distinct points, or some are not finite.
    """
    from ripser import ripser

    many = len(points) >= POOL * limit
    rows = torch.from_numpy(np.random.default_rng(seed).permutation(len(points))[: 5 * limit if many else limit])
    found = np.unique(leading(points[rows], directions), axis=0)
    if many:
        found = landmarks(found, limit)
    if len(found) < LEAST:
        raise NotApplicable(f"{len(found)} distinct points are too few for a shape")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # more directions than points is no fault
        joints, cycles = ripser(found, maxdim=1)["dgms"]
    lengths = np.sort(joints[np.isfinite(joints[:, 1]), 1].astype(np.float64))[::-1]
    cycles = cycles[(cycles[:, 0] > 0) & (cycles[:, 1] > cycles[:, 0])].astype(np.float64)
    order, needed = np.argsort(cycles[:, 0] - cycles[:, 1], kind="stable"), OF_LANDMARKS if many else RATIO
    births, deaths = cycles[order].T
    return Persistence(lengths, births, deaths, joined(found, 3 * float(np.quantile(lengths, 0.95))), needed)


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


def landmarks(points: Array, count: int) -> Array:
    """The first point, then each time the one farthest from all before it, (count, d)."""
    rows, nearest = [0], np.linalg.norm(points - points[0], axis=1)
    while len(rows) < min(count, len(points)):
        rows.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, np.linalg.norm(points - points[rows[-1]], axis=1))
    return points[rows]


def joined(points: Array, reach: float) -> tuple[int, ...]:
    """The sizes of what hangs together when all pairs within ``reach`` are joined, largest first."""
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import cKDTree

    near = cKDTree(points).sparse_distance_matrix(cKDTree(points), reach, output_type="coo_matrix")
    _, label = connected_components(near, directed=False)
    return tuple(sorted(np.bincount(label).tolist(), reverse=True))


def loops(found: Persistence) -> int:
    """How many cycles are no noise of sampling: death / birth of at least 3 (2.5 of landmarks), or one that noise has with an
    expectation below 0.05.

    For noise, log log(death / birth) less its mean over all cycles has one law whatever the distribution and the dimension: that of
    the logarithm of an exponential variable, less its mean (Bobrowski & Skraba 2023, doi:10.1038/s41598-023-37842-2). It finds a
    loop under noise in many dimensions, where every ratio is small. Large ratios are rarer in noise than this law says, and few
    cycles have no law: a clean circle has one.
    """
    ratios = found.ratios
    if len(ratios) < LEAST:
        return int((ratios >= found.needed).sum())
    length = np.log(np.log(ratios))
    chance = np.exp(-np.exp(length - length.mean() - np.euler_gamma))
    return int(((ratios >= found.needed) | (chance * len(ratios) < CHANCE)).sum())


def pieces(found: Persistence) -> int:
    """How many parts hold at least 5 % of the points, all pairs nearer than 3 times the 95th percentile of joints being joined."""
    return max(1, sum(size >= SHARE * sum(found.sizes) for size in found.sizes))
