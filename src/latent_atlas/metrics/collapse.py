"""Does the code carry anything? Units in use, information about the item, codebook entries in use, modes that samples reach."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latent_atlas.metrics.distances import PRODUCTS
from latent_atlas.metrics.intervals import bootstrap
from latent_atlas.metrics.likelihood import DEAD, PosteriorArrays
from latent_atlas.metrics.result import Z95, Measured, NotApplicable, TooFewSamples, mean_of

FITTED = 2000  # items that k-means sees; all are counted


def active_units(codes: Tensor, threshold: float = 0.01, resamples: int = 0, seed: int = 0) -> Measured:
    """Dimensions whose posterior mean varies over items, Var_x E[z_j | x] > 0.01 (Burda et al. 2016, appendix C).

    The threshold is in units of a standard normal prior: the codes of an autoencoder have no such scale. The codes are modes, which
    are the means of normal posteriors.

    Args:
        codes: (N, d).
        threshold: of the variance.
        resamples: of items, for the interval.
        seed: of the resamples.
    """
    if len(codes) < 2:
        raise TooFewSamples("a variance needs 2 items")
    rows = codes.double()
    variance = rows.var(0, correction=1)
    value = float((variance > threshold).sum())
    provenance = {"n": len(codes), "threshold": threshold}
    interval = bootstrap(value, lambda some: float((rows[some].var(0) > threshold).sum()), len(rows), resamples, seed)
    return Measured(value, interval, 0.0, float(codes.shape[1]), provenance, {"variance": variance.tolist()})


def kl_per_dimension(posterior: PosteriorArrays) -> Measured:
    """Mean over dimensions of KL(q(z_j | x) || p(z_j)) in nats; the parts hold each of them, and how many carry less than 0.01.

    Where the code falls into other parts (circles, spheres, categorical variables, factors of a product, z2 and z1 given z2 of a
    ladder) it is theirs.
    """
    found = posterior.kl_per_dimension
    if found is None:
        raise NotApplicable("no KL per dimension: there is no posterior, or it and the prior do not fall into dimensions")
    parts = {"dimension": found.tolist(), "dead": int((found < DEAD).sum()), "dimensions": len(found)}
    interval = mean_of(posterior.kl / len(found)).interval if posterior.kl is not None else None
    return Measured(float(found.double().mean()), interval, 0.0, provenance={"dimensions": len(found)}, parts=parts)


def latent_information(posterior_log_density: Tensor, posterior: PosteriorArrays | None = None) -> Measured:
    """I(x; z) = E[log q(z | x) − log 1/N Σ_j q(z | x_j)] in nats under the aggregate posterior (Hoffman & Johnson 2016).

    One draw z_i of each q(z | x_i), held against the posteriors of all N items, its own among them. It cannot exceed log N, the
    ceiling; near it, it is a lower bound. The rate of the same items is I plus the KL of the aggregate posterior from the prior,
    which the parts hence bound from above.

    Args:
        posterior_log_density: (N, N) log q(z_i | x_j) in nats.
        posterior: for the rate.
    """
    n = len(posterior_log_density)
    if n < 2:
        raise TooFewSamples("an aggregate posterior needs 2 items")
    density = posterior_log_density.double()
    terms = density.diagonal() - (density.logsumexp(1) - math.log(n))
    found = mean_of(terms, estimator="aggregate over N")
    rate = posterior.kl[:n].double().mean() if posterior is not None and posterior.kl is not None else None
    parts: dict[str, Any] = {"saturation": found.value / math.log(n)}
    if rate is not None:
        parts |= {"rate": float(rate), "kl_of_aggregate_at_most": float(rate) - found.value}
    return Measured(found.value, found.interval, 0.0, math.log(n), found.provenance, parts)


def codebook_use(indices: Tensor, codebook_size: int, resamples: int = 0, seed: int = 0) -> Measured:
    """Share of codebook entries that held-out items use at least once.

    Args:
        indices: (N, ...) int64.
        codebook_size: entries; the ceiling is what the number of indices allows.
        resamples: of items, for the interval.
        seed: of the resamples.
    """
    counts = np.bincount(indices.reshape(-1).numpy(), minlength=codebook_size)
    if len(counts) > codebook_size:
        raise ValueError(f"an index of {len(counts) - 1} is none of a codebook of {codebook_size} entries")
    used = int((counts > 0).sum())
    provenance = {"n": len(indices), "entries": codebook_size}
    ceiling, entries = min(1.0, indices.numel() / codebook_size), indices.reshape(len(indices), -1).numpy()
    value = used / codebook_size
    interval = bootstrap(value, lambda some: len(np.unique(entries[some])) / codebook_size, len(entries), resamples, seed)
    return Measured(value, interval, floor=1 / codebook_size, ceiling=ceiling, provenance=provenance, parts={"used": used})


def codebook_perplexity(indices: Tensor, codebook_size: int | None = None, resamples: int = 0, seed: int = 0) -> Measured:
    """exp of the entropy of codebook entries over held-out items: how many entries in equal use would say as much.

    Plug-in, hence too low where there are fewer indices than entries. 1 is collapse; the ceiling is the codebook's size.

    Args:
        indices: (N, ...) int64.
        codebook_size: entries.
        resamples: of items, for the interval.
        seed: of the resamples.
    """
    entries = indices.reshape(len(indices), -1).numpy()

    def perplexity(rows: Any) -> float:
        counts = np.bincount(entries[rows].reshape(-1))
        p = counts[counts > 0] / counts.sum()
        return float(np.exp(-(p * np.log(p)).sum()))

    value = perplexity(slice(None))
    ceiling = None if codebook_size is None else float(codebook_size)
    interval = bootstrap(value, perplexity, len(entries), resamples, seed)
    return Measured(value, interval, 1.0, ceiling, {"n": len(entries), "entries": codebook_size})


def mode_coverage(
    features_real: Tensor,
    features_samples: Tensor,
    features_other: Tensor | None = None,
    modes: int = 50,
    resamples: int = 0,
    seed: int = 0,
) -> Measured:
    """Share of the data's modes that samples reach: cells of k-means on real features (after Richardson & Weiss 2018).

    A mode is reached where the share of samples in it is at least a quarter of that of real items. The floor is one mode, the
    ceiling what other real items reach. The parts say how many cells hold too few and too many beyond chance (5 %).

    Args:
        features_real: (M, f) of held-out items.
        features_samples: (M, f) of draws of the model.
        features_other: (M, f) of other real items.
        modes: cells, at most a tenth of M.
        resamples: of samples, for the interval.
        seed: of k-means and resamples.

    Raises:
        TooFewSamples: fewer than 100 items.
    """
    from sklearn.cluster import KMeans

    n = min(len(features_real), len(features_samples))
    if n < 100:
        raise TooFewSamples(f"{n} samples are too few to find modes in")
    real = features_real[:n].float()
    cells = min(modes, n // 10)
    fitted = KMeans(cells, n_init=1, random_state=seed).fit(real[:FITTED].numpy())
    centres = torch.from_numpy(fitted.cluster_centers_)

    def cell(features: Tensor) -> Tensor:
        return torch.cdist(features[:n].float(), centres, compute_mode=PRODUCTS).argmin(1)

    def shares(index: Tensor) -> Tensor:
        return torch.bincount(index, minlength=cells).double() / n

    expected, hit = shares(cell(real)), cell(features_samples)
    drawn = shares(hit)
    reached = drawn >= expected / 4
    pooled = (expected + drawn) / 2
    z = (drawn - expected) / (2 * pooled * (1 - pooled) / n).sqrt().clamp(min=1e-12)
    value = float(reached.double().mean())
    interval = bootstrap(value, lambda some: float((shares(hit[some]) >= expected / 4).double().mean()), n, resamples, seed)
    best = float((shares(cell(features_other)) >= expected / 4).double().mean()) if features_other is not None else 1.0
    parts = {"reached": int(reached.sum()), "modes": cells, "too_few": int((z < -Z95).sum()), "too_many": int((z > Z95).sum())}
    return Measured(value, interval, 1 / cells, best, {"n": n, "modes": cells}, parts)


def sparsity(codes: Tensor, seed: int = 0) -> Measured:
    """How few dimensions each item uses: the mean of (√d − |z|₁ / |z|₂) / (√d − 1), 0 for equal sizes, 1 for a single one.

    The floor is that of standard normal codes of the same width. Parts: ``zeros`` is the share of entries that are exactly 0,
    ``dead`` of dimensions that are so for every item, ``lifetime`` the same measure along items, the mean over other dimensions.

    Args:
        codes: (N, d).
        seed: of the normal codes.

    Raises:
        NotApplicable: a single dimension, or no code that is not 0.
    """
    z, d = codes.double(), codes.shape[1]
    dead = (z == 0).all(0)
    if d < 2 or bool(dead.all()):
        raise NotApplicable("one dimension is neither sparse nor dense" if d < 2 else "all codes are 0")
    normal = torch.randn(1000, d, generator=torch.Generator().manual_seed(seed), dtype=z.dtype)
    parts = {"zeros": float((z == 0).double().mean()), "dead": float(dead.double().mean())}
    if len(z) > 1:
        parts["lifetime"] = float(hoyer(z[:, ~dead].T).mean())
    found = mean_of(hoyer(z))
    return Measured(found.value, found.interval, float(hoyer(normal).mean()), 1.0, found.provenance, parts)


def hoyer(rows: Tensor) -> Tensor:
    """Hoyer's sparseness of each row (N, d), (N,); a row of zeros uses nothing and has 1."""
    root = math.sqrt(rows.shape[1])
    lengths = rows.square().sum(1).sqrt()
    ratio = rows.abs().sum(1) / lengths.where(lengths > 0, 1.0)
    return (root - ratio.where(lengths > 0, 1.0)) / (root - 1)
