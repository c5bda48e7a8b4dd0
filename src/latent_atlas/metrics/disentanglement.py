"""Does one dimension carry one factor? The mutual information gap (Chen et al. 2018, arXiv:1802.04942)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from latent_atlas.metrics.result import Measured, NotApplicable

Codes = NDArray[np.int64]


@dataclass(frozen=True)
class Information:
    """Mutual information (d, K) of dimensions and factors, and the entropy (K,) of the factors, in nats."""

    mutual: NDArray[np.float64]
    entropy: NDArray[np.float64]


Estimator = Callable[[NDArray[Any], NDArray[Any], int], Information]


def mig(
    codes: ArrayLike,
    factors: ArrayLike,
    factor_names: Sequence[str] | None = None,
    bins: int | None = None,
    estimator: str = "quantile_miller_madow",
) -> Measured:
    """Mean over factors of (I₁ − I₂) / H(v), I₁ and I₂ being the two largest mutual informations of a dimension with v.

    ``quantile_miller_madow`` (default): dimensions, and factors of more than ``bins`` values, are cut into bins of equal mass, and
    every entropy carries Miller & Madow's correction; so one outlier moves nothing and independent pairs are near 0.
    ``histogram20`` is disentanglement_lib's: 20 equal-width bins, uncorrected. Constant factors are left out and named.
    The floor is measured on shuffled items, the ceiling on the factors themselves as codes.

    Args:
        codes: (N, d).
        factors: (N, K).
        factor_names: K names.
        bins: of a dimension, and the most values of a factor that is taken as it is; by default one for 100 items, 10 to 50.
        estimator: a key of ``ESTIMATORS``.

    Raises:
        NotApplicable: fewer than two dimensions, or no factor that varies.
    """
    z, v = np.asarray(codes), np.asarray(factors)
    if z.shape[1] < 2:
        raise NotApplicable("a gap between dimensions needs at least two")
    names = list(factor_names or [f"factor {k}" for k in range(v.shape[1])])
    varying = [k for k in range(v.shape[1]) if len(np.unique(v[:, k])) > 1]
    if not varying:
        raise NotApplicable("every factor is constant on these items")
    bins = bins or (20 if estimator == "histogram20" else min(50, max(10, len(z) // 100)))
    v, estimate = v[:, varying], ESTIMATORS[estimator]
    normalised, gaps = information_gaps(estimate(z, v, bins))
    shuffled = np.random.default_rng(0).permutation(v)
    kept = [names[k] for k in varying]
    return Measured(
        float(gaps.mean()),
        floor=float(information_gaps(estimate(z, shuffled, bins))[1].mean()),
        ceiling=best_information(v, estimate, bins),
        provenance={"n": len(z), "bins": bins, "estimator": estimator, "codes": "mode"},
        parts={
            "gap": dict(zip(kept, gaps.tolist(), strict=True)),
            "information": dict(zip(kept, normalised.max(0).tolist(), strict=True)),
            "dimension": dict(zip(kept, normalised.argmax(0).tolist(), strict=True)),
            "constant": [name for name in names if name not in kept],
            "binned": [name for name, column in zip(kept, v.T, strict=True) if len(np.unique(column)) > bins],
        },
    )


def information_gaps(found: Information) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mutual information in units of the factor's entropy (d, K), and the gap of the two largest per factor (K,)."""
    normalised = found.mutual / found.entropy
    ranked = np.sort(normalised, axis=0)
    return normalised, ranked[-1] - ranked[-2]


def best_information(factors: NDArray[Any], estimate: Estimator, bins: int) -> float:
    """What a code that is the factors themselves would score: bins cut through the values of a factor that has more of them."""
    rng, best = np.random.default_rng(0), []
    for column in factors.T:
        step = np.diff(np.unique(column)).min()
        code = column + 0.01 * step * rng.standard_normal(len(column))
        found = estimate(code[:, None], column[:, None], bins)
        best.append(float(found.mutual[0, 0] / found.entropy[0]))
    return float(np.mean(best))


def quantile_bins(values: NDArray[Any], bins: int) -> Codes:
    """Each value's bin of equal mass, (N,); a variable with at most ``bins`` distinct values keeps them as they are."""
    distinct, index = np.unique(values, return_inverse=True)
    if len(distinct) <= bins:
        return index.astype(np.int64)
    edges = np.unique(np.quantile(values, np.linspace(0, 1, bins + 1)[1:-1]))
    return np.searchsorted(edges, values, side="right").astype(np.int64)


def entropy(index: Codes, corrected: bool = True) -> float:
    """Plug-in entropy in nats of a discrete variable, with Miller & Madow's (occupied bins − 1) / 2N unless told otherwise."""
    counts = np.bincount(index)
    counts = counts[counts > 0]
    p = counts / len(index)
    return float(-(p * np.log(p)).sum()) + (len(counts) - 1) / (2 * len(index)) * corrected


def mutual_information(a: Codes, b: Codes, corrected: bool = True) -> float:
    """I(a; b) = H(a) + H(b) − H(a, b) in nats, at least 0."""
    joint = a * (int(b.max()) + 1) + b
    return max(0.0, entropy(a, corrected) + entropy(b, corrected) - entropy(joint, corrected))


def quantile_miller_madow(codes: NDArray[Any], factors: NDArray[Any], bins: int) -> Information:
    """Equal-mass bins and corrected entropies."""
    z = [quantile_bins(column, bins) for column in codes.T]
    v = [quantile_bins(column, bins) for column in factors.T]
    return Information(np.array([[mutual_information(a, b) for b in v] for a in z]), np.array([entropy(b) for b in v]))


def histogram20(codes: NDArray[Any], factors: NDArray[Any], bins: int) -> Information:
    """disentanglement_lib's: numpy's histogram of each dimension in its own precision, plug-in information."""
    z = [np.digitize(column, np.histogram(column, bins)[1][:-1]).astype(np.int64) for column in codes.T]
    v = [np.unique(column, return_inverse=True)[1].astype(np.int64) for column in factors.T]
    mutual = np.array([[mutual_information(a, b, False) for b in v] for a in z])
    return Information(mutual, np.array([entropy(b, False) for b in v]))


ESTIMATORS: dict[str, Estimator] = {"quantile_miller_madow": quantile_miller_madow, "histogram20": histogram20}
