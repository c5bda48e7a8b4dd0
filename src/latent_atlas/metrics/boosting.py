"""Boosted trees of factors on codes, in processes that never import torch.

torch and LightGBM bring an OpenMP runtime each, and on macOS the two crash in one process (pytorch/pytorch#191933). So the trees
grow in ``python -m latent_atlas.metrics.boosting <folder>``, one process per share of the factors.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

TREES, DEPTH, RATE = 100, 3, 0.1
ESTIMATORS = ("lightgbm", "sklearn", "hist")
WRAPPED = ("dask", "graphviz", "matplotlib", "pandas", "polars", "pyarrow", "sklearn")  # LightGBM looks for them
HIST_REPEATS = 3  # permutations per dimension: HistGradientBoosting has no gain to report


@dataclass(frozen=True)
class Boosted:
    """What the trees found of K factors.

    Args:
        importance: (d, K), each column sums to 1 (to 0 where no split was made).
        train: (K,) accuracy, or R² of a quantity, on the items of the fit.
        test: (K,) on held-out items.
        chance: (K,) held-out accuracy of the commonest training class; 0 of a quantity.
        estimator: the library that grew the trees.
        items: (K,) held-out items.
    """

    importance: NDArray[np.float64]
    train: NDArray[np.float64]
    test: NDArray[np.float64]
    chance: NDArray[np.float64]
    estimator: str
    items: NDArray[np.int64]

    def part(self, k: slice) -> Boosted:
        """Of some of the factors."""
        columns = (self.importance[:, k], self.train[k], self.test[k], self.chance[k])
        return Boosted(*columns, self.estimator, self.items[k])


@dataclass(frozen=True)
class Task:
    """One factor: codes (n, d) and values (n,) to fit, and those to test."""

    x: NDArray[Any]
    y: NDArray[Any]
    x_test: NDArray[Any]
    y_test: NDArray[Any]
    continuous: bool


def boost(tasks: Sequence[Task], estimator: str = "lightgbm", workers: int = 1, seed: int = 0) -> Boosted:
    """Fits every task; the heaviest first, shared among ``workers`` processes.

    Raises:
        ValueError: an estimator that is none of ``ESTIMATORS``.
        RuntimeError: a worker that failed; the message ends with its last line.
    """
    if estimator not in ESTIMATORS:
        raise ValueError(f"estimator {estimator!r}; it is one of {', '.join(ESTIMATORS)}")
    weight = [_trees(task) for task in tasks]
    before = np.concatenate([[0], np.cumsum(weight)[:-1]]) * TREES
    # Exact trees take minutes and whole factors share badly (32, 32 and 40 values on two): one process more evens it out.
    processes = workers + 1 if estimator == "sklearn" and workers > 1 else workers
    shares: list[list[int]] = [[] for _ in range(max(1, min(processes, len(tasks))))]
    loads = [0] * len(shares)
    for k in np.argsort(weight)[::-1]:
        lightest = int(np.argmin(loads))
        shares[lightest].append(int(k))
        loads[lightest] += weight[k]
    found: dict[int, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        running = [
            (share, _start(Path(folder) / str(k), [tasks[i] for i in share], [int(before[i]) for i in share], estimator, seed))
            for k, share in enumerate(shares)
        ]
        for share, (process, out) in running:
            message = process.communicate()[1]
            if process.returncode:
                raise RuntimeError(f"boosted trees ({estimator}): {(message.strip().splitlines() or ['no message'])[-1]}")
            found |= dict(zip(share, json.loads(out.read_text(encoding="utf-8")), strict=True))
    rows = [found[k] for k in range(len(tasks))]
    return Boosted(
        np.array([row["importance"] for row in rows]).T,
        np.array([row["train"] for row in rows]),
        np.array([row["test"] for row in rows]),
        np.array([row["chance"] for row in rows]),
        rows[0]["estimator"],
        np.array([len(task.y_test) for task in tasks]),
    )


def _start(folder: Path, tasks: list[Task], before: list[int], estimator: str, seed: int) -> tuple[subprocess.Popen[str], Path]:
    folder.mkdir()
    arrays = {f"{k}_{name}": getattr(task, name) for k, task in enumerate(tasks) for name in ("x", "y", "x_test", "y_test")}
    np.savez(folder / "tasks.npz", **arrays)
    settings = {"continuous": [task.continuous for task in tasks], "estimator": estimator, "seed": seed, "before": before}
    (folder / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
    source = str(Path(__file__).resolve().parents[2])
    env = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [source, os.environ.get("PYTHONPATH")])), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "latent_atlas.metrics.boosting", str(folder)]
    process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    return process, folder / "found.json"


def main(folder: Path) -> None:
    """A worker: tasks.npz and settings.json in, found.json out."""
    settings = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
    arrays = np.load(folder / "tasks.npz")
    warnings.simplefilter("ignore")
    found = []
    for k, continuous in enumerate(settings["continuous"]):
        x, y, x_test, y_test = (arrays[f"{k}_{name}"] for name in ("x", "y", "x_test", "y_test"))
        task = Task(x, y, x_test, y_test, continuous)
        found.append(fit(task, settings["estimator"], settings["seed"], settings["before"][k]))
    if "torch" in sys.modules:
        raise RuntimeError("torch was imported beside the trees' own OpenMP")
    (folder / "found.json").write_text(json.dumps(found), encoding="utf-8")


def _trees(task: Task) -> int:
    """Trees of one round of boosting: one for each class, one for a quantity or two classes."""
    classes = 1 if task.continuous else len(np.unique(task.y))
    return 1 if classes == 2 else classes


def fit(task: Task, estimator: str, seed: int, before: int = 0) -> dict[str, Any]:
    """The trees of one factor; ``before`` trees of other factors drew from the same stream of random numbers."""
    grown = _lightgbm(task, seed) if estimator == "lightgbm" else None
    used = "lightgbm" if grown else "hist" if estimator == "lightgbm" else estimator
    importance, train, test = grown or _scikit_learn(task, used, seed, before)
    total = importance.sum()
    chance = 0.0
    if not task.continuous:
        values, counts = np.unique(task.y, return_counts=True)
        chance = float((task.y_test == values[counts.argmax()]).mean())
    return {
        "importance": (importance / total if total > 0 else importance).tolist(),
        "train": train,
        "test": test,
        "chance": chance,
        "estimator": used,
    }


Grown = tuple[NDArray[np.float64], float, float]  # importance (d,), score on the items of the fit, on held-out ones


def _imported() -> Any:
    """LightGBM without the packages that it looks for and is not given here: their imports take longer than a small fit."""
    hidden = [name for name in WRAPPED if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None: an import of it fails
    try:
        import lightgbm
    finally:
        for name in hidden:
            del sys.modules[name]
    return lightgbm


def _r2(truth: NDArray[Any], said: NDArray[np.float64]) -> float:
    """1 − squared error / that of the mean."""
    spread = float(((truth - truth.mean()) ** 2).sum())
    return 1 - float(((truth - said) ** 2).sum()) / spread if spread else 0.0


def _lightgbm(task: Task, seed: int) -> Grown | None:
    """None where LightGBM cannot be loaded."""
    try:
        lightgbm = _imported()
    except (ImportError, OSError):  # OSError: its OpenMP runtime is not installed
        return None
    classes, y = np.unique(task.y, return_inverse=True)
    target = task.y if task.continuous else y
    settings = {"max_depth": DEPTH, "num_leaves": 2**DEPTH, "learning_rate": RATE, "num_threads": 1, "seed": seed}
    settings |= {"objective": "regression", "metric": "None", "deterministic": True, "verbosity": -1}
    if not task.continuous:
        settings |= {"objective": "binary"} if len(classes) == 2 else {"objective": "multiclass", "num_class": len(classes)}
    fit = lightgbm.Dataset(task.x, target)
    held_out = lightgbm.Dataset(task.x_test, np.zeros(len(task.x_test)), reference=fit)
    model = lightgbm.train(settings, fit, TREES, valid_sets=[held_out], keep_training_booster=True)
    # Its own running predictions: going through thousands of trees again would take as long as growing them.
    found: list[NDArray[np.float64]] = []

    def keep(predicted: NDArray[np.float64], _: Any) -> tuple[str, float, bool]:
        found.append(predicted)
        return "kept", 0.0, True

    model.eval_train(keep)
    model.eval_valid(keep)
    if task.continuous:
        scores = [_r2(*pair) for pair in zip((task.y, task.y_test), found, strict=True)]
    else:
        answers = [classes[p.argmax(1) if p.ndim == 2 else (p > 0.5).astype(np.int64)] for p in found]
        scores = [float((said == truth).mean()) for said, truth in zip(answers, (task.y, task.y_test), strict=True)]
    return np.abs(np.asarray(model.feature_importance("gain"), np.float64)), scores[0], scores[1]


def _scikit_learn(task: Task, estimator: str, seed: int, before: int) -> Grown:
    from sklearn import ensemble

    model: Any
    if estimator == "sklearn":
        # One stream for all factors in turn, a draw for each tree: shares of the factors then give the trees of a plain loop.
        stream = np.random.RandomState(seed)
        stream.randint(0, np.iinfo(np.int32).max, before)
        exact = ensemble.GradientBoostingRegressor if task.continuous else ensemble.GradientBoostingClassifier
        model = exact(random_state=stream).fit(np.asfortranarray(task.x, np.float32), task.y)  # it reads a column at a time
        importance = model.feature_importances_
    else:
        from sklearn.inspection import permutation_importance

        binned = ensemble.HistGradientBoostingRegressor if task.continuous else ensemble.HistGradientBoostingClassifier
        model = binned(max_iter=TREES, max_depth=DEPTH, learning_rate=RATE, early_stopping=False, random_state=seed)
        model.fit(task.x, task.y)
        found = permutation_importance(model, task.x, task.y, n_repeats=HIST_REPEATS, random_state=seed)
        importance = np.clip(found.importances_mean, 0, None)
    scores = [float(model.score(*pair)) for pair in ((task.x, task.y), (task.x_test, task.y_test))]
    return np.abs(np.asarray(importance, np.float64)), scores[0], scores[1]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
