"""Does one dimension carry one factor, and one factor one dimension? Scores of the matrix of mutual information."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from latent_atlas.metrics.information import (
    QUANTILE,
    Factor,
    Information,
    default_bins,
    factors_of,
    information,
    informative,
    labelled,
    shuffled,
)
from latent_atlas.metrics.intervals import Rows, bootstrap, plain_numbers
from latent_atlas.metrics.result import Measured, NotApplicable

Names = Sequence[str] | None
Sizes = Sequence[int] | None
Dimensions = NDArray[np.bool_]


def mig(
    codes: ArrayLike,
    factors: ArrayLike,
    factor_names: Names = None,
    factor_sizes: Sizes = None,
    resamples: int = 0,
    bins: int | None = None,
    estimator: str = QUANTILE,
) -> Measured:
    """Mutual information gap: mean over factors of (I₁ − I₂) / H(v), the two largest of a dimension (Chen et al. 2018, 1802.04942).

    ``quantile_miller_madow`` (default): dimensions, and factors of more than ``bins`` values, are cut into bins of equal mass, and
    every entropy carries Miller & Madow's correction; so one outlier moves nothing and independent pairs are near 0.
    ``histogram20`` is disentanglement_lib's: 20 equal-width bins, uncorrected. Constant factors are left out and named.
    The floor is measured on shuffled items, the ceiling on the factors themselves as codes.

    Args:
        codes: (N, d).
        factors: (N, K); unknown entries are negative or NaN.
        factor_names: K names.
        factor_sizes: K numbers of values, 0 for a quantity.
        resamples: of the bootstrap interval.
        bins: of a dimension, and the most values of a factor that is taken as it is; by default one for 100 items, 10 to 50.
        estimator: a key of ``information.ESTIMATORS``.

    Raises:
        NotApplicable: fewer than two dimensions, or no factor that varies.
    """
    study = Study(codes, factors, factor_names, factor_sizes, bins, estimator)
    found = study.information()
    gaps = _gaps(found)
    parts = {
        "gap": plain_numbers(gaps, study.names),
        "information": plain_numbers(found.normalised.max(0), study.names),
        "dimension": dict(zip(study.names, found.normalised.argmax(0).tolist(), strict=True)),
        "binned": [f.name for f in study.factors if len(np.unique(f.values)) > study.bins],
    }
    return study.measured(lambda one, _: float(_gaps(one).mean()), resamples, best_information(study), parts)


def mig_sup(
    codes: ArrayLike,
    factors: ArrayLike,
    factor_names: Names = None,
    factor_sizes: Sizes = None,
    resamples: int = 0,
    bins: int | None = None,
    estimator: str = QUANTILE,
) -> Measured:
    """The gap seen from the code: mean over informative dimensions of the two largest I(z; v) / H(v) over factors (Li et al. 2020).

    MIG misses a dimension that mixes two factors when each factor has no other dimension; this does not (arXiv:2002.10003, eq. 7).

    Raises:
        NotApplicable: fewer than two factors that vary.
    """
    study = Study(codes, factors, factor_names, factor_sizes, bins, estimator, least=1)
    if len(study.factors) < 2:
        raise NotApplicable("a gap between factors needs at least two that vary")

    def value(found: Information, alive: Dimensions) -> float:
        return float(_gaps_of_rows(found.normalised[alive]).mean()) if alive.any() else 0.0

    return study.measured(value, resamples, None, {}, over="informative")


def jemmig(
    codes: ArrayLike,
    factors: ArrayLike,
    factor_names: Names = None,
    factor_sizes: Sizes = None,
    resamples: int = 0,
    bins: int | None = None,
    estimator: str = QUANTILE,
) -> Measured:
    """Joint entropy minus mutual information gap, normalised: 1 − [H(z*, v) − I(z*; v) + I(z°; v)] / (H(v) + log bins).

    z* and z° carry most and second most about v. Unlike MIG it asks that z* carries nothing but v (Do & Tran 2020, 1908.09961).
    Dimensions that carry no more than a permutation do not stand for z*: a constant has the least joint entropy of all, and a code
    of constants would score 0.6.
    """
    study = Study(codes, factors, factor_names, factor_sizes, bins, estimator)

    def value(found: Information, alive: Dimensions) -> float:
        most = found.entropy + np.log(study.bins)
        mutual = np.where(alive[:, None], found.mutual, 0.0)
        joint = np.where(alive[:, None], found.joint, most)
        order, pick = mutual.argsort(0), np.arange(len(most))
        first, second = order[-1], order[-2]
        score = joint[first, pick] - mutual[first, pick] + mutual[second, pick]
        return float((1 - score / most).mean())

    return study.measured(value, resamples, None, {}, over="informative")


def modularity(
    codes: ArrayLike,
    factors: ArrayLike,
    factor_names: Names = None,
    factor_sizes: Sizes = None,
    resamples: int = 0,
    bins: int | None = None,
    estimator: str = QUANTILE,
    dimensions: str = "informative",
) -> Measured:
    """Does a dimension carry one factor only? Mean over dimensions of 1 − Σ_{k≠k*} I_k² / (I_{k*}² (K − 1)).

    Ridgeway & Mozer 2018 (arXiv:1802.05312). ``informative`` averages over dimensions that carry more than their permutation null;
    a perfect code with as many dead dimensions again scores 1. ``all`` counts a dead dimension as 0, and that code would score 0.5:
    so does disentanglement_lib, save where a dimension is exactly constant and it raises. There ``varying`` leaves it out.

    Raises:
        NotApplicable: fewer than two factors that vary.
    """
    study = Study(codes, factors, factor_names, factor_sizes, bins, estimator, least=1)
    if len(study.factors) < 2:
        raise NotApplicable("modularity needs at least two factors that vary")
    parts = {"all": float(_modularity(study.information().mutual).mean())}

    def value(found: Information, alive: Dimensions) -> float:
        return float(_modularity(found.mutual)[alive].mean()) if alive.any() else 0.0

    return study.measured(value, resamples, 1.0, parts, over=dimensions)


class Study:
    """Codes and the factors that vary, with the settings of an estimate; what these metrics share.

    Raises:
        NotApplicable: fewer than ``least`` dimensions, or no factor that varies.
    """

    def __init__(
        self, codes: ArrayLike, factors: ArrayLike, names: Names, sizes: Sizes, bins: int | None, estimator: str, least: int = 2
    ) -> None:
        z: NDArray[Any] = np.asarray(codes)
        if z.shape[1] < least:
            raise NotApplicable("a gap between dimensions needs at least two")
        kept, self.constant = factors_of(factors, names, sizes)
        rows = labelled(kept)
        self.codes, self.factors = z[rows], [factor.at(rows) for factor in kept]
        self.names = [factor.name for factor in self.factors]
        self.estimator, self.bins = estimator, bins or default_bins(len(self.codes), estimator)

    def information(self, factors: Sequence[Factor] | None = None) -> Information:
        """Of every pair."""
        return information(self.codes, factors or self.factors, self.bins, self.estimator)

    def dimensions(self, over: str, factors: Sequence[Factor] | None = None) -> Dimensions:
        """Which (d,) count: those that are ``informative`` of these factors, ``varying`` or ``all``."""
        if over == "informative":
            return informative(self.codes, factors or self.factors, self.bins, self.estimator)
        return np.ptp(self.codes, axis=0) > 0 if over == "varying" else np.ones(self.codes.shape[1], bool)

    def measured(
        self,
        value: Callable[[Information, Dimensions], float],
        resamples: int,
        ceiling: float | None,
        parts: dict[str, Any],
        over: str = "all",
    ) -> Measured:
        """The value with its floor on shuffled items, of which the dimensions are chosen anew, and its bootstrap interval."""
        alive, loose = self.dimensions(over), shuffled(self.factors, 0)

        def again(rows: Rows) -> float:
            drawn = [factor.at(rows) for factor in self.factors]
            return value(information(self.codes[rows], drawn, self.bins, self.estimator), alive)

        found = value(self.information(), alive)
        said = {"n": len(self.codes), "bins": self.bins, "estimator": self.estimator, "codes": "mode"}
        return Measured(
            found,
            bootstrap(found, again, len(self.codes), resamples),
            floor=value(self.information(loose), self.dimensions(over, loose)),
            ceiling=ceiling,
            provenance=said if over == "all" else said | {"averaged_over": over},
            parts=parts | {"constant": self.constant} | ({} if over == "all" else {"dimensions": int(alive.sum())}),
        )


def _gaps(found: Information) -> NDArray[np.float64]:
    ranked = np.sort(found.normalised, axis=0)
    return ranked[-1] - ranked[-2]


def _gaps_of_rows(normalised: NDArray[np.float64]) -> NDArray[np.float64]:
    ranked = np.sort(normalised, axis=1)
    return ranked[:, -1] - ranked[:, -2]


def _modularity(mutual: NDArray[np.float64]) -> NDArray[np.float64]:
    squared = np.where(mutual > 1e-12, mutual, 0.0) ** 2  # a constant dimension's is 0 but for rounding
    largest = squared.max(1)
    rest = (squared.sum(1) - largest) / np.where(largest > 0, largest, 1.0) / (mutual.shape[1] - 1)
    return np.where(largest > 0, 1 - rest, 0.0)


def best_information(study: Study) -> float:
    """What a code that is the factors themselves would score: bins cut through the values of a factor that has more of them."""
    rng, best = np.random.default_rng(0), []
    for factor in study.factors:
        column = factor.values.astype(np.float64)
        step = np.diff(np.unique(column)).min()
        code = column + 0.01 * step * rng.standard_normal(len(column))
        alone = Factor(factor.name, factor.values, np.ones(len(column), bool), factor.continuous)
        best.append(float(information(code[:, None], [alone], study.bins, study.estimator).normalised[0, 0]))
    return float(np.mean(best))
