"""The Fréchet distance of two Gaussians fitted to features (Heusel et al. 2017, arXiv:1706.08500), in float64.

    d² = |m₁ − m₂|² + tr(S₁ + S₂ − 2 (S₁^½ S₂ S₁^½)^½)

Unbiased covariances, nothing added to their diagonals. The estimate is biased upwards by about 1/N and is meaningless below
N = 2 d, so N stands in the score's key and fewer samples are refused.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latent_atlas.metrics.intervals import bootstrap
from latent_atlas.metrics.result import Measured, TooFewSamples

Array = NDArray[np.float64]
ROUNDING = 1e-12  # of the traces: what is left of equal sets
WIDE, PATIENT = 256, 100  # dimensions; resamples from which wider features are resampled too


@dataclass(frozen=True)
class Moments:
    """Mean (d,) and unbiased covariance (d, d) of n feature rows."""

    mean: Array
    cov: Array
    n: int


def moments(features: Tensor | NDArray[np.floating]) -> Moments:
    """The moments of features (N, d), N ≥ 2."""
    values = np.asarray(features, dtype=np.float64)
    if len(values) < 2:
        raise TooFewSamples(f"a covariance needs 2 samples, there is {len(values)}")
    mean = values.mean(0)
    centred = values - mean
    return Moments(mean, centred.T @ centred / (len(values) - 1), len(values))


def frechet_distance(a: Moments, b: Moments) -> float:
    """d² of two Gaussians; 0 where it is no more than rounding."""
    shift = a.mean - b.mean
    spread = float(np.trace(a.cov) + np.trace(b.cov))
    distance = float(shift @ shift) + spread - 2 * _cross(a.cov, b.cov)
    return distance if distance > ROUNDING * spread else 0.0


def _cross(a: Array, b: Array) -> float:
    """tr (A^½ B A^½)^½ of two covariances (d, d): the roots of the eigenvalues of A B, which are those of a symmetric matrix."""
    from scipy.linalg import lapack

    # Of Lᵀ A L, L Lᵀ = B: no inverse, no vectors. The product by LAPACK, which knows that it is symmetric; the eigenvalues by
    # torch's, twice as fast as scipy's from a thousand dimensions on. Transposed, symmetric matrices lie as LAPACK reads them.
    factor, singular = lapack.dpotrf(b.T, lower=1, clean=0)
    if not singular:
        product = lapack.dsygst(a.T, factor, itype=2, lower=1)[0]
        values = torch.linalg.eigvalsh(torch.from_numpy(product), UPLO="L").numpy()
    else:  # as with fewer samples than dimensions
        values, vectors = np.linalg.eigh(a)
        root = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
        values = np.linalg.eigvalsh(root @ b @ root)
    return float(np.sqrt(values.clip(min=0)).sum())


def frechet(real: Tensor, other: Tensor) -> float:
    """The Fréchet distance of features (N, d) and (M, d).

    Raises:
        TooFewSamples: N or M below 2 d.
    """
    n, d = min(len(real), len(other)), real.shape[1]
    if n < 2 * d:
        raise TooFewSamples(f"{n} samples are below 2·d = {2 * d} of the extractor")
    return frechet_distance(moments(real), moments(other))


def fid(features_real: Tensor, features_samples: Tensor, resamples: int = 0) -> Measured:
    """Fréchet distance of draws of the model from held-out items."""
    return _against(features_real, features_samples, resamples)


def fid_recon(features_real: Tensor, features_recon: Tensor, resamples: int = 0) -> Measured:
    """Fréchet distance of reconstructions from the items that were reconstructed."""
    return _against(features_real, features_recon, resamples)


def _against(real: Tensor, drawn: Tensor, resamples: int) -> Measured:
    n, d = min(len(real), len(drawn)), real.shape[1]
    value = frechet(real[:n], drawn[:n])
    # A distance of 2,048 dimensions costs seconds; the interval of one is left to the larger budgets' patience.
    cheap = resamples if d <= WIDE or resamples > PATIENT else 0
    left, right = (np.asarray(features[:n], np.float64) for features in (real, drawn))
    interval = bootstrap(value, lambda rows: frechet_distance(moments(left[rows]), moments(right[rows])), n, cheap)
    parts = {}
    if resamples and not cheap:
        parts["no_interval"] = f"none: each resample of {d} dimensions takes seconds; from {PATIENT + 1} resamples on (budget full)"
    return Measured(value, interval, provenance={"n": n, "dimensions": d}, parts=parts)
