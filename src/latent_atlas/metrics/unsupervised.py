"""What can be said of a code without factors: are its dimensions independent, and do other seeds find the same ones?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from latent_atlas.metrics.information import histogram_bins, mutual_information, quantile_bins
from latent_atlas.metrics.intervals import Rows, bootstrap
from latent_atlas.metrics.outliers import drawn_in, varying
from latent_atlas.metrics.result import Measured, NotApplicable, TooFewSamples

Floats = NDArray[np.float64]
ALIVE = 1e-6  # of the largest variance: what varies less is dead
LEAST_NATS = 0.01  # of KL: what carries less is dead


def total_correlation(codes: ArrayLike, resamples: int = 0, dimensions: str = "active", posterior: Any = None) -> Measured:
    """Total correlation of a Gaussian with the codes' covariance: ½ (Σ log Σ_ii − log det Σ), in nats; 0 is uncorrelated.

    The determinant is taken by logarithms, since the product of 32 variances of 0.25 underflows what some packages test it against.
    ``active`` leaves dead dimensions out (one exactly constant makes it infinite), draws far outliers in and subtracts what N items
    of an uncorrelated Gaussian show, about d (d − 1) / 4N, so that it may lie below 0. ``all`` and ``varying`` are
    disentanglement_lib's, which does none of this.

    Args:
        codes: (N, d).
        resamples: of the bootstrap interval.
        dimensions: active, varying or all.
        posterior: with ``kl_per_dimension`` (d,); known, dimensions below 0.01 nats are dead; else only what does not vary.

    Raises:
        NotApplicable: fewer than two live dimensions, or one that is a linear function of others.
        TooFewSamples: no more items than dimensions.
    """
    return _of_covariance(codes, gaussian_total_correlation, resamples, dimensions, posterior, unbiased=dimensions == "active")


def wasserstein_correlation(
    codes: ArrayLike, resamples: int = 0, dimensions: str = "active", normalised: bool = True, posterior: Any = None
) -> Measured:
    """Squared 2-Wasserstein distance of that Gaussian from the one with the same variances and no correlation; over the total
    variance.

    2 tr Σ − 2 tr (D^½ Σ D^½)^½ with D = diag Σ (Watters et al. 2019, arXiv:1901.07017). ``normalised=False`` is not divided.
    Dimensions count by their variance: unlike the other scores it changes where one is rescaled. Other arguments as of
    ``total_correlation``.
    """

    def value(covariance: Floats) -> float:
        found = gaussian_wasserstein_correlation(covariance)
        return found / float(np.trace(covariance)) if normalised else found

    return _of_covariance(codes, value, resamples, dimensions, posterior)


def dimension_information(
    codes: ArrayLike,
    resamples: int = 0,
    bins: int | None = None,
    estimator: str = "quantile_miller_madow",
    posterior: Any = None,
) -> Measured:
    """Mean mutual information of two dimensions, in nats; 0 is independent, by the corrected estimate give or take.

    Dead dimensions are left out: they carry no information and would make a correlated code look better. Where no ``posterior``
    tells, dead is a variance below 1e-6 of the widest dimension's. Bins so many that five items fall to each pair of them, 4 to 50:
    with 10 bins each, 200 items show 0.06 nats that are not there. ``histogram20`` is disentanglement_lib's, over all dimensions.
    """
    z = np.asarray(codes)
    if estimator != "histogram20":
        alive = _carrying(z, posterior)
        z = z[:, _alive(z) if alive is None else alive]
    if z.shape[1] < 2:
        raise NotApplicable("fewer than two dimensions vary")
    bins = bins or (20 if estimator == "histogram20" else min(50, max(4, round((len(z) / 5) ** 0.5))))
    cut = histogram_bins if estimator == "histogram20" else quantile_bins
    d = z.shape[1]

    def value(rows: Rows) -> float:
        columns = [cut(column, bins) for column in z[rows].T]
        corrected = estimator != "histogram20"
        pairs = mutual_information(columns, columns, corrected)
        # Cut off at 0, the estimates of independent pairs would not cancel.
        found = pairs.entropy[:, None] + pairs.entropy - pairs.joint if corrected else pairs.mutual
        return float((found.sum() - np.trace(found)) / (d * d - d))

    found = value(np.arange(len(z)))
    interval = bootstrap(found, value, len(z), resamples)
    said = {"n": len(z), "bins": bins, "estimator": estimator, "dimensions": d}
    return Measured(found, interval, ceiling=0.0, provenance=said)


def udr(codes: Sequence[ArrayLike], kl: Sequence[ArrayLike] | None = None, threshold: float = LEAST_NATS) -> Measured:
    """Unsupervised disentanglement ranking over seeds: do runs of one model find the same dimensions (Duan et al. 2020,
    1905.12614)?

    For a pair of runs R is the matrix of absolute Spearman correlations of their informative dimensions; the score is
    1 / (d_a + d_b) · [Σ_b max_a² R / Σ_a R + Σ_a max_b² R / Σ_b R], the median over pairs. 1: every dimension of one run is one of
    the other's, up to sign and order. ``parts.runs`` is each run's median over its own pairs, by which the paper ranks runs.

    The interval says what other seeds would change: pairs share runs and are not independent, so runs are left out in turn, value ±
    Student's t times the jackknife's standard error (Efron & Stein 1981, doi:10.1214/aos/1176345462). One pair has none.

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
    pairs = {(i, j): _agreement(ranked[i], ranked[j]) for i, j in combinations(range(len(ranked)), 2)}
    rng = np.random.default_rng(0)
    chance = [_agreement(ranked[i], rng.permutation(ranked[j])) for i, j in pairs]
    provenance = {"n": len(ranked[0]), "seeds": len(ranked), "similarity": "spearman"}
    own = [float(np.median([value for pair, value in pairs.items() if k in pair])) for k in range(len(ranked))]
    parts = {"pairs": list(pairs.values()), "runs": own}
    found, floor = float(np.median(parts["pairs"])), float(np.median(chance))
    return Measured(found, _over_runs(found, pairs, len(ranked)), floor=floor, ceiling=1.0, provenance=provenance, parts=parts)


def _over_runs(value: float, pairs: Mapping[tuple[int, int], float], runs: int) -> tuple[float, float] | None:
    """value ± Student's t times the standard error of the delete-one jackknife over runs."""
    if runs < 3:
        return None
    from scipy.stats import t

    without = np.array([np.median([value for pair, value in pairs.items() if k not in pair]) for k in range(runs)])
    half = float(t.ppf(0.975, runs - 1) * np.sqrt((runs - 1) / runs * ((without - without.mean()) ** 2).sum()))
    return value - half, value + half


def gaussian_total_correlation(covariance: Floats) -> float:
    """Of a covariance (d, d), in nats; not finite where it is singular."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return 0.5 * float(np.log(np.diag(covariance)).sum() - np.linalg.slogdet(covariance)[1])


def gaussian_wasserstein_correlation(covariance: Floats) -> float:
    """Of a covariance (d, d), in squared units of the codes."""
    scale = np.sqrt(np.diag(covariance))
    spectrum = np.linalg.eigvalsh(scale[:, None] * covariance * scale)
    return 2 * float(np.trace(covariance)) - 2 * float(np.sqrt(spectrum.clip(min=0)).sum())


def chance_correlation(n: int, d: int) -> float:
    """The expected Gaussian total correlation of n items of an uncorrelated Gaussian in d dimensions, in nats.

    ½ [d ψ(m / 2) − Σ_i ψ((m − i) / 2)], i from 0 to d − 1, m = n − 1: the mean of a Wishart determinant's logarithm. It is the same
    whatever the covariance.
    """
    from scipy.special import digamma

    m = n - 1
    return 0.5 * float(d * digamma(m / 2) - digamma((m - np.arange(d)) / 2).sum())


def _of_covariance(
    codes: ArrayLike,
    statistic: Callable[[Floats], float],
    resamples: int,
    dimensions: str,
    posterior: Any,
    unbiased: bool = False,
) -> Measured:
    z = np.asarray(codes)
    if dimensions == "active":
        alive = _carrying(z, posterior)
        z = drawn_in(z[:, varying(z) if alive is None else alive])[0]
    elif dimensions == "varying":
        z = z[:, np.ptp(z, axis=0) > 0]
    n, d = z.shape
    if d < 2:
        raise NotApplicable("fewer than two dimensions vary")
    if n <= d:
        raise TooFewSamples(f"the covariance of {d} dimensions needs more than {n} items")
    bias = chance_correlation(n, d) if unbiased else 0.0

    def value(rows: NDArray[Any]) -> float:
        return statistic(np.cov(rows.T)) - bias

    found = value(z)
    if not np.isfinite(found):
        raise NotApplicable("it is infinite: a dimension is constant or a linear function of others")
    interval = bootstrap(found, lambda rows: value(z[rows]), n, resamples)
    rng = np.random.default_rng(0)
    independent = value(np.stack([rng.permutation(column) for column in z.T], 1))
    said = {"n": n, "dimensions": d, "over": dimensions, "codes": "mode"}
    return Measured(found, interval, ceiling=independent, provenance=said)


def _carrying(z: NDArray[Any], posterior: Any) -> NDArray[np.bool_] | None:
    """Dimensions (d,) of at least 0.01 nats that vary, where that is known."""
    kl = getattr(posterior, "kl_per_dimension", None)
    if kl is None or len(kl) != z.shape[1]:
        return None
    return (np.asarray(kl) >= LEAST_NATS) & varying(z)


def _alive(z: NDArray[Any]) -> NDArray[np.bool_]:
    spread = drawn_in(z)[0].var(axis=0, dtype=np.float64)
    return varying(z) & (spread > ALIVE * spread.max())


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
