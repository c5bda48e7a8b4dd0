"""The disentanglement suite as its study computed it: the same scikit-learn calls, one after another in one process.

``disentanglement_lib`` cannot be a dependency, so the calls that its scores consist of are timed here (Locatello et al. 2019, study
settings: 10,000 items to fit, 5,000 to test, 20 bins, 10,000 + 5,000 votes of 64 images). What it spends on growing arrays and on
drawing images one batch at a time is left out, except for the loops over votes, so it is faster here than there.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
TRAIN_VOTES, VOTES, BATCH, BINS = 10_000, 5_000, 64, 20


def scores(data: dict[str, Array]) -> dict[str, Callable[[], Any]]:
    """Name -> one score of arrays named as in ``pipelines/score.py``."""
    z, v, z_test, v_test = (data[name] for name in ("mus_train", "factors_train", "mus_test", "factors_test"))
    grid, sizes = data["grid_mus"], data["factor_sizes"]
    return {
        "mig": lambda: mig(z, v),
        "sap": lambda: sap(z, v, z_test, v_test),
        "modularity_explicitness": lambda: (information(z, v), explicitness(z, v, z_test, v_test)),
        "irs": lambda: irs(z, v),
        "beta_vae": lambda: beta_vae(grid, sizes),
        "factor_vae": lambda: factor_vae(grid, sizes),
        "unsupervised": lambda: unsupervised(z),
        "dci": lambda: dci(z, v, z_test, v_test),
    }


def cut(columns: Array) -> Array:
    """Bins of equal width."""
    return np.stack([np.digitize(c, np.histogram(c, BINS)[1][:-1]) for c in columns.T], 1)


def information(z: Array, v: Array) -> Array:
    from sklearn.metrics import mutual_info_score

    bins = cut(z)
    return np.array([[mutual_info_score(b, f) for f in v.T] for b in bins.T])


def mig(z: Array, v: Array) -> float:
    from sklearn.metrics import mutual_info_score

    found = np.sort(information(z, v), axis=0)[::-1]
    entropy = np.array([mutual_info_score(f, f) for f in v.T])
    return float(np.mean((found[0] - found[1]) / entropy))


def sap(z: Array, v: Array, z_test: Array, v_test: Array) -> float:
    from sklearn.svm import LinearSVC

    found = np.zeros((z.shape[1], v.shape[1]))
    for i in range(z.shape[1]):
        for k in range(v.shape[1]):
            machine = LinearSVC(C=0.01, class_weight="balanced").fit(z[:, [i]], v[:, k])
            found[i, k] = np.mean(machine.predict(z_test[:, [i]]) == v_test[:, k])
    ordered = np.sort(found, axis=0)
    return float(np.mean(ordered[-1] - ordered[-2]))


def explicitness(z: Array, v: Array, z_test: Array, v_test: Array) -> float:
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.preprocessing import label_binarize

    found = []
    for k in range(v.shape[1]):
        classifier = LogisticRegression().fit(z, v[:, k])
        for rows, truth in ((z, v[:, k]), (z_test, v_test[:, k])):
            found.append(roc_auc_score(label_binarize(truth, classes=classifier.classes_), classifier.predict_proba(rows)))
    return float(np.mean(found))


def irs(z: Array, v: Array) -> float:
    largest = np.abs(z - z.mean(0)).max(0)
    values = cut(v)
    moved = np.zeros((z.shape[1], v.shape[1]))
    for k in range(v.shape[1]):
        for value in np.unique(values[:, k]):
            group = z[values[:, k] == value]
            moved[:, k] += np.percentile(np.abs(group - group.mean(0)), 99, axis=0) / len(np.unique(values[:, k]))
    return float(np.average((1 - moved / largest[:, None]).max(1), weights=largest))


def drawn(random: np.random.RandomState, sizes: Array, n: int) -> Array:
    return np.stack([random.randint(0, size, n) for size in sizes], 1)


def beta_vae(grid: Array, sizes: Array) -> float:
    from sklearn.linear_model import LogisticRegression

    random, strides = np.random.RandomState(0), np.cumprod([1, *sizes[:0:-1]])[::-1]
    features, fixed = np.zeros((TRAIN_VOTES + VOTES, grid.shape[1])), np.zeros(TRAIN_VOTES + VOTES, int)
    for vote in range(TRAIN_VOTES + VOTES):
        k = random.randint(len(sizes))
        a, b = drawn(random, sizes, BATCH), drawn(random, sizes, BATCH)
        b[:, k] = a[:, k]
        features[vote], fixed[vote] = np.abs(grid[a @ strides] - grid[b @ strides]).mean(0), k
    classifier = LogisticRegression(random_state=random).fit(features[:TRAIN_VOTES], fixed[:TRAIN_VOTES])
    return float(classifier.score(features[TRAIN_VOTES:], fixed[TRAIN_VOTES:]))


def factor_vae(grid: Array, sizes: Array) -> float:
    random, strides = np.random.RandomState(0), np.cumprod([1, *sizes[:0:-1]])[::-1]
    spread = np.var(grid[drawn(random, sizes, 10_000) @ strides], axis=0, ddof=1)
    votes = np.zeros((2, grid.shape[1], len(sizes)), int)
    for vote in range(TRAIN_VOTES + VOTES):
        k = random.randint(len(sizes))
        chosen = drawn(random, sizes, BATCH)
        chosen[:, k] = chosen[0, k]
        votes[int(vote >= TRAIN_VOTES), np.argmin(np.var(grid[chosen @ strides], axis=0, ddof=1) / spread), k] += 1
    return float(votes[1][np.arange(len(spread)), votes[0].argmax(1)].sum() / VOTES)


def unsupervised(z: Array) -> float:
    from sklearn.metrics import mutual_info_score

    bins, covariance = cut(z), np.cov(z.T)
    between = [[mutual_info_score(a, b) for a in bins.T] for b in bins.T]
    return float(np.mean(between) + 0.5 * (np.log(np.diag(covariance)).sum() - np.linalg.slogdet(covariance)[1]))


def dci(z: Array, v: Array, z_test: Array, v_test: Array) -> Array:
    from sklearn.ensemble import GradientBoostingClassifier

    found = []
    for k in range(v.shape[1]):
        trees = GradientBoostingClassifier().fit(z, v[:, k])
        trees.predict(z), trees.predict(z_test)
        found.append(np.abs(trees.feature_importances_))
    return np.array(found).T


def timed(data: dict[str, Array], names: list[str]) -> dict[str, list[float]]:
    """Name -> wall and CPU seconds."""
    import time

    warnings.simplefilter("ignore")  # solvers stop early, as published
    found, all_scores = {}, scores(data)
    for name in names:
        wall, cpu = time.perf_counter(), time.process_time()
        all_scores[name]()
        found[name] = [time.perf_counter() - wall, time.process_time() - cpu]
    return found
