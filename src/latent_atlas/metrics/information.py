"""Discrete mutual information between dimensions of a code and factors, and what counts as a factor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from latent_atlas.metrics.memo import Memo
from latent_atlas.metrics.outliers import varying
from latent_atlas.metrics.result import NotApplicable

Codes = NDArray[np.int64]
Floats = NDArray[np.float64]
QUANTILE = "quantile_miller_madow"


@dataclass(frozen=True)
class Factor:
    """One factor: its values on the items where it is known.

    Args:
        name: of the factor.
        values: (n,) of the known items; whole numbers unless continuous.
        known: (N,) bool; a negative class or a NaN is unknown.
        continuous: a quantity, and not one of a few classes.
    """

    name: str
    values: NDArray[Any]
    known: NDArray[np.bool_]
    continuous: bool

    def of(self, rows: NDArray[Any]) -> NDArray[Any]:
        """The known items' rows of an array (N, ...)."""
        return rows if self.known.all() else rows[self.known]

    def at(self, rows: NDArray[np.int64]) -> Factor:
        """The factor on these items (M,), which may repeat."""
        known = self.known[rows]
        return Factor(self.name, self.values[(np.cumsum(self.known) - 1)[rows[known]]], known, self.continuous)


def is_quantity(column: NDArray[Any], size: int | None = None) -> bool:
    """Whether a factor is a quantity: of size 0, or, where that is not said, not of whole numbers alone."""
    if size is not None:
        return size == 0
    return bool(np.issubdtype(column.dtype, np.floating) and (np.nan_to_num(column) % 1 != 0).any())


def known_of(column: NDArray[Any], quantity: bool) -> NDArray[np.bool_]:
    """The items (N,) whose value is known: no NaN, and no negative class."""
    return np.isfinite(column) if quantity else np.isfinite(column) & (column >= 0)


def factors_of(
    factors: ArrayLike, names: Sequence[str] | None = None, sizes: Sequence[int] | None = None
) -> tuple[list[Factor], list[str]]:
    """The factors that vary, and the names of those that do not.

    Args:
        factors: (N, K); unknown entries are negative (classes) or NaN (quantities).
        names: K names.
        sizes: K numbers of values, 0 for a quantity; ``None``: a column of whole numbers is one of classes.

    Raises:
        NotApplicable: no factor varies.
    """
    table = np.asarray(factors)
    names = list(names or [f"factor {k}" for k in range(table.shape[1])])
    kept, constant = [], []
    for k, column in enumerate(table.T):
        continuous = is_quantity(column, None if sizes is None else sizes[k])
        known = known_of(column, continuous)
        values = column[known]
        if len(values) and (values != values[0]).any():
            kept.append(Factor(names[k], values if continuous else values.astype(np.int64), known, bool(continuous)))
        else:
            constant.append(names[k])
    if not kept:
        raise NotApplicable("every factor is constant on these items")
    return kept, constant


def labelled(factors: Sequence[Factor]) -> NDArray[np.int64]:
    """The items (n,) of which some factor is known: the others set no scale and are not counted."""
    return np.flatnonzero(np.any([factor.known for factor in factors], axis=0))


@dataclass(frozen=True)
class Information:
    """Mutual information (d, K) of dimensions and factors, the joint entropy (d, K), and the entropy (K,) of the factors, in
    nats.
    """

    mutual: Floats
    joint: Floats
    entropy: Floats

    @property
    def normalised(self) -> Floats:
        """Mutual information in units of the factor's entropy, (d, K)."""
        return self.mutual / self.entropy


_KNOWN: Memo[Information] = Memo(256)  # six scores ask for the same pairs, on the same resamples
Estimator = Callable[[NDArray[Any], NDArray[Any], int], Information]


def information(codes: NDArray[Any], factors: Sequence[Factor], bins: int, estimator: str) -> Information:
    """All pairs, each on the items where the factor is known."""
    arrays = [codes, *(part for factor in factors for part in (factor.values, factor.known))]
    return _KNOWN.get(arrays, (bins, estimator), lambda: _information(codes, factors, bins, estimator))


def _information(codes: NDArray[Any], factors: Sequence[Factor], bins: int, estimator: str) -> Information:
    estimate = ESTIMATORS[estimator]
    if all(factor.known.all() for factor in factors):
        return estimate(codes, np.stack([factor.values for factor in factors], 1), bins)
    found = [estimate(factor.of(codes), factor.values[:, None], bins) for factor in factors]
    return Information(
        np.concatenate([one.mutual for one in found], 1),
        np.concatenate([one.joint for one in found], 1),
        np.concatenate([one.entropy for one in found]),
    )


def quantile_bins(values: NDArray[Any], bins: int) -> Codes:
    """Each value's bin of equal mass, (N,); a variable with at most ``bins`` distinct values keeps them as they are."""
    distinct, index = np.unique(values, return_inverse=True)
    if len(distinct) <= bins:
        return index.astype(np.int64)
    edges = np.unique(np.quantile(values, np.linspace(0, 1, bins + 1)[1:-1]))
    return np.searchsorted(edges, values, side="right").astype(np.int64)


def histogram_bins(values: NDArray[Any], bins: int) -> Codes:
    """Bins of equal width, as disentanglement_lib has them: numpy's histogram in the values' own precision."""
    return np.digitize(values, np.histogram(values, bins)[1][:-1]).astype(np.int64)


def entropies(counts: NDArray[np.int64], n: int, corrected: bool) -> Floats:
    """Entropy in nats of each row of counts (R, S), with Miller & Madow's (occupied bins − 1) / 2n if ``corrected``."""
    p = counts / n
    plug_in = -np.where(counts > 0, p * np.log(np.where(counts > 0, p, 1.0)), 0.0).sum(-1)
    return plug_in + ((counts > 0).sum(-1) - 1) / (2 * n) * corrected


def mutual_information(a: Sequence[Codes], b: Sequence[Codes], corrected: bool = True) -> Information:
    """I(aᵢ; bⱼ) = H(aᵢ) + H(bⱼ) − H(aᵢ, bⱼ) of discrete variables over the same n items, at least 0."""
    n = len(a[0])
    sizes_a, sizes_b = [int(x.max()) + 1 for x in a], [int(x.max()) + 1 for x in b]
    joint = np.empty((len(a), len(b)))
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            counts = np.bincount(x * sizes_b[j] + y, minlength=sizes_a[i] * sizes_b[j])
            joint[i, j] = entropies(counts, n, corrected)
    own_a = np.array([float(entropies(np.bincount(x), n, corrected)) for x in a])
    own_b = np.array([float(entropies(np.bincount(y), n, corrected)) for y in b])
    return Information(np.maximum(own_a[:, None] + own_b - joint, 0.0), joint, own_b)


def quantile_miller_madow(codes: NDArray[Any], factors: NDArray[Any], bins: int) -> Information:
    """Equal-mass bins and corrected entropies."""
    z = [quantile_bins(column, bins) for column in codes.T]
    return mutual_information(z, [quantile_bins(column, bins) for column in factors.T])


def histogram20(codes: NDArray[Any], factors: NDArray[Any], bins: int) -> Information:
    """disentanglement_lib's: equal-width bins, plug-in information, factors as they are."""
    z = [histogram_bins(column, bins) for column in codes.T]
    return mutual_information(z, [np.unique(column, return_inverse=True)[1].astype(np.int64) for column in factors.T], False)


ESTIMATORS: dict[str, Estimator] = {"quantile_miller_madow": quantile_miller_madow, "histogram20": histogram20}


def default_bins(n: int, estimator: str) -> int:
    """One bin for 100 items, 10 to 50; 20 for ``histogram20``."""
    return 20 if estimator == "histogram20" else min(50, max(10, n // 100))


def informative(codes: NDArray[Any], factors: Sequence[Factor], bins: int, estimator: str, seed: int = 0) -> NDArray[np.bool_]:
    """Which dimensions (d,) carry more about some factor than 5 permutations of it by 0.01 nats.

    And by three standard deviations of the information of independent variables, √(df / 2) / n with df = (bins − 1)(values − 1):
    among 200 items chance alone often beats five permutations.
    """
    found = information(codes, factors, bins, estimator).mutual
    null = np.max([information(codes, shuffled(factors, seed + k), bins, estimator).mutual for k in range(5)], axis=0)
    values = np.array([min(len(np.unique(factor.values)), bins) for factor in factors])
    items = np.array([len(factor.values) for factor in factors])
    margin = np.maximum(0.01, 3 * np.sqrt((bins - 1) * (values - 1) / 2) / items)
    return (found > null + margin).any(1) & varying(codes)


def dependent(factors: Sequence[Factor], least: float = 0.05) -> list[tuple[str, str, float]]:
    """Pairs of factors that were not varied independently: their names, and the information they share over the smaller entropy.

    A pair counts from ``least`` on where it shares more than 20 shuffles do, by six of their standard deviations.
    """
    found = []
    for k, first in enumerate(factors):
        for second in factors[k + 1 :]:
            both = np.flatnonzero(first.known & second.known)
            if not len(both):
                continue
            a, b = (_cut(factor.at(both)) for factor in (first, second))
            rng = np.random.default_rng(0)
            chance = mutual_information([a], [rng.permutation(b) for _ in range(20)], corrected=False).mutual
            plain = float(mutual_information([a], [b], corrected=False).mutual[0, 0])
            shared = float(mutual_information([a], [b]).mutual[0, 0])
            entropy = min(float(entropies(np.bincount(one), len(one), True)) for one in (a, b))
            if shared > least * entropy and plain > chance.mean() + 6 * chance.std():
                found.append((first.name, second.name, min(1.0, shared / entropy)))
    return found


def _cut(factor: Factor) -> Codes:
    """The factor's values in at most ten classes of equal mass."""
    return quantile_bins(factor.values, 10)


def shuffled(factors: Sequence[Factor], seed: int) -> list[Factor]:
    """The same factors with their values in another order: what chance would give."""
    rng = np.random.default_rng(seed)
    return [Factor(factor.name, rng.permutation(factor.values), factor.known, factor.continuous) for factor in factors]
