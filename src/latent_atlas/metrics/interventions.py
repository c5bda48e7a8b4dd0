"""Scores that hold a factor fixed, or change it alone: BetaVAE score, FactorVAE score, interventional robustness (IRS).

Their batches are drawn from items that are encoded already: from a grid with every factor combination, or, where the data is a
sample, from the items that share a value of the fixed factor. disentanglement_lib encodes 2.9 million images for the same three
numbers.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

from latent_atlas.metrics.information import (
    QUANTILE,
    Factor,
    default_bins,
    dependent,
    factors_of,
    histogram_bins,
    informative,
    labelled,
    shuffled,
)
from latent_atlas.metrics.intervals import bootstrap, refitted
from latent_atlas.metrics.outliers import drawn_in, varying
from latent_atlas.metrics.result import Measured, NotApplicable, TooFewSamples

Names = Sequence[str] | None
Sizes = Sequence[int] | None
Rows = NDArray[np.int64]
BATCH = 64
TRAIN, EVALUATION = 10_000, 5_000  # votes; disentanglement_lib's study


class Grid:
    """Codes (prod(sizes), d) of every factor combination, in C order."""

    def __init__(self, codes: NDArray[Any], sizes: Sequence[int]) -> None:
        if len(codes) != int(np.prod(sizes)):
            raise ValueError(f"the grid has {len(codes)} rows, {int(np.prod(sizes))} combinations of {tuple(sizes)}")
        self.codes, self.sizes = codes, np.asarray(sizes)
        self.strides = np.array([int(np.prod(sizes[k + 1 :])) for k in range(len(sizes))])
        self.factors = len(sizes)

    def known(self, most: int = 10_000) -> tuple[NDArray[Any], list[Factor]]:
        """Codes (n, d) of up to ``most`` rows, and their factors."""
        rows = np.random.default_rng(0).permutation(len(self.codes))[:most]
        values = np.unravel_index(rows, tuple(self.sizes))
        return self.codes[rows], [Factor(str(k), value, np.ones(len(rows), bool), False) for k, value in enumerate(values)]

    def fixed(self, rng: Generator, chosen: Rows, size: int) -> Rows:
        """Rows (P, size): within a point all share one value of the factor ``chosen`` (P,), everything else is drawn freely."""
        rows = np.zeros((len(chosen), size), np.int64)
        for k in range(self.factors):
            value = rng.integers(0, self.sizes[k], (len(chosen), size))
            same = chosen == k
            value[same] = value[same, :1]
            rows += value * self.strides[k]
        return rows

    def pairs(self, rng: Generator, chosen: Rows, size: int) -> tuple[Rows, Rows]:
        """Rows (P, size) twice: pair by pair they share the factor ``chosen`` (P,)."""
        first, second = np.zeros((2, len(chosen), size), np.int64)
        for k in range(self.factors):
            a, b = rng.integers(0, self.sizes[k], (2, len(chosen), size))
            same = chosen == k
            b[same] = a[same]
            first += a * self.strides[k]
            second += b * self.strides[k]
        return first, second


class Sample:
    """Codes (N, d) of items with factors that vary; items with an unknown value of a factor never stand for it."""

    def __init__(self, codes: NDArray[Any], factors: Sequence[Factor], bins: int = 20) -> None:
        self.codes, self.factors, self.varying = codes, len(factors), factors
        self.groups = []
        for factor in factors:
            values = histogram_bins(factor.values, bins) if factor.continuous else factor.values
            rows = np.flatnonzero(factor.known)
            order = np.argsort(values, kind="stable")
            _, starts, counts = np.unique(values[order], return_index=True, return_counts=True)
            # A batch of one repeated item would have no variance at all.
            self.groups.append((rows[order], starts[counts > 1], counts[counts > 1]))
            if not (counts > 1).any():
                raise TooFewSamples(f"no two items share a value of {factor.name}")

    def known(self) -> tuple[NDArray[Any], list[Factor]]:
        """All codes and their factors."""
        return self.codes, list(self.varying)

    def fixed(self, rng: Generator, chosen: Rows, size: int) -> Rows:
        """As ``Grid.fixed``, from the items at hand."""
        return self._drawn(rng, chosen, size, together=True)[0]

    def pairs(self, rng: Generator, chosen: Rows, size: int) -> tuple[Rows, Rows]:
        """As ``Grid.pairs``, from the items at hand."""
        return self._drawn(rng, chosen, size, together=False)

    def _drawn(self, rng: Generator, chosen: Rows, size: int, together: bool) -> tuple[Rows, Rows]:
        first, second = np.empty((2, len(chosen), size), np.int64)
        for k, (rows, starts, counts) in enumerate(self.groups):
            points = np.flatnonzero(chosen == k)
            # A group is as likely as its items are many: the value that a randomly drawn item has.
            group = rng.choice(len(counts), (len(points), 1 if together else size), p=counts / counts.sum())
            spread = np.broadcast_to(counts[group], (len(points), size))
            at = [rows[starts[group] + (rng.random((len(points), size)) * spread).astype(np.int64)] for _ in range(2)]
            first[points], second[points] = at
        return first, second


@dataclass(frozen=True)
class Setting:
    """What the items are drawn from, and how many votes are cast."""

    source: Grid | Sample
    train: int
    evaluation: int

    def by_chance(self) -> Setting:
        """The same with the codes dealt anew: among few items a fixed factor leaves its mark on noise."""
        other = copy.copy(self.source)
        other.codes = np.random.default_rng(0).permutation(self.source.codes)
        return Setting(other, self.train, self.evaluation)

    def resampled(self, seed: int) -> Setting:
        """The same from items drawn with replacement; a grid is all that there is and stays."""
        if isinstance(self.source, Grid):
            return self
        rows = np.random.default_rng(seed).integers(0, len(self.source.codes), len(self.source.codes))
        factors = [factor.at(rows) for factor in self.source.varying]
        return Setting(Sample(self.source.codes[rows], factors), self.train, self.evaluation)


def beta_vae_score(
    codes: ArrayLike,
    factors: ArrayLike,
    factor_names: Names = None,
    factor_sizes: Sizes = None,
    refits: int = 0,
    seed: int = 0,
    grid: ArrayLike | None = None,
    train: int = TRAIN,
    evaluation: int = EVALUATION,
    standardise: bool = True,
) -> Measured:
    """Accuracy of a linear classifier that is told mean |z − z'| of 64 pairs and says which factor they share (Higgins et al.
    2017).

    Near 1 for almost any code (a random encoder's stands beside it), so it is read only beside the FactorVAE score.

    Args:
        codes: (N, d).
        factors: (N, K).
        factor_names: K names.
        factor_sizes: K numbers of values, 0 for a quantity.
        refits: draws of all votes, each but the first from items drawn with replacement, for the interval.
        seed: of the draws.
        grid: (prod(factor_sizes), d) codes of every combination, in place of codes and factors.
        train: votes that the classifier is fitted to.
        evaluation: votes that it is scored on.
        standardise: codes, with far outliers drawn in; the classifier's penalty sees their scale. ``False``: as published.
    """
    setting, names = _setting(codes, factors, factor_names, factor_sizes, grid, train, evaluation, standardise)
    if standardise:
        z = setting.source.codes
        spread = z.std(axis=0, dtype=np.float64)
        setting.source.codes = (z / np.where(varying(z), spread, 1.0)).astype(z.dtype)
    found = [beta_vae(setting.resampled(k) if k else setting, seed + k) for k in range(max(1, refits))]
    mean, interval = refitted([one for _, one in found])
    parts = {"train": found[0][0], "constant": names}
    said = _said(setting, grid) | {"standardise": standardise}
    floor = beta_vae(setting.by_chance(), seed)[1] if standardise else 1 / setting.source.factors
    return Measured(mean, interval, floor=floor, ceiling=1.0, provenance=said, parts=parts)


def beta_vae(setting: Setting, seed: int) -> tuple[float, float]:
    """Accuracy on the votes of the fit and on others."""
    from sklearn.linear_model import LogisticRegression

    rng, z = np.random.default_rng(seed), setting.source.codes
    chosen = rng.integers(0, setting.source.factors, setting.train + setting.evaluation)
    difference = np.empty((len(chosen), z.shape[1]), np.float32)
    for start in range(0, len(chosen), 1000):
        part = slice(start, start + 1000)
        a, b = setting.source.pairs(rng, chosen[part], BATCH)
        difference[part] = np.abs(z[a] - z[b]).mean(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it stops at 100 steps, as published
        classifier = LogisticRegression(random_state=seed).fit(difference[: setting.train], chosen[: setting.train])
    right = classifier.predict(difference) == chosen
    return float(right[: setting.train].mean()), float(right[setting.train :].mean())


def factor_vae_score(
    codes: ArrayLike,
    factors: ArrayLike,
    factor_names: Names = None,
    factor_sizes: Sizes = None,
    refits: int = 0,
    seed: int = 0,
    grid: ArrayLike | None = None,
    train: int = TRAIN,
    evaluation: int = EVALUATION,
    threshold: float = 0.05,
    relative: bool = True,
) -> Measured:
    """Accuracy of a majority vote that is told which dimension varies least while a factor is fixed (Kim & Mnih 2018, 1802.05983).

    Variances are relative to those over all items. Only dimensions that carry more about a factor than its permutation take part
    (all that vary, where none does): kept, a constant dimension varies least of all and wins every vote (a perfect code of 5
    factors then scores 0.19). Without a dimension that varies the score is 0. Far outliers are drawn in. ``relative=False``, as
    published: a dimension takes part whose standard deviation is at least ``threshold`` in the codes' own units; with 0, as in
    disent, each does, and one that is exactly constant (0 / 0) wins every vote. Arguments as of ``beta_vae_score``.
    """
    setting, names = _setting(codes, factors, factor_names, factor_sizes, grid, train, evaluation, relative)
    found = [factor_vae(setting.resampled(k) if k else setting, seed + k, threshold, relative) for k in range(max(1, refits))]
    mean, interval = refitted([one[1] for one in found])
    parts = {"train": found[0][0], "active": found[0][2], "constant": names}
    said = _said(setting, grid) | ({"averaged_over": "informative"} if relative else {"threshold": threshold})
    floor = factor_vae(setting.by_chance(), seed, threshold, relative)[1] if relative else 1 / setting.source.factors
    return Measured(mean, interval, floor=floor, ceiling=1.0, provenance=said, parts=parts)


def factor_vae(setting: Setting, seed: int, threshold: float, relative: bool = False) -> tuple[float, float, int]:
    """Accuracy on the votes that decide and on others, and the number of live dimensions."""
    rng, z = np.random.default_rng(seed), setting.source.codes
    spread = z.var(axis=0, ddof=1, dtype=np.float64)
    alive = _live(setting.source) if relative else np.sqrt(spread) >= threshold
    if not alive.any():
        return 0.0, 0.0, 0
    live, spread = np.ascontiguousarray(z[:, alive]), spread[alive]
    chosen = rng.integers(0, setting.source.factors, setting.train + setting.evaluation)
    least = np.empty(len(chosen), np.int64)
    for start in range(0, len(chosen), 1000):
        part = slice(start, start + 1000)
        batch = live[setting.source.fixed(rng, chosen[part], BATCH)]
        with np.errstate(invalid="ignore"):
            least[part] = (batch.var(axis=1, ddof=1) / spread).argmin(1)
    votes = np.zeros((2, len(spread), setting.source.factors), np.int64)
    half = (np.arange(len(chosen)) >= setting.train).astype(np.int64)
    np.add.at(votes, (half, least, chosen), 1)
    rule, dimensions = votes[0].argmax(1), np.arange(len(spread))
    return (
        float(votes[0, dimensions, rule].sum() / votes[0].sum()),
        float(votes[1, dimensions, rule].sum() / votes[1].sum()),
        int(alive.sum()),
    )


def _live(source: Grid | Sample) -> NDArray[np.bool_]:
    """Which dimensions (d,) carry information, or all that vary."""
    z, factors = source.known()
    alive = informative(z, factors, default_bins(len(z), QUANTILE), QUANTILE)
    return alive if alive.any() else varying(source.codes)


def irs(
    codes: ArrayLike,
    factors: ArrayLike,
    factor_names: Names = None,
    factor_sizes: Sizes = None,
    resamples: int = 0,
    quantile: float = 0.99,
    bins: int = 20,
    normaliser: str = "quantile",
) -> Measured:
    """Interventional robustness: how little a dimension moves while its factor is fixed and the others change (Suter et al. 2019).

    1 − (mean over values of the ``quantile`` of |z − E[z | v]|) / (the same of |z − E z|), the best factor of each informative
    dimension, their mean (arXiv:1811.00007, with the quantile that disentanglement_lib takes in place of a maximum); far outliers
    are drawn in. ``max``: as published, over the largest deviation, which grows with N, so that noise scores above 0; weighted by
    it, so that the score depends on the dimensions' scales; over all that vary. Factors of more than ``bins`` values are cut into
    bins of equal width. It assumes that factors were varied independently; ``parts.warning`` names those that were not.
    """
    kept, constant = factors_of(factors, factor_names, factor_sizes)
    rows = labelled(kept)
    z, kept = np.asarray(codes)[rows], [factor.at(rows) for factor in kept]
    said = {"n": len(z), "quantile": quantile, "normaliser": normaliser, "bins": bins, "codes": "mode"}
    if normaliser == "quantile":
        z = drawn_in(z)[0]
        alive = informative(z, kept, default_bins(len(z), QUANTILE), QUANTILE)
    else:
        alive = z.var(axis=0) > 0
    parts: dict[str, Any] = {"dimensions": int(alive.sum()), "constant": constant}
    if tied := dependent(kept):
        together = ", ".join(f"{a} with {b} (they share {100 * share:.0f} %)" for a, b, share in tied)
        parts["warning"] = f"not varied independently: {together}; holding the one fixed holds the other too, and raises the score"
    if not alive.any():
        return Measured(0.0, floor=0.0, ceiling=1.0, provenance=said, parts=parts)
    live = z[:, alive]

    def value(rows: Rows) -> float:
        return interventional_robustness(live[rows], [factor.at(rows) for factor in kept], quantile, bins, normaliser)

    found = interventional_robustness(live, kept, quantile, bins, normaliser)
    chance = interventional_robustness(live, shuffled(kept, 0), quantile, bins, normaliser)
    return Measured(found, bootstrap(found, value, len(z), resamples), chance, 1.0, said, parts)


def interventional_robustness(
    z: NDArray[Any], factors: Sequence[Factor], quantile: float, bins: int, normaliser: str = "max"
) -> float:
    """IRS of codes (N, d) without constant dimensions."""
    moved, reach = np.empty((2, z.shape[1], len(factors)))
    for k, factor in enumerate(factors):
        values = histogram_bins(factor.values, bins)
        order = np.argsort(values, kind="stable")
        rows, starts = factor.of(z)[order].astype(np.float64), np.flatnonzero(np.diff(values[order], prepend=values.min() - 1))
        moved[:, k] = _deviations(rows, starts, quantile).mean(0)
        reach[:, k] = _deviations(rows, np.zeros(1, np.int64), quantile)[0]
    if normaliser == "max":
        largest = np.abs(z - z.mean(0)).max(0)
        return float(np.average((1 - moved / largest[:, None]).max(1), weights=largest))
    scores = 1 - moved / np.where(reach > 0, reach, 1.0)
    return float(np.where(reach > 0, scores, 0.0).max(1).clip(min=0).mean())


def _deviations(rows: NDArray[np.float64], starts: Rows, quantile: float) -> NDArray[np.float64]:
    """The quantile of |z − mean| in each group, (G, d): of rows (n, d) that lie group by group, beginning at ``starts`` (G,)."""
    sizes = np.diff(starts, append=len(rows))
    means = np.add.reduceat(rows, starts, axis=0) / sizes[:, None]
    away = np.abs(rows - means.repeat(sizes, 0))
    # One sort for all groups: each is lifted above the last, and let down again.
    lift = np.arange(len(starts))[:, None] * (2 * away.max(0) + 1e-300)
    ordered = np.sort(away + lift.repeat(sizes, 0), axis=0)
    place = starts + quantile * (sizes - 1)
    low = np.floor(place).astype(np.int64)
    high, share = np.minimum(low + 1, starts + sizes - 1), (place - low)[:, None]
    found: NDArray[np.float64] = ordered[low] * (1 - share) + ordered[high] * share - lift
    return found


def _setting(
    codes: ArrayLike,
    factors: ArrayLike,
    names: Names,
    sizes: Sizes,
    grid: ArrayLike | None,
    train: int,
    evaluation: int,
    tame: bool,
) -> tuple[Setting, list[str]]:
    if grid is not None:
        if sizes is None or not all(sizes):
            raise NotApplicable("a grid needs the number of values of each factor")
        z = np.asarray(grid)
        return Setting(Grid(drawn_in(z)[0] if tame else z, sizes), train, evaluation), []
    kept, constant = factors_of(factors, names, sizes)
    if len(kept) < 2:
        raise NotApplicable("which factor is fixed can be asked of at least two that vary")
    rows = labelled(kept)
    z = np.asarray(codes)[rows]
    return Setting(Sample(drawn_in(z)[0] if tame else z, [factor.at(rows) for factor in kept]), train, evaluation), constant


def _said(setting: Setting, grid: ArrayLike | None) -> dict[str, Any]:
    drawn = "grid" if grid is not None else "items"
    n = len(setting.source.codes)
    return {"n": n, "drawn_from": drawn, "batch": BATCH, "votes": [setting.train, setting.evaluation], "codes": "mode"}
