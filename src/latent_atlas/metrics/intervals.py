"""Intervals of 95 % for what is not a mean over items: by the bootstrap, or from refits of a metric that trains something."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latent_atlas.metrics.result import Z95

Rows = NDArray[np.int64]


def bootstrap(
    value: float, statistic: Callable[[Rows], float], n: int, resamples: int, seed: int = 0
) -> tuple[float, float] | None:
    """value ± 1.96 standard deviations of the statistic over resampled items (Efron 1979, doi:10.1214/aos/1176344552).

    The interval is centred on the value and not on the resamples: repeated items look like dependence and like lost diversity, so
    plug-in information and Fréchet distances of a resample lie above the estimate that they belong to.

    Args:
        value: the estimate on all items.
        statistic: of the items whose indices (n,) it is given.
        n: items.
        resamples: draws of n items with replacement; fewer than 2 give no interval.
        seed: of the draws.
    """
    if resamples < 2 or n < 2:
        return None
    rng = np.random.default_rng(seed)
    found = np.array([statistic(rng.integers(0, n, n)) for _ in range(resamples)])
    half = Z95 * float(found.std(ddof=1))
    return (value - half, value + half) if math.isfinite(half) else None


def refitted(values: Sequence[float]) -> tuple[float, tuple[float, float] | None]:
    """The mean of refits and its interval, ± Student's t times their standard deviation; a single value has none.

    Refits on resampled items spread as one fit on other items would. Their mean rests on the same items and is no surer than one of
    them, so nothing is divided by the root of their number.
    """
    found = np.asarray(values, dtype=np.float64)
    mean = float(found.mean())
    if len(found) < 2:
        return mean, None
    from scipy.stats import t

    half = float(t.ppf(0.975, len(found) - 1) * found.std(ddof=1))
    return mean, (mean - half, mean + half)


def plain_numbers(values: NDArray[Any], names: Sequence[str]) -> dict[str, float]:
    """An array (K,) as a mapping by name, for ``Measured.parts``."""
    return {name: float(value) for name, value in zip(names, values, strict=True)}
