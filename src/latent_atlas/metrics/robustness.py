"""Does it hold beyond what was trained on? The gap to training items, codes and reconstructions under noise on the input."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latent_atlas.metrics.intervals import refitted
from latent_atlas.metrics.probes import ESTIMATORS, READERS, SUBSET, accuracy, prepared, standardised
from latent_atlas.metrics.reconstruction import squared_errors
from latent_atlas.metrics.result import Z95, Measured, NotApplicable, mean_of


def generalization_gap(x: Tensor, recon: Tensor, x_train: Tensor, recon_train: Tensor) -> Measured:
    """Held-out minus training mean squared error: above 0, training items were learned by heart to that extent.

    The ceiling is 0; the floor that of training items known by heart and their mean answered to all others. ``share`` in the parts
    is the gap as a share of the held-out error.

    Args:
        x: (N, *shape) held-out items.
        recon: (N, *shape) their reconstructions.
        x_train: (M, *shape) training items.
        recon_train: (M', *shape) reconstructions of the first M' ≤ M of them.
    """
    held, seen = squared_errors(x, recon), squared_errors(x_train[: len(recon_train)], recon_train)
    value = float(held.mean() - seen.mean())
    variance = sum(float(part.var(correction=1)) / len(part) for part in (held, seen)) if min(len(held), len(seen)) > 1 else None
    half = None if variance is None else Z95 * math.sqrt(variance)
    parts = {"held_out": float(held.mean()), "train": float(seen.mean())}
    parts["share"] = value / parts["held_out"] if parts["held_out"] > 0 else 0.0
    interval = None if half is None else (value - half, value + half)
    mean = x_train[: len(recon_train)].double().mean(0, keepdim=True)
    by_heart = float(squared_errors(x, mean.to(recon.dtype).expand(x.shape)).mean())
    return Measured(value, interval, by_heart, 0.0, {"n": len(held), "n_train": len(seen)}, parts)


def denoising_mse(
    x: Tensor,
    recon: Tensor,
    noisy_codes: Mapping[float, Tensor],
    decode: Callable[[Tensor], Tensor],
    seed: int = 0,
    sigma: float = 0.2,
    batch_size: int = 500,
) -> Measured:
    """Mean squared error of reconstructing a clean item from its code under Gaussian noise of standard deviation ``sigma``.

    The floor is the error of a noisy item itself, the ceiling that of reconstructing from the clean item. The parts hold both
    curves over all strengths of noise.

    Args:
        x: (N, *shape); images (N, C, H, W) lie in [0, 1] and noisy ones are clamped to it.
        recon: (N, *shape) reconstructions without noise.
        noisy_codes: sigma to the codes (N', d) of the first N' ≤ N items under noise.
        decode: codes -> mean.
        seed: of the noise of the floor.
        sigma: the strength of noise that is reported, in units of x; the nearest that there is.
        batch_size: of each pass.
    """
    sigma = nearest_strength(noisy_codes, sigma)
    n = len(noisy_codes[sigma])
    x, errors = x[:n].float(), {0.0: squared_errors(x[:n], recon[:n])}
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed))
    own = {0.0: 0.0}
    for strength, codes in sorted(noisy_codes.items()):
        shaken = x + strength * noise
        own[strength] = float(squared_errors(x, shaken.clamp(0, 1) if x.dim() == 4 else shaken).mean())
        errors[strength] = squared_errors(x, torch.cat([decode(part) for part in codes.split(batch_size)]))
    found = mean_of(errors[sigma], own[sigma], sigma=sigma)
    denoised = {str(key): float(part.mean()) for key, part in errors.items()}
    parts = {"denoised": denoised, "noisy": {str(key): error for key, error in own.items()}}
    return Measured(found.value, found.interval, found.floor, denoised["0.0"], found.provenance, parts)


def latent_shift(codes: Tensor, noisy_codes: Mapping[float, Tensor], sigma: float = 0.1) -> Measured:
    """How far noise of standard deviation ``sigma`` on the input moves a code, in units of the distance of two random codes.

    sqrt(E|z' − z|² / E|z_i − z_j|²): 0 is not at all, and the floor, 1, as far as to the code of any other item. The parts hold the
    curve over all strengths of noise.

    Args:
        codes: (N, d).
        noisy_codes: sigma to the codes (N', d) of the first N' ≤ N items under noise.
        sigma: the strength of noise that is reported; the nearest that there is.

    Raises:
        NotApplicable: no noisy codes, or all codes alike.
    """
    sigma = nearest_strength(noisy_codes, sigma)
    clean = codes[: len(noisy_codes[sigma])].double()
    apart = 2 * float(clean.var(0, correction=1).sum()) if len(clean) > 1 else 0.0
    if not apart > 0:
        raise NotApplicable("all codes are alike")
    moved = {key: (noisy.double() - clean).square().sum(1) / apart for key, noisy in sorted(noisy_codes.items())}
    squared = mean_of(moved[sigma])
    low, high = squared.interval or (squared.value, squared.value)
    interval = (math.sqrt(max(0.0, low)), math.sqrt(high)) if squared.interval else None
    curve = {str(key): math.sqrt(float(part.mean())) for key, part in moved.items()}
    return Measured(math.sqrt(squared.value), interval, 1.0, 0.0, {"n": len(clean), "sigma": sigma}, {"shift": curve})


def probe_under_noise(
    codes: Tensor,
    noisy_codes: Mapping[float, Tensor],
    codes_train: Tensor | None = None,
    labels: Tensor | None = None,
    labels_train: Tensor | None = None,
    factors: Tensor | None = None,
    factors_train: Tensor | None = None,
    factor_names: Sequence[str] | None = None,
    factor_sizes: Sequence[int] | None = None,
    sigma: float = 0.1,
    ladder: str = "linear",
    limit: int = 5000,
    refits: int = 0,
    seed: int = 0,
) -> Measured:
    """Accuracy of a probe that learned from codes of clean items on codes of noisy ones, as ``probes.probe`` otherwise.

    The parts hold the curve over all strengths of noise, that without noise first.
    """
    if codes_train is None:
        raise NotApplicable("there are no training items to learn from")
    sigma = nearest_strength(noisy_codes, sigma)
    codes, n = codes[: len(noisy_codes[sigma])], len(noisy_codes[sigma])
    labels, factors = labels if labels is None else labels[:n], factors if factors is None else factors[:n]
    known = (labels, labels_train, factors, factors_train, factor_names)
    _, test, targets = prepared(codes, codes_train, *known, limit, factor_sizes=factor_sizes)
    strengths = [0.0, *sorted(noisy_codes)]
    tests = [codes[: len(test)], *(noisy_codes[key][: len(test)] for key in sorted(noisy_codes))]
    train, *shaken = standardised(codes_train[:limit], *tests)
    curves, rng = [], np.random.default_rng(seed)
    for fit in range(refits if refits > 1 else 1):
        rows = rng.permutation(len(train))[: round(SUBSET * len(train))] if refits > 1 else np.arange(len(train))
        picks = torch.from_numpy(rng.integers(0, len(test), len(test)) if refits > 1 else np.arange(len(test)))
        found = READERS[ladder](train, targets, rows, shaken, seed + fit)
        curves.append([np.mean([accuracy(a[picks], t.test[picks]) for a, t in zip(each, targets, strict=True)]) for each in found])
    at = strengths.index(sigma)
    value, interval = refitted([float(curve[at]) for curve in curves])
    curve = {str(key): float(score) for key, score in zip(strengths, np.mean(curves, axis=0), strict=True)}
    provenance: dict[str, Any] = {"n": len(test), "trained_on": len(train), "estimator": ESTIMATORS[ladder]}
    provenance |= {"sigma": sigma, "refits": refits}
    floor = float(np.mean([target.chance for target in targets]))
    return Measured(value, interval, floor, curve["0.0"], provenance, {"accuracy": curve})


def nearest_strength(noisy_codes: Mapping[float, Tensor], sigma: float) -> float:
    """The strength of noise that there is nearest to the one asked for."""
    if not noisy_codes:
        raise NotApplicable("no strength of noise is set (evaluation.noise)")
    return min(noisy_codes, key=lambda key: abs(key - sigma))
