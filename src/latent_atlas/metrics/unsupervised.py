"""What can be said of a code without factors: are its dimensions independent, and do other seeds find the same ones?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from latent_atlas.metrics.information import default_bins, histogram_bins, mutual_information, quantile_bins
from latent_atlas.metrics.intervals import bootstrap
from latent_atlas.metrics.result import Measured, NotApplicable

Floats = NDArray[np.float64]
ALIVE = 1e-3  # of the largest variance: what varies less is dead


def total_correlation(codes: ArrayLike, resamples: int = 0, dimensions: str = "active") -> Measured:
    """Total correlation of a Gaussian with the codes' covariance: ½ (Σ log Σ_ii − log det Σ), in nats; 0 is uncorrelated.

    Dead dimensions are left out: one exactly constant dimension makes it infinite. The determinant is taken by logarithms, since
    the product of 32 variances of 0.25 underflows what some packages test it against. ``all`` is disentanglement_lib's.
    """
    return _of_covariance(codes, gaussian_total_correlation, resamples, dimensions)


def wasserstein_correlation(codes: ArrayLike, resamples: int = 0, dimensions: str = "active", normalised: bool = True) -> Measured:
    """Squared 2-Wasserstein distance of that Gaussian from the one with the same variances and no correlation; over the total
    variance.

    2 tr Σ − 2 tr (D^½ Σ D^½)^½ with D = diag Σ (Watters et al. 2019, arXiv:1901.07017). ``normalised=False`` is not divided.
    """

    def value(covariance: Floats) -> float:
        found = gaussian_wasserstein_correlation(covariance)
        return found / float(np.trace(covariance)) if normalised else found

    return _of_covariance(codes, value, resamples, dimensions)


def dimension_information(codes: ArrayLike, bins: int | None = None, estimator: str = "quantile_miller_madow") -> Measured:
    """Mean mutual information of two dimensions, in nats; 0 is independent.

    Dead dimensions are left out: they carry no information and would make a correlated code look better. ``histogram20`` is
    disentanglement_lib's, over all dimensions.
    """
    z = np.asarray(codes)
    if estimator != "histogram20":
        z = z[:, _alive(z)]
    if z.shape[1] < 2:
        raise NotApplicable("fewer than two dimensions vary")
    bins = bins or default_bins(len(z), estimator)
    cut = histogram_bins if estimator == "histogram20" else quantile_bins
    columns = [cut(column, bins) for column in z.T]
    found = mutual_information(columns, columns, corrected=estimator != "histogram20").mutual
    d = len(found)
    value = float((found.sum() - np.trace(found)) / (d * d - d))
    return Measured(value, floor=None, ceiling=0.0, provenance={"n": len(z), "bins": bins, "estimator": estimator, "dimensions": d})


def udr(codes: Sequence[ArrayLike], kl: Sequence[ArrayLike] | None = None, threshold: float = 0.01) -> Measured:
    """Unsupervised disentanglement ranking over seeds: do runs of one model find the same dimensions (Duan et al. 2020,
    1905.12614)?

    For a pair of runs R is the matrix of absolute Spearman correlations of their informative dimensions; the score is
    1 / (d_a + d_b) · [Σ_b max_a² R / Σ_a R + Σ_a max_b² R / Σ_b R], the median over pairs. 1: every dimension of one run is one of
    the other's, up to sign and order.

    Args:
        codes: of each run, (N, d) of the same items.
        kl: of each run, (d,) nats per dimension; without it a dimension is informative where it varies.
        threshold: nats from which a dimension is informative.

    Raises:
        NotApplicable: fewer than two runs, or no informative dimension.
    """
    if len(codes) < 2:
        raise NotApplicable("needs at least two seeds of a model")
    ranked = []
    for k, one in enumerate(codes):
        z = np.asarray(one, np.float64)
        alive = _alive(z) if kl is None else _alive(z) & (np.asarray(kl[k]) >= threshold)
        if not alive.any():
            raise NotApplicable("a run has no informative dimension")
        ranked.append(_ranks(z[:, alive]))
    pairs = [_agreement(a, b) for i, a in enumerate(ranked) for b in ranked[i + 1 :]]
    rng = np.random.default_rng(0)
    chance = [_agreement(a, rng.permutation(b)) for i, a in enumerate(ranked) for b in ranked[i + 1 :]]
    provenance = {"n": len(ranked[0]), "seeds": len(ranked), "similarity": "spearman"}
    return Measured(
        float(np.median(pairs)), floor=float(np.median(chance)), ceiling=1.0, provenance=provenance, parts={"pairs": pairs}
    )


def gaussian_total_correlation(covariance: Floats) -> float:
    """Of a covariance (d, d), in nats."""
    return 0.5 * float(np.log(np.diag(covariance)).sum() - np.linalg.slogdet(covariance)[1])


def gaussian_wasserstein_correlation(covariance: Floats) -> float:
    """Of a covariance (d, d), in squared units of the codes."""
    scale = np.sqrt(np.diag(covariance))
    spectrum = np.linalg.eigvalsh(scale[:, None] * covariance * scale)
    return 2 * float(np.trace(covariance)) - 2 * float(np.sqrt(spectrum.clip(min=0)).sum())


def _of_covariance(codes: ArrayLike, value: Any, resamples: int, dimensions: str) -> Measured:
    z = np.asarray(codes)
    if dimensions != "all":
        z = z[:, _alive(z) if dimensions == "active" else np.ptp(z, axis=0) > 0]
    if z.shape[1] < 2:
        raise NotApplicable("fewer than two dimensions vary")
    found = value(np.cov(z.T))
    interval = bootstrap(found, lambda rows: value(np.cov(z[rows].T)), len(z), resamples) if len(z) > 2 else None
    rng = np.random.default_rng(0)
    independent = value(np.cov(np.stack([rng.permutation(column) for column in z.T])))
    said = {"n": len(z), "dimensions": z.shape[1], "over": dimensions, "codes": "mode"}
    return Measured(found, interval, ceiling=independent, provenance=said)


def _alive(z: NDArray[Any]) -> NDArray[np.bool_]:
    spread = z.var(axis=0, dtype=np.float64)
    return spread > ALIVE * spread.max() if spread.max() > 0 else spread > 0


def _ranks(z: Floats) -> Floats:
    """Standardised ranks of each dimension."""
    from scipy.stats import rankdata

    found = rankdata(z, axis=0)
    return (found - found.mean(0)) / found.std(0)


def _agreement(a: Floats, b: Floats) -> float:
    similar = np.abs(a.T @ b) / len(a)
    across, along = similar.sum(0), similar.sum(1)
    found = (similar.max(0) ** 2 / across).sum() + (similar.max(1) ** 2 / along).sum()
    return float(found / sum(similar.shape))
