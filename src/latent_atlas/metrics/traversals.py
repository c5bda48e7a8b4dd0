"""Where one factor runs through its values and all else stays, is the code's path straight, and along one axis (disent's scores)?

Both are means over the paths of a grid with all combinations of factors: over every one where there are at most 2,000 of a factor.
disent draws 1,024 of each with replacement.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from latent_atlas.metrics.result import Measured, NotApplicable

Floats = NDArray[np.float64]
MOST = 2000  # paths of a factor


def flatness(grid: ArrayLike | None, factor_sizes: Sequence[int] | None) -> Measured:
    """Mean over factors of a path's width over its length: 1 is straight and along an axis (Michlo et al. 2023, disent 0.8).

    The width is the largest Euclidean distance of two of its points, the length that of all steps but the longest (the way back,
    where values run in a circle) as sums of absolute differences. ``parts`` has both in one norm, l1 or l2.

    Args:
        grid: (prod(sizes), d) codes of every combination of factors in C order.
        factor_sizes: K numbers of values.

    Raises:
        NotApplicable: no grid, or a single dimension.
    """
    width: dict[int, list[float]] = {1: [], 2: []}
    length: dict[int, list[float]] = {1: [], 2: []}
    for paths in _paths(grid, factor_sizes):
        s, apart = paths.shape[1], np.abs(paths[:, :, None] - paths[:, None])
        for p, distances in ((1, apart.sum(-1)), (2, np.sqrt((apart**2).sum(-1)))):
            steps = distances[:, np.arange(s), (np.arange(s) + 1) % s]
            width[p].append(distances.max((1, 2)).mean())
            length[p].append((s - 1) * np.sort(steps, 1)[:, :-1].mean())
    parts = {f"l{p}": float(np.divide(width[p], length[p]).mean()) for p in (1, 2)}
    parts |= {f"width_l{p}": float(np.mean(width[p])) for p in (1, 2)} | {f"length_l{p}": float(np.mean(length[p])) for p in (1, 2)}
    return Measured(float(np.divide(width[2], length[1]).mean()), ceiling=1.0, parts=parts)


def axis_ratio(grid: ArrayLike | None, factor_sizes: Sequence[int] | None) -> Measured:
    """How much of a path's variance lies along its strongest dimension, from 1 / d (0) to all (1); geometric mean over factors.

    ``parts`` has ``linear_ratio``, the same along its first principal component, their quotient ``alignment``, and ``of_means``, of
    the strongest and of all variance averaged over paths first. Arguments and raises as of ``flatness``.
    """
    found: dict[str, list[float]] = {"axis": [], "linear_ratio": [], "alignment": [], "of_means": []}
    for paths in _paths(grid, factor_sizes):
        centred = paths - paths.mean(1, keepdims=True)
        variance = (centred**2).sum(1)
        spectrum = np.linalg.eigvalsh(np.swapaxes(centred, 1, 2) @ centred).clip(min=0)
        axis, linear = _beyond_even(variance), _beyond_even(spectrum)
        aligned = np.where(linear > 0, axis / np.where(linear > 0, linear, 1.0), 0.0)
        d, total = paths.shape[2], max(float(variance.sum(1).mean()), 1e-300)
        of_means = (float(variance.max(1).mean()) / total - 1 / d) / (1 - 1 / d)
        for name, value in zip(found, (axis.mean(), linear.mean(), aligned.mean(), of_means), strict=True):
            found[name].append(float(value))
    with np.errstate(divide="ignore"):  # a factor at 0 makes the mean 0
        means = {name: float(np.exp(np.log(np.clip(values, 0, None)).mean())) for name, values in found.items()}
    return Measured(means.pop("axis"), floor=0.0, ceiling=1.0, parts=means)


def _paths(grid: ArrayLike | None, sizes: Sequence[int] | None) -> Iterator[Floats]:
    """For each factor of more than one value its paths (P, size, d)."""
    if grid is None or sizes is None:
        raise NotApplicable("needs the codes of every combination of factors (grid_mus)")
    codes = np.asarray(grid, np.float64).reshape(*sizes, -1)
    if codes.shape[-1] < 2:
        raise NotApplicable("a single dimension has no other to lie along")
    for k, size in enumerate(sizes):
        if size > 1:
            paths = np.moveaxis(codes, k, -2).reshape(-1, size, codes.shape[-1])
            yield paths if len(paths) <= MOST else paths[np.random.default_rng(k).permutation(len(paths))[:MOST]]


def _beyond_even(strengths: Floats) -> Floats:
    """The largest share of each row (P, d), 0 where all are equal, also where all are 0."""
    d, total = strengths.shape[1], strengths.sum(1)
    share = np.where(total > 0, strengths.max(1) / np.where(total > 0, total, 1.0), 1 / d)
    return (share - 1 / d) / (1 - 1 / d)
