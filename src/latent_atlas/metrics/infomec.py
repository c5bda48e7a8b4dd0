"""InfoM, InfoE and InfoC: modularity, explicitness and compactness on one scale of information (Hsu et al. 2023, arXiv:2305.18378).

From N_jk = I(z_j; v_k) / H(v_k) over the informative dimensions: InfoM is the mean over dimensions of (max_k N / Σ_k N − 1/K) / (1
− 1/K), InfoC the mean over factors of (max_j N / Σ_j N − 1/d) / (1 − 1/d), InfoE the share of a factor's entropy that a linear
model of all dimensions takes away on held-out items.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from latent_atlas.metrics.disentanglement import QUANTILE, Dimensions, Study
from latent_atlas.metrics.information import Information
from latent_atlas.metrics.intervals import plain_numbers, refitted
from latent_atlas.metrics.result import Measured, NotApplicable
from latent_atlas.metrics.separability import Pair

Names = Sequence[str] | None
Sizes = Sequence[int] | None
Floats = NDArray[np.float64]


def infom(
    codes: ArrayLike,
    factors: ArrayLike,
    factor_names: Names = None,
    factor_sizes: Sizes = None,
    resamples: int = 0,
    bins: int | None = None,
    estimator: str = QUANTILE,
) -> Measured:
    """InfoM: how much of what a dimension says is about one factor; 0 is evenly about all, 1 about one.

    Raises:
        NotApplicable: fewer than two factors that vary.
    """
    study = _study(codes, factors, factor_names, factor_sizes, bins, estimator)
    return study.measured(lambda found, alive: _largest_share(found.normalised[alive]), resamples, 1.0, {}, over="informative")


def infoc(
    codes: ArrayLike,
    factors: ArrayLike,
    factor_names: Names = None,
    factor_sizes: Sizes = None,
    resamples: int = 0,
    bins: int | None = None,
    estimator: str = QUANTILE,
) -> Measured:
    """InfoC: how much of what is said about a factor is said by one dimension; 0 is evenly by all, 1 by one.

    Raises:
        NotApplicable: fewer than two factors that vary, or a single dimension that carries information.
    """
    study = _study(codes, factors, factor_names, factor_sizes, bins, estimator)

    def value(found: Information, alive: Dimensions) -> float:
        # One dimension alone has no others to share with.
        return _largest_share(found.normalised[alive].T) if alive.sum() > 1 else 0.0

    if study.dimensions("informative").sum() == 1:
        raise NotApplicable("a single dimension carries information: nothing to share among")
    return study.measured(value, resamples, 1.0, {}, over="informative")


def infoe(
    codes: ArrayLike,
    factors: ArrayLike,
    codes_train: ArrayLike,
    factors_train: ArrayLike,
    factor_names: Names = None,
    factor_sizes: Sizes = None,
    refits: int = 0,
) -> Measured:
    """InfoE: 1 − H(v | linear model of z) / H(v) on held-out items, cross entropies in nats; R² of quantities; mean over factors.

    Args:
        codes: (N, d) held-out.
        factors: (N, K) theirs.
        codes_train: (M, d).
        factors_train: (M, K).
        factor_names: K names.
        factor_sizes: K numbers of values, 0 for a quantity.
        refits: on bootstrap samples of training and held-out items, for the interval.
    """
    data = Pair(codes, factors, codes_train, factors_train, factor_names, factor_sizes, standardise=True)
    found = explained(data)
    values = [float(found.mean()), *(float(explained(data.resampled(repeat)).mean()) for repeat in range(1, refits))]
    mean, interval = refitted(values)
    said = {"n": len(data.test), "n_train": len(data.train), "estimator": "linear", "codes": "mode"}
    parts = {"explained": plain_numbers(found, data.names), "constant": data.constant}
    return Measured(mean, interval, floor=0.0, provenance=said, parts=parts)


def explained(data: Pair) -> Floats:
    """The share of each factor (K,) that a linear model takes away, not below 0."""
    from sklearn.linear_model import LinearRegression, LogisticRegression

    found = []
    for factor, test in zip(data.factors, data.tests, strict=True):
        x, x_test = factor.of(data.train), test.of(data.test)
        if factor.continuous:
            found.append(max(0.0, float(LinearRegression().fit(x, factor.values).score(x_test, test.values))))
            continue
        classifier = LogisticRegression(max_iter=200, tol=1e-3).fit(x, factor.values)
        seen = np.isin(test.values, classifier.classes_)
        column = np.searchsorted(classifier.classes_, test.values[seen])
        p = classifier.predict_proba(x_test[seen])[np.arange(int(seen.sum())), column]
        prior = np.bincount(np.searchsorted(classifier.classes_, factor.values)) / len(factor.values)
        left, before = -np.log(p.clip(1e-12)).mean(), -np.log(prior[column]).mean()
        found.append(max(0.0, 1 - float(left / before)))
    return np.array(found)


def _study(codes: ArrayLike, factors: ArrayLike, names: Names, sizes: Sizes, bins: int | None, estimator: str) -> Study:
    study = Study(codes, factors, names, sizes, bins, estimator, least=1)
    if len(study.factors) < 2:
        raise NotApplicable("a share among factors needs at least two that vary")
    return study


def _largest_share(rows: NDArray[Any]) -> float:
    """Mean over rows of (largest share − even share) / (1 − even share); 0 where there is nothing to share."""
    if not rows.size:
        return 0.0
    total = rows.sum(1)
    even = 1 / rows.shape[1]
    share = rows.max(1) / np.where(total > 0, total, 1.0)
    return float(np.where(total > 0, (share - even) / (1 - even), 0.0).mean())
