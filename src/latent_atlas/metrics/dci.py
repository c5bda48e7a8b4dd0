"""Disentanglement, completeness, informativeness from what trees use to predict factors (Eastwood & Williams 2018).

With importances R (d, K): D = Σ_i ρ_i (1 − H_K(R_i·)), C = Σ_k ρ_k (1 − H_d(R_·k)), entropies to the base of their number of
outcomes and ρ the share of importance. A tree's importances sum to 1 also where the factor cannot be predicted, so that a factor
that is absent from the codes pulls D and C to those of noise (three factors coded perfectly and one absent: D = 0.64 in place of
0.98). ``weighted`` therefore scales each column by its held-out skill, where that is beyond chance; ``raw`` is the original, and
what disentanglement_lib computes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from latent_atlas.metrics.boosting import Boosted, Task, boost
from latent_atlas.metrics.information import QUANTILE, Factor, default_bins, factors_of, informative
from latent_atlas.metrics.intervals import plain_numbers, refitted
from latent_atlas.metrics.result import Measured, NotApplicable, TooFewSamples

Names = Sequence[str] | None
Sizes = Sequence[int] | None
Dimensions = NDArray[np.bool_]
LEAST = 20  # items to fit trees on
_FITS: dict[str, list[Boosted]] = {}  # the three scores share their trees


def dci_disentanglement(
    codes: ArrayLike,
    factors: ArrayLike,
    codes_train: ArrayLike,
    factors_train: ArrayLike,
    factor_names: Names = None,
    factor_sizes: Sizes = None,
    refits: int = 0,
    estimator: str = "lightgbm",
    importance: str = "weighted",
    limit: int | None = None,
    workers: int = 2,
) -> Measured:
    """Is a dimension used for one factor only? 1 is yes. Trees grow on ``codes_train``, skill is that on ``codes``.

    Args:
        codes: (N, d) held-out.
        factors: (N, K) theirs.
        codes_train: (M, d).
        factors_train: (M, K).
        factor_names: K names.
        factor_sizes: K numbers of values, 0 for a quantity.
        refits: on bootstrap samples of training and held-out items, for the interval.
        estimator: lightgbm, sklearn (exact GradientBoosting) or hist.
        importance: weighted or raw, see the module.
        limit: the most items that trees grow on, and the most that they are tested on.
        workers: processes.

    Raises:
        NotApplicable: fewer than two dimensions or factors.
    """

    def value(found: Boosted, _: Dimensions) -> float:
        return disentanglement(_weighted(found, importance))

    return _measured(
        value, codes, factors, codes_train, factors_train, factor_names, factor_sizes, refits, estimator, importance, limit, workers
    )


def dci_completeness(
    codes: ArrayLike,
    factors: ArrayLike,
    codes_train: ArrayLike,
    factors_train: ArrayLike,
    factor_names: Names = None,
    factor_sizes: Sizes = None,
    refits: int = 0,
    estimator: str = "lightgbm",
    importance: str = "weighted",
    limit: int | None = None,
    workers: int = 2,
) -> Measured:
    """Is a factor read from one dimension only? 1 is yes. Arguments as of ``dci_disentanglement``.

    ``weighted`` counts dimensions that carry information on a factor, or 5 % of all importance: over all d, entropies to the base d
    call an entangled code the more complete the more dead dimensions it has.
    """

    def value(found: Boosted, informed: Dimensions) -> float:
        if importance == "raw":
            return completeness(found.importance)
        weighted = _weighted(found, importance)
        return completeness(weighted[informed | (weighted.sum(1) > 0.05 * weighted.sum())])

    return _measured(
        value, codes, factors, codes_train, factors_train, factor_names, factor_sizes, refits, estimator, importance, limit, workers
    )


def dci_informativeness(
    codes: ArrayLike,
    factors: ArrayLike,
    codes_train: ArrayLike,
    factors_train: ArrayLike,
    factor_names: Names = None,
    factor_sizes: Sizes = None,
    refits: int = 0,
    estimator: str = "lightgbm",
    over_chance: bool = True,
    limit: int | None = None,
    workers: int = 2,
) -> Measured:
    """How well trees predict the factors of held-out items: mean of (accuracy − chance) / (1 − chance), R² of quantities.

    ``over_chance=False`` is the plain accuracy, what disentanglement_lib calls informativeness. Other arguments as of
    ``dci_disentanglement``.
    """

    def value(found: Boosted, _: Dimensions) -> float:
        return float((skill(found) if over_chance else found.test).mean())

    kind = "skill" if over_chance else "accuracy"
    return _measured(
        value, codes, factors, codes_train, factors_train, factor_names, factor_sizes, refits, estimator, kind, limit, workers
    )


def disentanglement(importance: NDArray[np.float64]) -> float:
    """D of importances (d, K); 0 where nothing is predicted."""
    total = importance.sum()
    if total <= 0:
        return 0.0
    return float((1 - _entropy(importance.T)) @ importance.sum(1) / total)


def completeness(importance: NDArray[np.float64]) -> float:
    """C of importances (d, K); 0 where nothing is predicted, 1 of a single dimension."""
    total = importance.sum()
    if total <= 0:
        return 0.0
    return float((1 - _entropy(importance)) @ importance.sum(0) / total)


def skill(found: Boosted) -> NDArray[np.float64]:
    """(K,) held-out skill over chance, between 0 and 1."""
    return np.clip((found.test - found.chance) / np.maximum(1 - found.chance, 1e-9), 0, 1)


def proven(found: Boosted) -> NDArray[np.float64]:
    """(K,) skill, 0 where it is within three standard errors of none: of noise, one lucky factor would make a perfect D."""
    test, chance = np.clip(found.test, 0, 1), found.chance
    error = np.sqrt((test * (1 - test) + chance * (1 - chance)) / found.items)
    return np.where(test - chance > 3 * error, skill(found), 0.0)


class Drawn(NamedTuple):
    """A sample of the items: factors that vary and codes to fit, and held-out ones."""

    factors: Sequence[Factor]
    z_train: NDArray[np.floating]
    tests: Sequence[Factor]
    z: NDArray[np.floating]


def tasks_of(
    factors: Sequence[Factor], tests: Sequence[Factor], codes_train: NDArray[np.floating], codes: NDArray[np.floating]
) -> list[Task]:
    """What the trees of all factors that vary are to learn.

    Raises:
        TooFewSamples: a factor of which few items are known.
    """
    tasks = [Task(a.of(codes_train), a.values, b.of(codes), b.values, a.continuous) for a, b in zip(factors, tests, strict=True)]
    if min(min(len(task.y), len(task.y_test)) for task in tasks) < LEAST:
        raise TooFewSamples(f"fewer than {LEAST} items have a known value of a factor")
    return tasks


def _measured(
    value: Callable[[Boosted, Dimensions], float],
    codes: ArrayLike,
    factors: ArrayLike,
    codes_train: ArrayLike,
    factors_train: ArrayLike,
    names: Names,
    sizes: Sizes,
    refits: int,
    estimator: str,
    importance: str,
    limit: int | None,
    workers: int,
) -> Measured:
    z, z_train, v, v_train = (np.asarray(array)[:limit] for array in (codes, codes_train, factors, factors_train))
    if z.shape[1] < 2:
        raise NotApplicable("entropy over dimensions needs at least two")
    kept, constant = factors_of(v_train, names, sizes)
    if len(kept) < 2:
        raise NotApplicable("entropy over factors needs at least two that vary")
    listed = list(names or [f"factor {k}" for k in range(v.shape[1])])
    columns = [listed.index(factor.name) for factor in kept]
    tests = [_matching(v[:, k], factor) for k, factor in zip(columns, kept, strict=True)]
    samples = [Drawn(kept, z_train, tests, z)]
    for repeat in range(1, refits):
        rng = np.random.default_rng(repeat)
        rows, picks = (rng.integers(0, len(codes), len(codes)) for codes in (z_train, z))
        again, _ = factors_of(v_train[rows][:, columns], [f.name for f in kept], [0 if f.continuous else 2 for f in kept])
        if len(again) == len(kept):
            samples.append(Drawn(again, z_train[rows], [test.at(picks) for test in tests], z[picks]))
    fits = _fit_once(samples, estimator, workers)
    found = fits[0]
    informed = informative(z_train, kept, default_bins(len(z_train), QUANTILE), QUANTILE)
    values = [value(one, informed) for one in fits]
    mean, interval = refitted(values)
    names_kept = [factor.name for factor in kept]
    told = found.train
    if importance in ("weighted", "skill"):  # the same measure on both sides: beyond the commonest class, no plain accuracy
        usual = np.array([0.0 if f.continuous else np.bincount(f.values).max() / len(f.values) for f in kept])
        told = np.clip((told - usual) / np.maximum(1 - usual, 1e-9), 0, 1)
    parts = {
        "informativeness_train": float(told.mean()),
        "accuracy": plain_numbers(found.test, names_kept),
        "chance": plain_numbers(found.chance, names_kept),
        "disentanglement_raw": disentanglement(found.importance),
        "completeness_raw": completeness(found.importance),
        "importance": found.importance.tolist(),
        "constant": constant,
    }
    provenance = {"n": len(z), "n_train": len(z_train), "estimator": found.estimator, "importance": importance, "codes": "mode"}
    return Measured(mean, interval, provenance=provenance, parts=parts)


def _matching(column: NDArray[np.generic], factor: Factor) -> Factor:
    """The held-out values of a factor, of the same kind and also where they happen not to vary."""
    numbers = column.astype(np.float64)
    known = np.isfinite(numbers) if factor.continuous else np.isfinite(numbers) & (numbers >= 0)
    values = numbers[known]
    return Factor(factor.name, values if factor.continuous else values.astype(np.int64), known, factor.continuous)


def _fit_once(samples: Sequence[Drawn], estimator: str, workers: int) -> list[Boosted]:
    """The trees of every sample of the items, all in one start of the processes."""
    mark = hashlib.sha256(estimator.encode())
    for drawn in samples:
        for array in (drawn.z, drawn.z_train, *(part for f in (*drawn.tests, *drawn.factors) for part in (f.values, f.known))):
            mark.update(np.ascontiguousarray(array).tobytes())
    key = mark.hexdigest()
    if key not in _FITS:
        while len(_FITS) >= 8:
            _FITS.pop(next(iter(_FITS)))
        tasks = [task for drawn in samples for task in tasks_of(drawn.factors, drawn.tests, drawn.z_train, drawn.z)]
        whole, k = boost(tasks, estimator, workers, 0), len(samples[0].tests)
        _FITS[key] = [whole.part(slice(start, start + k)) for start in range(0, len(tasks), k)]
    return _FITS[key]


def _weighted(found: Boosted, importance: str) -> NDArray[np.float64]:
    return found.importance * proven(found) if importance == "weighted" else found.importance


def _entropy(columns: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of each column (outcomes, R), to the base of the number of outcomes; a column of zeros is as uncertain as can be."""
    p = columns + 1e-11
    p = p / p.sum(0)
    return -(p * np.log(p)).sum(0) / np.log(max(2, len(columns)))
