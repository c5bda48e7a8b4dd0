"""Sentences about a latent space, computed from its codes: what a dimension moves, what is dead, who the neighbours are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from latent_atlas.report.inputs import DataSet, Run
from latent_atlas.report.ranking import plain

DEAD = 0.01  # nats; and the share of the largest variance where there is no posterior
SHOWN = 32  # dimensions that are drawn at most
BINS = 20


@dataclass(frozen=True)
class Board:
    """How much each dimension carries: KL in nats, or the variance of its codes where the model has no posterior."""

    values: np.ndarray
    order: np.ndarray
    threshold: float
    is_kl: bool
    parts: np.ndarray | None = None  # KL of each part of the code, where it falls into others than dimensions

    @property
    def active(self) -> int:
        """Dimensions that carry something."""
        return int((self.values >= self.threshold).sum())


def board(run: Run) -> Board | None:
    """The collapse board of a run; ``None`` without codes."""
    codes = run.latents.get("codes")
    if codes is None or codes.ndim != 2 or codes.size == 0:
        return None
    kl = run.latents.get("kl_per_dimension")
    is_kl = kl is not None and kl.shape == (codes.shape[1],)
    values = np.asarray(kl if is_kl else codes.var(axis=0), float)
    values = np.nan_to_num(values)
    threshold = DEAD if is_kl else DEAD * float(values.max(initial=0.0))
    parts = None if kl is None or is_kl else np.nan_to_num(np.asarray(kl, float))
    return Board(values, np.argsort(-values, kind="stable"), threshold, is_kl, parts)


def plane(codes: np.ndarray) -> tuple[np.ndarray, float]:
    """Codes on their two directions of largest variance, (N, 2), and the share of the variance that these hold."""
    centred = np.nan_to_num(codes.astype(np.float64)) - np.nan_to_num(codes.astype(np.float64)).mean(axis=0)
    if centred.shape[1] == 1:
        return np.concatenate([centred, np.zeros_like(centred)], axis=1), 1.0
    values, vectors = np.linalg.eigh(centred.T @ centred)
    top = vectors[:, ::-1][:, :2]
    # An eigenvector has no sign; the largest entry is made positive so that the map does not flip from build to build.
    top = top * np.sign(top[np.abs(top).argmax(axis=0), [0, 1]])
    total = float(values.sum())
    return centred @ top, float(values[-2:].sum() / total) if total > 0 else 1.0


def bins_of(values: np.ndarray, count: int = BINS) -> np.ndarray:
    """Bins of equal mass; values of few distinct levels stay as they are."""
    levels, index = np.unique(values, return_inverse=True)
    if len(levels) <= count:
        return index
    return np.searchsorted(np.quantile(values, np.linspace(0, 1, count + 1)[1:-1]), values, side="right")


def information(a: np.ndarray, b: np.ndarray) -> float:
    """Mutual information of two bin indices over the entropy of the second, Miller–Madow corrected, in [0, 1]."""
    table = np.zeros((int(a.max()) + 1, int(b.max()) + 1))
    np.add.at(table, (a, b), 1.0)
    n = table.sum()
    joint, left, right = table / n, table.sum(axis=1) / n, table.sum(axis=0) / n
    mask = joint > 0
    raw = float((joint[mask] * np.log(joint[mask] / np.outer(left, right)[mask])).sum())
    bias = (mask.sum() - (left > 0).sum() - (right > 0).sum() + 1) / (2 * n)
    entropy = -float((right[right > 0] * np.log(right[right > 0])).sum())
    return float(np.clip((raw - bias) / entropy, 0.0, 1.0)) if entropy > 0 else 0.0


def factor_table(run: Run, most: int = 5000) -> np.ndarray | None:
    """(d, K): what each dimension knows of each factor, 0 to 1; ``None`` without factors."""
    codes, factors = run.latents.get("codes"), run.latents.get("factors")
    if codes is None or factors is None or factors.ndim != 2 or len(codes) != len(factors):
        return None
    rows = slice(0, most)
    columns = [bins_of(factors[rows, k]) for k in range(factors.shape[1])]
    return np.array([[information(bins_of(codes[rows, j]), column) for column in columns] for j in range(codes.shape[1])])


def labels_of(run: Run) -> np.ndarray | None:
    """Class labels of the test rows, if there are any."""
    labels = run.latents.get("labels")
    codes = run.latents.get("codes")
    if labels is None or codes is None or len(labels) != len(codes):
        return None
    return labels.reshape(len(labels), -1)[:, 0].astype(np.int64)


def amount(found: Board, dimension: int) -> str:
    """What a dimension carries, with its unit."""
    unit = "nats" if found.is_kl else "variance"
    return f"{plain(float(found.values[dimension]))} {unit}"


def caption(run: Run, data: DataSet, dimension: int, found: Board, table: np.ndarray | None) -> str:
    """A finding about one dimension: the factor it moves, the classes it parts, or that it is dead."""
    head = f"Dimension {dimension} ({amount(found, dimension)})"
    if found.values[dimension] < found.threshold:
        return f"{head} is dead: moving it changes nothing that the data uses."
    if table is not None:
        return f"{head} {factor_clause(table[dimension], data.factor_names)}."
    labels = labels_of(run)
    if labels is not None and len(np.unique(labels)) > 1:
        return f"{head} {class_clause(run.latents['codes'][:, dimension], labels, data.class_names)}."
    return f"{head} carries {share(found, dimension):.0%} of the code."


def factor_clause(row: np.ndarray, names: Sequence[str]) -> str:
    """Which factors one dimension knows, strongest first, as a clause."""
    shown = [names[k] if k < len(names) else f"factor {k}" for k in range(len(row))]
    order = np.argsort(-row)
    best, second = order[0], order[1] if len(order) > 1 else None
    if row[best] < 0.08:
        return "moves no known factor by itself"
    strength = f"its code knows {row[best]:.0%} of it"
    if second is None or row[second] < 0.1 * max(row[best], 0.2):
        return f"moves {shown[best]} and nothing else ({strength})"
    return f"moves {shown[best]} ({strength}) and also {shown[second]} ({row[second]:.0%})"


def class_clause(values: np.ndarray, labels: np.ndarray, names: Sequence[str] | None) -> str:
    """The two classes that lie furthest apart along one dimension, as a clause."""
    present = np.unique(labels)
    means = np.array([values[labels == label].mean() for label in present])
    spread = float(values.std()) or 1.0
    low, high = present[means.argmin()], present[means.argmax()]
    gap = float(means.max() - means.min()) / spread
    called = [names[int(label)] if names and int(label) < len(names) else str(label) for label in (low, high)]
    verb = "tells" if gap >= 1 else "hardly tells"
    return f"{verb} {called[0]} from {called[1]}: their means lie {gap:.1f} standard deviations apart"


def share(found: Board, dimension: int) -> float:
    """The part of everything the code carries that one dimension carries."""
    total = float(found.values.sum())
    return float(found.values[dimension]) / total if total > 0 else 0.0


def traversal_order(run: Run) -> list[int]:
    """The dimension behind each row of the traversal pictures."""
    drawn = run.pictures.get("traversals")
    count = 0 if drawn is None else len(drawn)
    named = [int(index) for index in (run.evaluation or {}).get("traversal_order", [])]
    if len(named) >= count:
        return named[:count]
    found = board(run)
    order = [] if found is None else [int(index) for index in found.order]
    return (order or list(range(count)))[:count]


def best_traversal(run: Run, table: np.ndarray | None) -> int:
    """The row of the traversal to show first: the clearest dimension where factors are known, else the one that carries most."""
    order = traversal_order(run)
    if table is None or not order:
        return 0
    rows = np.sort(table[[index for index in order if index < len(table)]], axis=1)
    if rows.size == 0:
        return 0
    clear = rows[:, -1] - (rows[:, -2] if rows.shape[1] > 1 else 0.0)
    return int(clear.argmax())


@dataclass(frozen=True)
class Neighbours:
    """One held-out item and the items whose codes lie nearest, as positions in the test rows and as item indices."""

    rows: np.ndarray
    items: np.ndarray


def neighbours(run: Run, data: DataSet, count: int = 7) -> Neighbours | None:
    """The first witness (else the first test row) and its nearest others, on codes standardised per dimension."""
    codes, index = run.latents.get("codes"), run.latents.get("index")
    if codes is None or index is None or len(codes) < 2 or codes.ndim != 2:
        return None
    places = {int(item): place for place, item in enumerate(index)}
    start = next((places[int(item)] for item in data.card.get("witnesses", []) if int(item) in places), 0)
    spread = codes.std(axis=0)
    scaled = codes / np.where(spread > 1e-8, spread, 1.0)
    distance = ((scaled - scaled[start]) ** 2).sum(axis=1)
    distance[start] = -1.0
    rows = np.argsort(distance, kind="stable")[: count + 1]
    return Neighbours(rows, index[rows])


def neighbour_caption(run: Run, data: DataSet, found: Neighbours) -> str:
    """How many of the neighbours share the item's label, or that there are no labels to compare."""
    labels = labels_of(run)
    others = len(found.rows) - 1
    if labels is None:
        return f"a held-out item and the {others} others whose codes lie nearest"
    own = int(labels[found.rows[0]])
    same = int((labels[found.rows[1:]] == own).sum())
    name = data.class_names[own] if data.class_names and own < len(data.class_names) else str(own)
    return f"a held-out “{name}” and the {others} nearest others: {same} share its label"
