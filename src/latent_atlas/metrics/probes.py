"""The fixed ladder of probes: how much of what is known about an item can be read from its code, by how strong a reader.

k nearest neighbours, softmax regression, and a perceptron with one hidden layer of 64; always the same, whatever the model. Targets
are the classes and every factor; a factor of more than ``BINS`` values is cut into tenths of equal mass, so all is accuracy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from latent_atlas.metrics.distances import PRODUCTS
from latent_atlas.metrics.information import is_quantity, known_of
from latent_atlas.metrics.intervals import refitted
from latent_atlas.metrics.memo import Memo
from latent_atlas.metrics.result import Measured, NotApplicable, TooFewSamples
from latent_atlas.threads import torch_threads

BINS = 10
WIDEST = 64  # dimensions: wider codes, such as raw pixels, are read through their principal components
SUBSET = 0.8  # of the training items in each refit
HIDDEN, EPOCHS, STEPS, BATCH, RATE, DECAY = 64, 25, 300, 256, 1e-2, 1e-4  # epochs, or more up to as many steps
MISSING = -1
_AXES: Memo[Tensor] = Memo(2)  # every rung of the ladder reads the same raw observations


@dataclass(frozen=True)
class Target:
    """What is to be read: the class of each training item (M,) and of each held-out item (N,), ``MISSING`` where unknown."""

    name: str
    train: Tensor
    test: Tensor

    @property
    def size(self) -> int:
        """The number of classes."""
        return int(max(self.train.max(), self.test.max())) + 1

    @property
    def chance(self) -> float:
        """The accuracy of always answering the commonest class of the training items."""
        known = self.test[self.test != MISSING]
        return float((known == torch.bincount(self.train[self.train != MISSING]).argmax()).double().mean())


Reader = Callable[[Tensor, list[Target], NDArray[np.int64], Sequence[Tensor], int], list[list[Tensor]]]


def probe(
    codes: Tensor,
    codes_train: Tensor | None = None,
    labels: Tensor | None = None,
    labels_train: Tensor | None = None,
    factors: Tensor | None = None,
    factors_train: Tensor | None = None,
    factor_names: Sequence[str] | None = None,
    factor_sizes: Sequence[int] | None = None,
    ladder: str = "linear",
    limit: int = 5000,
    refits: int = 0,
    seed: int = 0,
) -> Measured:
    """Accuracy of one rung of the ladder on held-out items, mean over targets; the floor always answers the commonest class.

    The probe learns from training items; without them from one half of the held-out ones, and reads the other. Codes are
    standardised over what it learns from. With refits each learns from another 80 % and reads a resample of the held-out items;
    value and interval are those of the refits.

    Args:
        codes: (N, d) of held-out items.
        codes_train: (M, d) of training items.
        labels: (N,) int64; a negative one is missing.
        labels_train: (M,) of the training items.
        factors: (N, K); a NaN is missing, as is a negative class.
        factors_train: (M, K) of the training items.
        factor_names: K names.
        factor_sizes: K numbers of values, 0 for a quantity; ``None``: a column of whole numbers is one of classes.
        ladder: ``knn``, ``linear`` or ``mlp``.
        limit: the most items that are learned from, and that are read.
        refits: fits; fewer than 2 give one fit on everything and no interval.
        seed: of subsets and initial weights.

    Raises:
        NotApplicable: neither labels nor factors that vary.
        TooFewSamples: fewer than 20 items to learn from.
    """
    train, test, targets = prepared(
        codes, codes_train, labels, labels_train, factors, factors_train, factor_names, limit, seed, factor_sizes
    )
    runs, rng = [], np.random.default_rng(seed)
    for fit in range(refits if refits > 1 else 1):
        rows = rng.permutation(len(train))[: round(SUBSET * len(train))] if refits > 1 else np.arange(len(train))
        picks = torch.from_numpy(rng.integers(0, len(test), len(test)) if refits > 1 else np.arange(len(test)))
        answers = READERS[ladder](train, targets, rows, [test], seed + fit)[0]
        runs.append([accuracy(found[picks], target.test[picks]) for found, target in zip(answers, targets, strict=True)])
    value, interval = refitted([float(np.mean(run)) for run in runs])
    each = np.mean(runs, axis=0)
    parts: dict[str, Any] = {"accuracy": {target.name: float(score) for target, score in zip(targets, each, strict=True)}}
    parts["chance"] = {target.name: target.chance for target in targets}
    provenance = {"n": len(test), "trained_on": len(train), "estimator": ESTIMATORS[ladder], "refits": refits}
    return Measured(value, interval, float(np.mean(list(parts["chance"].values()))), provenance=provenance, parts=parts)


def prepared(
    codes: Tensor,
    codes_train: Tensor | None,
    labels: Tensor | None,
    labels_train: Tensor | None,
    factors: Tensor | None,
    factors_train: Tensor | None,
    factor_names: Sequence[str] | None,
    limit: int,
    seed: int = 0,
    factor_sizes: Sequence[int] | None = None,
) -> tuple[Tensor, Tensor, list[Target]]:
    """The codes to learn from and to read, standardised, and the targets that vary."""
    beside = (labels is None or labels_train is not None) and (factors is None or factors_train is not None)
    if codes_train is not None and beside:
        train, test = codes_train[:limit], codes[:limit]
    else:
        order = torch.from_numpy(np.random.default_rng(seed).permutation(len(codes)))
        first, second = order[: len(order) // 2][:limit], order[len(order) // 2 :][:limit]
        train, test = codes[first], codes[second]
        labels_train, labels = (None, None) if labels is None else (labels[first], labels[second])
        factors_train, factors = (None, None) if factors is None else (factors[first], factors[second])
    if len(train) < 20:
        raise TooFewSamples(f"a probe needs 20 items to learn from, there are {len(train)}")
    targets = []
    if labels is not None and labels_train is not None:
        targets.append(Target("class", labels_train[: len(train)].clamp(min=MISSING), labels[: len(test)].clamp(min=MISSING)))
    if factors is not None and factors_train is not None:
        names = factor_names or [f"factor {k}" for k in range(factors.shape[1])]
        sizes: list[int | None] = list(factor_sizes) if factor_sizes else [None] * len(names)
        pairs = zip(names, factors_train[: len(train)].T, factors[: len(test)].T, sizes, strict=True)
        targets += [Target(name, *grouped(*known_or_nan(a, b, size))) for name, a, b, size in pairs]
    targets = [target for target in targets if (target.test != MISSING).any()]
    targets = [target for target in targets if len(torch.unique(target.train[target.train != MISSING])) > 1]
    if not targets:
        raise NotApplicable("there are neither labels nor factors that vary")
    learned, held = standardised(train, test)
    return learned, held, targets


def known_or_nan(train: Tensor, test: Tensor, size: int | None) -> tuple[Tensor, Tensor]:
    """A factor in float64, NaN where it is unknown."""
    quantity = is_quantity(torch.cat([train, test]).numpy(), size)
    both = [part.double().masked_fill(~torch.from_numpy(known_of(part.numpy(), quantity)), torch.nan) for part in (train, test)]
    return both[0], both[1]


def grouped(train: Tensor, test: Tensor) -> tuple[Tensor, Tensor]:
    """A factor as classes: its values where they are few, else tenths of equal mass of the training items."""
    known = train[~train.isnan()]
    distinct = torch.unique(known)
    if len(distinct) <= BINS:
        edges = (distinct[1:] + distinct[:-1]) / 2
    else:
        edges = torch.unique(known.quantile(torch.linspace(0, 1, BINS + 1, dtype=known.dtype)[1:-1]))
    both = [torch.bucketize(values, edges, right=True).masked_fill(values.isnan(), MISSING) for values in (train, test)]
    return both[0], both[1]


def standardised(train: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
    """Centred and scaled by the training items; dimensions of no variance are left out, and beyond ``WIDEST`` rotated away."""
    train, *rest = tamed(train.double(), *(part.double() for part in others))
    others, mean = tuple(rest), train.mean(0)
    spread = train.std(0, correction=0)
    alive = spread > 1e-7 * max(float(spread.max()), 1e-30)
    if int(alive.sum()) > WIDEST:
        axes = principal_axes((train - mean).float(), WIDEST).double()
        turned = [(part - mean) @ axes for part in (train, *others)]
        # One scale for all: to blow the last components up to the size of the first would only add noise.
        return tuple((part / turned[0].std()).float() for part in turned)
    if not alive.any():
        return tuple(torch.zeros(len(part), 1) for part in (train, *others))
    return tuple(((part - mean) / spread)[:, alive].float() for part in (train, *others))


def tamed(train: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
    """Codes with far outliers moved in to one range beyond the inner 98 % of the training items: one must not set the scale."""
    if train.shape[1] > WIDEST or len(train) < 100:
        return train, *others
    low, high = train.quantile(0.01, 0, interpolation="higher"), train.quantile(0.99, 0, interpolation="lower")
    reach = torch.where(
        high > low, high - low, torch.full_like(high, torch.inf)
    )  # a dimension that hardly ever moves stays as it is
    return tuple(part.clamp(low - reach, high + reach) for part in (train, *others))


def principal_axes(centred: Tensor, width: int) -> Tensor:
    """The first ``width`` principal directions (d, width) of centred rows (N, d), by a randomised decomposition with fixed seed."""

    def found() -> Tensor:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return torch.pca_lowrank(centred, q=min(width, *centred.shape), center=False, niter=4)[2]

    return _AXES.get([centred.numpy()], width, found)


def accuracy(found: Tensor, wanted: Tensor) -> float:
    """The share of known items that are answered rightly."""
    known = wanted != MISSING
    return float((found[known] == wanted[known]).double().mean())


def by_neighbours(
    train: Tensor, targets: list[Target], rows: NDArray[np.int64], tests: Sequence[Tensor], seed: int, k: int = 10
) -> list[list[Tensor]]:
    """The vote of the 10 nearest training items."""
    pool = train[rows]
    answers = []
    for test in tests:
        parts = [
            torch.cdist(part, pool, compute_mode=PRODUCTS).topk(min(k, len(pool)), largest=False).indices
            for part in test.split(1024)
        ]
        near, found = torch.cat(parts), []
        for target in targets:
            votes = F.one_hot(target.train[rows][near] + 1, target.size + 1).sum(1)[:, 1:]  # the first column is the missing
            found.append(votes.argmax(1))
        answers.append(found)
    return answers


def by_regression(
    train: Tensor, targets: list[Target], rows: NDArray[np.int64], tests: Sequence[Tensor], seed: int
) -> list[list[Tensor]]:
    """Softmax regression on all targets at once, weights drawn to 0 by |W|² / (2N), by L-BFGS from 0."""
    x, heads = train[rows], Heads(targets)
    wanted = torch.stack([target.train[rows] for target in targets], 1)
    weight = torch.zeros(x.shape[1], heads.outputs, requires_grad=True)
    bias = torch.zeros(heads.outputs, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weight, bias], max_iter=60, history_size=10, line_search_fn="strong_wolfe", tolerance_change=1e-6
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = heads.cross_entropy(x @ weight + bias, wanted) + weight.square().sum() / (2 * len(x))
        loss.backward()
        return loss

    with torch.enable_grad(), torch_threads(1):
        optimizer.step(closure)
    return [heads.read((test @ weight + bias).detach()) for test in tests]


def by_perceptron(
    train: Tensor, targets: list[Target], rows: NDArray[np.int64], tests: Sequence[Tensor], seed: int
) -> list[list[Tensor]]:
    """One hidden layer of 64 rectified units on all targets at once, by AdamW with a cosine rate."""
    x, heads = train[rows], Heads(targets)
    wanted = torch.stack([target.train[rows] for target in targets], 1)
    with torch.random.fork_rng(devices=[]), torch.enable_grad(), torch_threads(1):
        torch.manual_seed(seed)
        net = nn.Sequential(nn.Linear(x.shape[1], HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, heads.outputs))
        epoch = -(-len(x) // BATCH)
        epochs = max(EPOCHS, -(-STEPS // epoch))
        optimizer = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=DECAY, fused=True)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * epoch)
        for _ in range(epochs):
            for picks in torch.randperm(len(x)).split(BATCH):
                optimizer.zero_grad()
                heads.cross_entropy(net(x[picks]), wanted[picks]).backward()
                optimizer.step()
                schedule.step()
    with torch.no_grad():
        return [heads.read(net(test)) for test in tests]


class Heads:
    """Scores of all targets side by side, each with as many as the one of most classes: one cross-entropy in place of many.

    Args:
        targets: T of them.
    """

    def __init__(self, targets: Sequence[Target]) -> None:
        sizes = torch.tensor([target.size for target in targets])
        self.shape, self.outputs = (len(sizes), int(sizes.max())), len(sizes) * int(sizes.max())
        self.unused = torch.arange(self.shape[1]) >= sizes[:, None]

    def _each(self, scores: Tensor) -> Tensor:
        return scores.unflatten(1, self.shape).masked_fill(self.unused, -torch.inf)

    def cross_entropy(self, scores: Tensor, wanted: Tensor) -> Tensor:
        """Sum over targets of the mean over known items, of scores (N, ``outputs``) and classes (N, T)."""
        terms = F.cross_entropy(self._each(scores).transpose(1, 2), wanted, ignore_index=MISSING, reduction="none")
        return (terms.sum(0) / (wanted != MISSING).sum(0).clamp(min=1)).sum()

    def read(self, scores: Tensor) -> list[Tensor]:
        """The likeliest class of each target."""
        return list(self._each(scores).argmax(2).T)


READERS: dict[str, Reader] = {"knn": by_neighbours, "linear": by_regression, "mlp": by_perceptron}
ESTIMATORS = {"knn": "10 nearest", "linear": "softmax regression", "mlp": f"perceptron, {HIDDEN} hidden"}
