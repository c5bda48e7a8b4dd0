"""Has the code kept the shape of the data? Loops, tears and trees."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latent_atlas.metrics import homology
from latent_atlas.metrics.homology import persistence
from latent_atlas.metrics.intervals import Rows, bootstrap, refitted
from latent_atlas.metrics.result import Measured, NotApplicable

NEIGHBOURS = 6  # of an item among the angles of a torus


def loops(codes: Tensor, limit: int = 400, refits: int = 0) -> Measured:
    """How many holes of dimension 1 the codes run around, by the rule of ``homology.loops``, which also looks at the data.

    A circle has one, a torus two, a figure of eight two; blobs, discs and spheres none. The parts give the longest lifetimes in
    units of the cloud's radius, and ``ratio``, the longest over the second. The value is the count of the items as they are, a
    whole number; each refit but this first one counts on items drawn anew with replacement.

    Args:
        codes: (N, d).
        limit: points that stand for all.
        refits: counts; from 2 on they have an interval, ± Student's t times their standard deviation.

    Raises:
        NotApplicable: fewer than 20 distinct codes.
    """
    found = persistence(codes, limit)
    first, second = (float(found.lifetimes[k]) if len(found.lifetimes) > k else 0.0 for k in (0, 1))
    parts = {
        "lifetimes": [round(float(life), 4) for life in found.lifetimes[:4]],
        "ratio": first / second if second > 0 else None,
    }
    value, n = homology.loops(found), len(codes)
    counts = [value]
    for seed in range(1, refits):
        rows = torch.from_numpy(np.random.default_rng(seed).integers(0, n, n))
        with contextlib.suppress(NotApplicable):  # too few distinct items in this draw
            counts.append(homology.loops(persistence(codes[rows], limit, seed=seed)))
    mean, spread = refitted(counts)
    interval = (value + spread[0] - mean, value + spread[1] - mean) if spread else None
    return Measured(float(value), interval, provenance={"n": sum(found.sizes)}, parts=parts | {"refits": counts})


def tear(
    codes: Tensor, factors: Tensor, factor_names: Sequence[str], factor_sizes: Sequence[int], space: Any, prefix: str = "angle"
) -> Measured:
    """Does the code tear a circle open? The greatest speed of the code over angles, by the median speed.

    A speed is the space's own distance between the codes of two neighbouring items over the difference of their angles: neighbours
    around the circle for one factor, the 6 nearest on the flat torus for several. A space of the data's shape can hold it at about
    equal speed: 1 is best. Where a line must hold a circle, some pair of neighbours lies at its two ends, and the value is near
    the number of items.

    Args:
        codes: (N, d) coordinates.
        factors: (N, K).
        factor_names: K names, all of which begin with ``prefix``.
        factor_sizes: K numbers of steps in a full turn; 0 for radians.
        space: with ``from_coordinates`` and ``distance``.
        prefix: what tells a factor whose last value is the neighbour of its first.

    Raises:
        NotApplicable: a factor that is no angle, or fewer than 10 different angles.
    """
    if not factor_names or not all(name.startswith(prefix) for name in factor_names):
        raise NotApplicable(f"needs factors that are angles and no others: their names begin with {prefix!r}")
    turn = torch.tensor([2 * math.pi / size if size else 1.0 for size in factor_sizes], dtype=torch.float64)
    angles = torch.remainder(factors.double() * turn, 2 * math.pi)
    if len(torch.unique(angles, dim=0)) < 10:
        raise NotApplicable("there are fewer than 10 different angles")
    a, b = around(angles[:, 0]) if angles.shape[1] == 1 else nearest(angles)
    apart = torch.linalg.vector_norm(torch.remainder(angles[a] - angles[b] + math.pi, 2 * math.pi) - math.pi, dim=1)
    a, b, apart = a[apart > 0], b[apart > 0], apart[apart > 0]
    z = space.from_coordinates(codes.float())
    speeds = space.distance(z[a], z[b]).double() / apart
    median = float(speeds.median()) if len(speeds) else 0.0
    if median <= 0:
        raise NotApplicable("neighbouring items have the same code")
    worst = int(speeds.argmax())
    parts = {"at": [round(float(angle), 4) for angle in angles[a[worst]]], "median_speed": median}
    parts |= {"no_interval": "none: a greatest value is that of one pair, which a resample has or has not"}
    laid_out = torch.linalg.vector_norm(angles[a] - angles[b], dim=1) / apart  # 1, but for pairs across the cut
    floor = float(laid_out.max() / laid_out.median())
    return Measured(float(speeds[worst]) / median, None, floor, 1.0, {"n": len(codes), "pairs": len(a)}, parts)


def around(angles: Tensor) -> tuple[Tensor, Tensor]:
    """Pairs of neighbours around the circle, the last and the first among them."""
    order = torch.argsort(angles, stable=True)
    return order, order.roll(-1)


def nearest(angles: Tensor) -> tuple[Tensor, Tensor]:
    """Each item (N, K) with its nearest others on the flat torus."""
    lifted = torch.cat((angles.cos(), angles.sin()), 1)  # the chord grows with the arc
    near = torch.cdist(lifted, lifted).topk(min(NEIGHBOURS + 1, len(angles)), largest=False).indices[:, 1:]
    return torch.arange(len(angles)).repeat_interleave(near.shape[1]), near.reshape(-1)


def tree_correlation(
    codes: Tensor, factors: Tensor, factor_names: Sequence[str], space: Any, limit: int = 500, resamples: int = 0
) -> Measured:
    """Spearman's correlation of the space's distance between codes with the number of edges between their nodes in a binary tree.

    Args:
        codes: (N, d) coordinates.
        factors: (N, K), of which ``node`` numbers the nodes as in a heap from 0.
        factor_names: K names.
        space: with ``from_coordinates`` and ``distance``.
        limit: the most items, all pairs of which count.
        resamples: of items, for the interval; pairs of an item with itself do not count.

    Raises:
        NotApplicable: no factor ``node``, or fewer than 3 items.
    """
    from scipy.stats import spearmanr

    if "node" not in factor_names or len(codes) < 3:
        raise NotApplicable("needs 3 items with a factor named node")
    node = factors[:limit, list(factor_names).index("node")].long().numpy() + 1  # from 1 on, half of a number is its parent
    first, second = np.triu_indices(len(node), 1)
    z = space.from_coordinates(codes[:limit].float())
    distance = space.distance(z[first], z[second]).double().numpy()
    between = edges(node[first], node[second])
    found = float(spearmanr(distance, between).statistic)
    if not math.isfinite(found):
        raise NotApplicable("all codes, or all nodes, are equally far from each other")
    place = np.zeros((len(node), len(node)), np.int64)
    place[first, second] = place[second, first] = np.arange(len(first))

    def value(rows: Rows) -> float:
        a, b = rows[first], rows[second]
        pairs = place[a, b][a != b]
        return float(spearmanr(distance[pairs], between[pairs]).statistic)

    interval = bootstrap(found, value, len(node), resamples)
    return Measured(found, interval, floor=0.0, ceiling=1.0, provenance={"n": len(node)})


def edges(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The number of edges between nodes of a binary heap that counts from 1."""
    a, b, steps = a.copy(), b.copy(), np.zeros(len(a), np.int64)
    while (a != b).any():
        steps += a != b
        lower = a > b
        a, b = np.where(lower, a // 2, a), np.where(~lower & (a != b), b // 2, b)
    return steps
