"""Can a factor be read off the code by a simple rule: off one dimension (SAP), off all of them (explicitness)?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from latent_atlas.metrics.information import Factor, factors_of, labelled
from latent_atlas.metrics.intervals import plain_numbers, refitted
from latent_atlas.metrics.outliers import drawn_in
from latent_atlas.metrics.result import Measured, NotApplicable

Names = Sequence[str] | None
Sizes = Sequence[int] | None
Floats = NDArray[np.float64]
COST = 0.01  # of the linear machines, as published


def sap(
    codes: ArrayLike,
    factors: ArrayLike,
    codes_train: ArrayLike,
    factors_train: ArrayLike,
    factor_names: Names = None,
    factor_sizes: Sizes = None,
    refits: int = 0,
    standardise: bool = True,
    score: str = "auto",
) -> Measured:
    """Separated attribute predictability: mean over factors of the gap of the two best dimensions (Kumar et al. 2018, 1711.00848).

    A dimension's score is the held-out accuracy of a linear machine on it alone for a factor of classes, R² for a quantity.
    ``auto`` decides per factor and takes the balanced accuracy over chance; ``accuracy`` and ``r2`` are disentanglement_lib's one
    answer for all factors, the latter on training items. The machines see how far codes reach, so codes are standardised first
    unless told otherwise. Two dimensions that say the same about a factor have no gap: redundancy is 0 by design. The
    penalty stands against a sum over items, so that a perfect code of few items scores less than 1.

    Args:
        codes: (N, d) held-out.
        factors: (N, K) theirs.
        codes_train: (M, d).
        factors_train: (M, K).
        factor_names: K names.
        factor_sizes: K numbers of values, 0 for a quantity.
        refits: on bootstrap samples of training and held-out items, for the interval.
        standardise: by training mean and deviation.
        score: auto, accuracy or r2.
    """
    data = Pair(codes, factors, codes_train, factors_train, factor_names, factor_sizes, standardise)
    if data.train.shape[1] < 2:
        raise NotApplicable("a gap between dimensions needs at least two")
    matrix = sap_matrix(data, score)
    ranked = np.sort(matrix, axis=0)
    gaps = ranked[-1] - ranked[-2]
    values = [float(gaps.mean())]
    for repeat in range(1, refits):
        again = np.sort(sap_matrix(data.resampled(repeat), score), axis=0)
        values.append(float((again[-1] - again[-2]).mean()))
    mean, interval = refitted(values)
    parts = {"gap": plain_numbers(gaps, data.names), "best": plain_numbers(ranked[-1], data.names), "constant": data.constant}
    said = {"n": len(data.test), "n_train": len(data.train), "estimator": "linear svm", "score": score, "codes": "mode"}
    return Measured(mean, interval, floor=0.0, provenance=said, parts=parts)


def explicitness(
    codes: ArrayLike,
    factors: ArrayLike,
    codes_train: ArrayLike,
    factors_train: ArrayLike,
    factor_names: Names = None,
    factor_sizes: Sizes = None,
    refits: int = 0,
    outliers: str = "drawn in",
) -> Measured:
    """Mean over factors and classes of the one-against-rest AUC of a logistic regression on all dimensions (Ridgeway & Mozer 2018).

    0.5 is chance and 1 perfect, on held-out items; classes that the held-out items lack are left out, quantities have no classes.
    Arguments as of ``sap``; ``outliers="kept"`` leaves far codes where they are.

    Raises:
        NotApplicable: no factor of classes.
    """
    data = Pair(codes, factors, codes_train, factors_train, factor_names, factor_sizes, True, outliers)
    if all(factor.continuous for factor in data.factors):
        raise NotApplicable("every factor is a quantity: there are no classes to tell apart")
    found = explicitness_per_factor(data)
    values = [float(found[1].mean())]
    values += [float(explicitness_per_factor(data.resampled(repeat))[1].mean()) for repeat in range(1, refits)]
    mean, interval = refitted(values)
    names = [factor.name for factor in data.factors if not factor.continuous]
    parts = {"train": float(found[0].mean()), "auc": plain_numbers(found[1], names), "constant": data.constant}
    said = {"n": len(data.test), "n_train": len(data.train), "estimator": "logistic regression", "codes": "mode"}
    return Measured(mean, interval, floor=0.5, ceiling=1.0, provenance=said, parts=parts)


class Pair:
    """Codes and varying factors, to fit and to test."""

    def __init__(
        self,
        codes: ArrayLike,
        factors: ArrayLike,
        codes_train: ArrayLike,
        factors_train: ArrayLike,
        names: Names,
        sizes: Sizes,
        standardise: bool,
        outliers: str = "drawn in",
    ) -> None:
        self.test, self.train = (np.asarray(z, np.float64) for z in (codes, codes_train))
        self.factors, self.constant = factors_of(factors_train, names, sizes)
        if standardise:
            known = self.train[labelled(self.factors)]
            if outliers == "drawn in":
                known, self.train, self.test = drawn_in(known, self.train, self.test)
            spread = known.std(0)
            centre, scale = known.mean(0), np.where(spread > 0, spread, 1.0)
            self.test, self.train = (self.test - centre) / scale, (self.train - centre) / scale
        self.names = [factor.name for factor in self.factors]
        listed = list(names or [f"factor {k}" for k in range(np.asarray(factors).shape[1])])
        held_out = np.asarray(factors, np.float64)
        self.tests = [_held_out(held_out[:, listed.index(factor.name)], factor) for factor in self.factors]

    def resampled(self, seed: int) -> Pair:
        """The same with training and held-out items drawn with replacement."""
        rng = np.random.default_rng(seed)
        rows, picks = (rng.integers(0, len(z), len(z)) for z in (self.train, self.test))
        other = object.__new__(Pair)
        other.__dict__ = self.__dict__ | {"train": self.train[rows], "test": self.test[picks]}
        other.factors = [factor.at(rows) for factor in self.factors]
        other.tests = [test.at(picks) for test in self.tests]
        return other


def sap_matrix(data: Pair, score: str) -> Floats:
    """The score of each dimension for each factor (d, K)."""
    orders = np.argsort(data.train, axis=0, kind="stable")
    found = np.zeros((data.train.shape[1], len(data.factors)))
    for k, (factor, test) in enumerate(zip(data.factors, data.tests, strict=True)):
        if score == "r2" or (score == "auto" and factor.continuous):
            found[:, k] = _squared_correlation(factor.of(data.train), factor.values.astype(np.float64))
            continue
        for i in range(len(found)):
            x, order = data.train[:, i], orders[:, i]
            rows = order if factor.known.all() else order[factor.known[order]]
            where = np.cumsum(factor.known) - 1
            values = factor.values[where[rows]]
            answered = one_dimension_svm(x[rows], values, test.of(data.test[:, i]))
            found[i, k] = _accuracy(answered, test.values, balanced=score == "auto")
    return found


def one_dimension_svm(x: Floats, y: NDArray[Any], x_test: Floats) -> NDArray[Any]:
    """The answers of linear machines on one ascending dimension: squared hinge, cost 0.01, classes of equal weight, one against
    rest.

    The exact minimum of ½(w² + b²) + C Σ cᵢ max(0, 1 − yᵢ(w xᵢ + b))², what scikit-learn's LinearSVC(C=0.01,
    class_weight="balanced") iterates towards. On one dimension the items inside the margin are a stretch of the sorted ones, so
    sums over them are differences of cumulative sums and Newton's method costs a search per step in place of a pass over the data.

    Args:
        x: (n,) ascending.
        y: (n,) classes.
        x_test: (m,).
    """
    classes, index, counts = np.unique(y, return_inverse=True, return_counts=True)
    if np.ptp(x) <= 0:
        x = np.zeros_like(x)
    binary = len(classes) == 2
    weights = len(x) / (len(classes) * counts)
    # liblinear's one against rest: the class itself has its balanced weight, the rest has weight 1 unless it is one class.
    chosen = np.arange(1, 2) if binary else np.arange(len(classes))
    lines = _newton(_Margins(x, index, chosen, COST * weights[chosen], COST * (weights[0] if binary else 1.0)))
    answers = np.outer(x_test, lines[:, 0]) + lines[:, 1]
    return classes[(answers[:, 0] > 0).astype(np.int64)] if binary else classes[answers.argmax(1)]


class _Margins:
    """The objectives of L machines, one a chosen class against the rest, on the same ascending items.

    Args:
        x: (n,) ascending.
        index: (n,) number of each item's class.
        chosen: (L,) classes.
        cost: (L,) of the chosen class's items.
        rest: of the others.
    """

    def __init__(self, x: Floats, index: NDArray[np.int64], chosen: NDArray[np.int64], cost: Floats, rest: float) -> None:
        self.x, self.cost, self.rest = x, cost, rest
        order = np.argsort(index, kind="stable")  # class by class, ascending within each
        self.keys, self.first = index[order] * (len(x) + 1) + order, chosen * (len(x) + 1)
        self.sums, self.own = (
            np.concatenate([np.zeros((3, 1)), np.stack([np.ones_like(z), z, z * z]).cumsum(1)], 1) for z in (x, x[order])
        )

    def inside(self, w: Floats, b: Floats, sign: int) -> tuple[Floats, Floats]:
        """Σ 1, Σ x, Σ x² (3, L) of all items with sign (w x + b) < 1, and of the chosen class's among them."""
        slope = sign * w
        with np.errstate(divide="ignore", invalid="ignore"):
            edge = (1 - sign * b) / slope
        start = np.where(slope < 0, np.searchsorted(self.x, edge, "right"), 0)
        end = np.where(slope > 0, np.searchsorted(self.x, edge, "left"), len(self.x))
        end = np.where((slope == 0) & (sign * b >= 1), 0, end)
        low, high = (np.searchsorted(self.keys, self.first + place) for place in (start, end))
        return self.sums[:, end] - self.sums[:, start], self.own[:, high] - self.own[:, low]

    def at(self, lines: Floats) -> tuple[Floats, Floats, Floats]:
        """Values (L,), gradients (L, 2) and Hessians (L, 2, 2) at lines (L, 2) of w and b."""
        w, b = lines.T
        (_, own), (every, among) = self.inside(w, b, 1), self.inside(w, b, -1)
        value, gradient, hessian = (w * w + b * b) / 2, lines.copy(), np.tile(np.eye(2), (len(w), 1, 1))
        for cost, s, (ones, xs, squares) in ((self.cost, 1, own), (self.rest, -1, every - among)):
            value += cost * (ones - 2 * s * (w * xs + b * ones) + w * w * squares + 2 * w * b * xs + b * b * ones)
            gradient += (2 * cost * np.stack([w * squares + b * xs - s * xs, w * xs + b * ones - s * ones])).T
            hessian += (2 * cost * np.stack([squares, xs, xs, ones])).T.reshape(-1, 2, 2)
        return value, gradient, hessian


def _newton(margins: _Margins) -> Floats:
    """The lines (L, 2) of least objective: all machines step together, each stops at its own minimum."""
    lines = np.zeros((len(margins.cost), 2))
    value, gradient, hessian = margins.at(lines)
    going = np.ones(len(lines), bool)
    for _ in range(100):
        step = np.linalg.solve(hessian, gradient[..., None])[..., 0]
        slope = (gradient * step).sum(1)
        going &= slope >= 1e-12
        if not going.any():
            break
        size = going.astype(np.float64)
        while True:
            tried = lines - size[:, None] * step
            found = margins.at(tried)
            far = going & (found[0] > value - 1e-4 * size * slope)
            if not far.any():
                break
            size = np.where(far, size / 2, size)
            going &= size > 1e-6
            size[~going] = 0.0
        lines, (value, gradient, hessian) = tried, found
    return lines


def explicitness_per_factor(data: Pair) -> tuple[Floats, Floats]:
    """Mean AUC over classes (K,) on training and on held-out items."""
    from sklearn.linear_model import LogisticRegression

    found = []
    for factor, test in zip(data.factors, data.tests, strict=True):
        if factor.continuous:
            continue
        x, x_test = factor.of(data.train), test.of(data.test)
        # The penalty keeps it well conditioned: fitted in float32 the areas are the same to 1e-6, in two thirds of the time. Scores
        # stay in float64, where sure answers do not tie.
        classifier = LogisticRegression(max_iter=200, tol=1e-3).fit(x.astype(np.float32), factor.values)
        # Two classes have one score.
        scored = classifier.decision_function if len(classifier.classes_) == 2 else classifier.predict_proba
        both = ((x, factor.values), (x_test, test.values))
        found.append([mean_auc(scored(rows), truth, classifier.classes_) for rows, truth in both])
    return np.array([one[0] for one in found]), np.array([one[1] for one in found])


def mean_auc(scores: Floats, y: NDArray[Any], classes: NDArray[Any]) -> float:
    """Area under the curve of each class against the rest, mean over the classes that occur and are not alone.

    Args:
        scores: (n, C), or (n,) for two classes.
        y: (n,) true classes.
        classes: (C,) those of the columns.
    """
    columns = scores[:, None] if scores.ndim == 1 else scores
    shown = classes[1:] if scores.ndim == 1 else classes
    found = []
    for column, label in zip(columns.T, shown, strict=True):
        positive = y == label
        count = int(positive.sum())
        if 0 < count < len(y):
            own, ordered = column[positive], np.sort(column)
            # Twice the rank of a score, ties sharing theirs, less one.
            ranks = np.searchsorted(ordered, own, "left") + np.searchsorted(ordered, own, "right")
            above = (ranks.sum() + count) / 2 - count * (count + 1) / 2
            found.append(above / (count * (len(y) - count)))
    return float(np.mean(found)) if found else 0.5


def _held_out(column: Floats, factor: Factor) -> Factor:
    known = np.isfinite(column) if factor.continuous else np.isfinite(column) & (column >= 0)
    values = column[known]
    return Factor(factor.name, values if factor.continuous else values.astype(np.int64), known, factor.continuous)


def _squared_correlation(x: Floats, y: Floats) -> Floats:
    """R² of each dimension (d,) with y, 0 for a constant dimension."""
    centred, target = x - x.mean(0), y - y.mean()
    spread = (centred**2).sum(0)
    shared = (centred * target[:, None]).sum(0) ** 2 / np.where(spread > 0, spread, 1.0) / (target**2).sum()
    return np.where(spread / (len(x) - 1) > 1e-12, shared, 0.0)


def _accuracy(answered: NDArray[Any], truth: NDArray[Any], balanced: bool) -> float:
    right = answered == truth
    if not balanced:
        return float(right.mean())
    # Balanced accuracy over chance: a rule that always answers one class has 0, whatever the class sizes are.
    classes, index = np.unique(truth, return_inverse=True)
    each = np.bincount(index, right) / np.bincount(index)
    return max(0.0, (float(each.mean()) - 1 / len(classes)) / (1 - 1 / len(classes))) if len(classes) > 1 else 0.0
