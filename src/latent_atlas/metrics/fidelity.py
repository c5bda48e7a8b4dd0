"""Do samples look like data, all of it, and not like its copy? Kernel distance, neighbourhoods, memorisation, modes."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latent_atlas.metrics.distances import PRODUCTS
from latent_atlas.metrics.intervals import Rows, bootstrap
from latent_atlas.metrics.result import Z95, Measured, NotApplicable, TooFewSamples

BLOCK = 1024
BLOCKS = 10  # disjoint blocks of rows whose spread gives an interval
SAME = 1e-7  # of two rows' lengths: what a distance by matrix products leaves between equal rows
# Four scores ask for the same neighbourhoods: of samples, of their floor and of their ceiling, each whole and in blocks.
KEPT = 4 * (1 + BLOCKS)
_KNOWN: dict[bytes, Neighbourhoods] = {}
TIE = 1e-9  # a point on the sphere, as common among whole numbers, is inside whatever the rounding
PAIRS = 8  # of samples and the training items that they lie nearest to, for pictures


def kid(
    features_real: Tensor,
    features_samples: Tensor,
    subsets: int = 0,
    size: int = 1000,
    seed: int = 0,
) -> Measured:
    """Kernel distance: squared MMD with the kernel (x·y / d + 1)³ (Bińkowski et al. 2018, arXiv:1801.01401).

    The unbiased estimate, so it may be negative and is never clipped: of the first min(N, M) rows at once, whose error is smaller
    than that of any subsets of them, or, as published, the mean of ``subsets`` draws of ``size`` rows without replacement. The
    interval is from 10 disjoint blocks of rows: overlapping subsets are no independent draws, so their spread is no standard error.

    Args:
        features_real: (N, f).
        features_samples: (M, f).
        subsets: draws; 0 for all rows at once.
        size: rows of each draw.
        seed: of the draws.

    Raises:
        TooFewSamples: fewer than 2 rows.
    """
    x, y = _rows(features_real), _rows(features_samples)
    n = min(len(x), len(y))
    if n < 2:
        raise TooFewSamples(f"{n} samples: a kernel distance needs 2")
    rng = np.random.default_rng(seed)
    if subsets == 0 or n <= size:
        value, drawn = polynomial_mmd(x[:n], y[:n]), {"subsets": 1, "subset_size": n}
    else:
        draws = [(rng.permutation(len(x))[:size], rng.permutation(len(y))[:size]) for _ in range(subsets)]
        value = float(np.mean([polynomial_mmd(x[a], y[b]) for a, b in draws]))
        drawn = {"subsets": subsets, "subset_size": size}
    interval = None
    if n >= 10 * BLOCKS:
        interval = _from_blocks(value, [polynomial_mmd(x[a], y[b]) for a, b in _blocks(n)])
    return Measured(value, interval, provenance={"n": n, "dimensions": x.shape[1], "kernel": "polynomial 3", **drawn})


def polynomial_mmd(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Unbiased squared MMD of equally many rows (m, f); kernels of ``BLOCK`` rows at a time, so that no m × m matrix is held."""
    m, d = x.shape

    def total(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
        found = 0.0
        for start in range(0, m, BLOCK):
            kernel = a[start : start + BLOCK] @ b.T
            kernel /= d
            kernel += 1
            square = kernel * kernel  # a power of arrays takes ten times as long
            found += float(np.vdot(square, kernel))
        return found

    own = sum(total(a, a) - float((((a * a).sum(1) / d + 1) ** 3).sum()) for a in (x, y)) / (m * (m - 1))
    return own - 2 * total(x, y) / m**2


@dataclass(frozen=True)
class Neighbourhoods:
    """Which points lie in whose ball, the ball of a point reaching to its k-th nearest other.

    Args:
        inside: (M,) in how many balls of real items a sample lies.
        recalled: (N,) whether a real item lies in the ball of some sample.
        covered: (N,) whether the ball of a real item holds a sample.
    """

    inside: Tensor
    recalled: Tensor
    covered: Tensor


def precision(
    features_real: Tensor, features_samples: Tensor, k: int = 3, strict: bool = False, all_rows: bool = False
) -> Measured:
    """Share of samples inside the manifold of real items: in the ball of some real item to its k-th neighbour.

    Kynkäänniemi et al. 2019 (arXiv:1904.06991). Two samples of one distribution do not reach 1 (about 0.7 at k = 3, N = 1,000 in 32
    dimensions), so the ceiling, of other real items, is part of the score. The interval is from 10 disjoint blocks of rows, since
    the balls are as random as what lies in them; without 10 k rows in a block there is none.

    Args:
        features_real: (N, f).
        features_samples: (M, f); the first min(N, M) rows of both are compared.
        k: neighbours, oneself not counted.
        strict: points on the sphere are outside, as in the package prdc; torch-fidelity has them inside.
        all_rows: all N and M rows are compared, as both do.

    Raises:
        TooFewSamples: no more than k rows.
    """
    return _share(features_real, features_samples, k, (strict, all_rows), lambda found: found.inside > 0)


def recall(features_real: Tensor, features_samples: Tensor, k: int = 3, strict: bool = False, all_rows: bool = False) -> Measured:
    """Share of real items inside the manifold of the samples; arguments as of ``precision``."""
    return _share(features_real, features_samples, k, (strict, all_rows), lambda found: found.recalled)


def density(features_real: Tensor, features_samples: Tensor, k: int = 3, strict: bool = False, all_rows: bool = False) -> Measured:
    """In how many balls of real items a sample lies, over k (Naeem et al. 2020, arXiv:2002.09797); may exceed 1.

    Where an outlier's one large ball makes precision 1, it counts here as one ball only. Arguments as of ``precision``.
    """
    return _share(features_real, features_samples, k, (strict, all_rows), lambda found: found.inside.double() / k)


def coverage(features_real: Tensor, features_samples: Tensor, k: int = 3, strict: bool = False, all_rows: bool = False) -> Measured:
    """Share of real items whose ball holds a sample (Naeem et al. 2020); arguments as of ``precision``."""
    return _share(features_real, features_samples, k, (strict, all_rows), lambda found: found.covered)


def neighbourhoods(real: Tensor, samples: Tensor, k: int, strict: bool = False, all_rows: bool = False) -> Neighbourhoods:
    """The four scores' common work, done once for the same features."""
    n = min(len(real), len(samples))
    if n <= k:
        raise TooFewSamples(f"{n} samples have no {k} neighbours each")
    if not all_rows:
        real, samples = real[:n], samples[:n]
    mark = hashlib.sha256(repr((k, strict)).encode())
    for part in (real, samples):
        mark.update(np.ascontiguousarray(np.asarray(part)).tobytes())
    known = _KNOWN.pop(mark.digest(), None) or _neighbourhoods(real, samples, k, strict)
    _KNOWN[mark.digest()] = known  # now the youngest
    if len(_KNOWN) > KEPT:
        del _KNOWN[next(iter(_KNOWN))]
    return known


def _neighbourhoods(features_real: Tensor, features_samples: Tensor, k: int, strict: bool) -> Neighbourhoods:
    real, samples = torch.as_tensor(_rows(features_real)), torch.as_tensor(_rows(features_samples))
    centre = real.mean(0)  # a large common offset would cost distances their digits
    real, samples = real - centre, samples - centre
    own, theirs = radii(real, k), radii(samples, k)
    inside = torch.zeros(len(samples), dtype=torch.int64)
    recalled, covered = [], []
    for start in range(0, len(real), BLOCK):
        rows = slice(start, start + BLOCK)
        distances = _distances(real[rows], samples)
        held = _within(distances, own[rows, None], strict)
        inside += torch.from_numpy(np.count_nonzero(held.numpy(), axis=0))  # a tenth of the time of torch's sum
        covered.append(held.any(1))
        recalled.append(_within(distances, theirs, strict).any(1))
    return Neighbourhoods(inside, torch.cat(recalled), torch.cat(covered))


def _within(distances: Tensor, reach: Tensor, strict: bool) -> Tensor:
    return distances < reach if strict else distances <= reach * (1 + TIE)


def radii(points: Tensor, k: int) -> Tensor:
    """The distance of each point (N, f) to its k-th nearest other, (N,)."""
    found = []
    for start in range(0, len(points), BLOCK):
        distances = _distances(points[start : start + BLOCK], points)
        distances[torch.arange(len(distances)), torch.arange(start, start + len(distances))] = 0.0
        found.append(distances.topk(k + 1, dim=1, largest=False).values[:, k])  # a tenth of the time of kthvalue
    return torch.cat(found)


def memorisation(features_real: Tensor, features_samples: Tensor, features_train: Tensor, chance: float = 0.01) -> Measured:
    """Share of samples that lie nearer to a training item than all but ``chance`` of the held-out items do.

    A model that has learned the distribution scores ``chance``, one that copies its training set 1. The ceiling is the share of
    held-out items that lie as near: above ``chance`` where items of the data repeat. After Meehan et al. 2020 (arXiv:2004.05675),
    who compare the two sets of distances by a rank test. The interval counts the threshold's own noise.

    Args:
        features_real: (N, f) of held-out items.
        features_samples: (M, f).
        features_train: (T, f) of training items.
        chance: the share of held-out items that lie as near.

    Returns:
        ``parts["pairs"]``: the 8 samples nearest to training items, as (sample, training item, distance).

    Raises:
        TooFewSamples: fewer than 2 / chance held-out items, no sample or no training item.
    """
    if not len(features_samples) or not len(features_train):
        raise TooFewSamples("there are no samples to compare with training items, or no training items")
    if len(features_real) < 2 / chance:
        raise TooFewSamples(f"{len(features_real)} held-out items do not tell the nearest {chance:.0%} of them")
    held_out, _ = _nearest(features_real, features_train)
    distance, item = _nearest(features_samples, features_train)
    near = float(torch.quantile(held_out, chance))
    order = distance.argsort()[:PAIRS].tolist()
    pairs = [[index, int(item[index]), float(distance[index])] for index in order]
    share, m, n = float((distance <= near).double().mean()), len(distance), len(held_out)
    half = Z95 * math.sqrt(share * (1 - share) / m + chance * (1 - chance) / n)
    said = {"n": m, "n_held_out": n, "n_train": len(features_train), "chance": chance}
    as_near = float((held_out <= near).double().mean())
    parts = {"pairs": pairs, "threshold": near}
    return Measured(share, (share - half, share + half), floor=1.0, ceiling=as_near, provenance=said, parts=parts)


def inception_score(probabilities_samples: Tensor, probabilities_real: Tensor, resamples: int = 0, splits: int = 1) -> Measured:
    """exp E KL(p(y | x) ‖ p(y)) of the classes that the extractor sees in samples (Salimans et al. 2016, arXiv:1606.03498).

    Between 1 and the number of classes; the ceiling is that of real items. By the data set's own classifier, so it compares models
    on one data set and is not the number that papers give for ImageNet's classes. One split: ten splits of few items are noise;
    ``reference`` has ten, as torch-fidelity, in the order of the samples.

    Raises:
        TooFewSamples: fewer items in a split than classes: no sample could show them all.
    """
    for p in (probabilities_samples, probabilities_real):
        _enough(len(p) // splits, p.shape[1])

    def value(p: Tensor) -> float:
        edges = [k * len(p) // splits for k in range(splits + 1)]
        found = [_score(p[a:b].double()) for a, b in itertools.pairwise(edges)]
        return float(np.mean(found))

    drawn = value(probabilities_samples)
    interval = bootstrap(drawn, lambda rows: value(probabilities_samples[_index(rows)]), len(probabilities_samples), resamples)
    said = {"n": len(probabilities_samples), "classes": probabilities_samples.shape[1], "splits": splits}
    return Measured(drawn, interval, floor=1.0, ceiling=value(probabilities_real[: len(probabilities_samples)]), provenance=said)


def modes_hit(probabilities_samples: Tensor, probabilities_real: Tensor, resamples: int = 0) -> Measured:
    """How many classes of the data samples reach, as the extractor sees them (as of Stacked MNIST, Srivastava et al. 2017).

    A class is reached where its share among samples is at least a tenth of that among real items. ``parts`` has both shares.

    Raises:
        NotApplicable: a single class.
        TooFewSamples: fewer items than classes.
    """
    real, drawn = _class_shares(probabilities_real), _class_shares(probabilities_samples)
    there = real > 0
    classes = probabilities_samples.argmax(1).numpy()

    def reached(rows: Rows) -> float:
        share = np.bincount(classes[rows], minlength=len(real)) / len(rows)
        return float(((share >= real / 10) & there).sum())

    n = len(classes)
    value = reached(np.arange(n))
    interval = bootstrap(value, reached, n, resamples)
    parts = {"real": real.tolist(), "samples": drawn.tolist()}
    said = {"n": n, "classes": int(there.sum())}
    return Measured(value, interval, floor=1.0, ceiling=float(there.sum()), provenance=said, parts=parts)


def modes_kl(probabilities_samples: Tensor, probabilities_real: Tensor, resamples: int = 0) -> Measured:
    """KL(classes of samples ‖ classes of real items) in nats: 0 where samples share the data's proportions.

    A class that no real item has counts as half an item. Raises as ``modes_hit``.
    """
    real = _class_shares(probabilities_real)
    _enough(len(probabilities_samples), len(real))
    classes = probabilities_samples.argmax(1).numpy()

    def value(rows: Rows) -> float:
        drawn = np.bincount(classes[rows], minlength=len(real)) / len(rows)
        there = drawn > 0
        return float((drawn[there] * np.log(drawn[there] / np.maximum(real[there], 0.5 / len(probabilities_real)))).sum())

    n = len(classes)
    found = value(np.arange(n))
    return Measured(found, bootstrap(found, value, n, resamples), ceiling=0.0, provenance={"n": n, "classes": len(real)})


def _share(real: Tensor, samples: Tensor, k: int, how: tuple[bool, bool], pick: Callable[[Neighbourhoods], Tensor]) -> Measured:
    """The mean of what ``pick`` takes from the neighbourhoods, its interval from blocks."""

    def value(a: Tensor, b: Tensor) -> float:
        return float(pick(neighbourhoods(a, b, k, *how)).double().mean())

    n, found = min(len(real), len(samples)), value(real, samples)
    interval = None
    if n >= 10 * k * BLOCKS:
        interval = _from_blocks(found, [value(real[_index(a)], samples[_index(b)]) for a, b in _blocks(n)])
    return Measured(found, interval, provenance={"n": n, "k": k, "strict": how[0], "all_rows": how[1]})


def _blocks(n: int) -> list[tuple[Rows, Rows]]:
    """Disjoint rows of the one and the other side, in a fixed random order: files are often sorted."""
    rng = np.random.default_rng(0)
    return list(zip(*(np.array_split(rng.permutation(n), BLOCKS) for _ in range(2)), strict=True))


def _from_blocks(value: float, found: Sequence[float]) -> tuple[float, float]:
    """value ± Student's t · the standard error that the spread of the blocks' values implies."""
    from scipy.stats import t

    half = float(t.ppf(0.975, len(found) - 1) * np.std(found, ddof=1) / np.sqrt(len(found)))
    return value - half, value + half


def _distances(a: Tensor, b: Tensor) -> Tensor:
    """Euclidean distances (A, B) of centred rows; equal rows are at 0, which products of rounded numbers miss."""
    distances = torch.cdist(a, b, compute_mode=PRODUCTS)
    left, right = a.norm(dim=1), b.norm(dim=1)
    i, j = (distances < SAME * (left.max() + right.max())).nonzero(as_tuple=True)
    equal = distances[i, j] < SAME * (left[i] + right[j])
    distances[i[equal], j[equal]] = 0.0
    return distances


def _enough(n: int, classes: int) -> None:
    if n < max(2, classes):
        raise TooFewSamples(f"{n} items cannot show {classes} classes")


def _rows(features: Tensor) -> NDArray[np.float64]:
    return np.asarray(features, dtype=np.float64)


def _index(rows: Rows) -> Tensor:
    return torch.from_numpy(rows)


def _nearest(points: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """The distance of each point to its nearest target, and which that is."""
    goal = torch.as_tensor(_rows(targets))
    centre = goal.mean(0)
    parts = [_distances(torch.as_tensor(_rows(part)) - centre, goal - centre).min(1) for part in points.split(BLOCK)]
    return torch.cat([part.values for part in parts]), torch.cat([part.indices for part in parts])


def _score(p: Tensor) -> float:
    p = p.clamp(min=1e-16)
    return float((p * (p.log() - p.mean(0).log())).sum(1).mean().exp())


def _class_shares(probabilities: Tensor) -> NDArray[np.float64]:
    if probabilities.shape[1] < 2:
        raise NotApplicable("the data has a single class")
    _enough(len(probabilities), probabilities.shape[1])
    counts = np.bincount(probabilities.argmax(1).numpy(), minlength=probabilities.shape[1])
    return counts / len(probabilities)
