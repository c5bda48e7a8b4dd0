"""How much of an observation survives the way through the latent space. Images are in [0, 1]."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from latent_atlas.metrics.result import Measured, NotApplicable, mean_of

CHUNK = 512
SSIM_WINDOW = 11  # Wang et al. 2004: an 11 × 11 Gaussian window of scale 1.5


def squared_errors(x: Tensor, recon: Tensor) -> Tensor:
    """The mean squared error of each item, (N,), in squared units of x."""
    if x.shape != recon.shape:
        raise ValueError(f"x is {tuple(x.shape)}, its reconstruction {tuple(recon.shape)}")
    pairs = zip(x.split(CHUNK), recon.split(CHUNK), strict=True)  # a float64 copy of everything would triple the memory
    return torch.cat([(a.double() - b.double()).square().flatten(1).mean(1) for a, b in pairs])


def mse(x: Tensor, recon: Tensor) -> Measured:
    """Mean squared error over items and entries; its floor is the error of answering the mean item to everything."""
    errors = squared_errors(x, recon)
    return mean_of(errors, floor=float(x.float().var(0, correction=0).mean()) if len(x) > 1 else None)


def psnr(x: Tensor, recon: Tensor, data_range: float = 1.0) -> Measured:
    """Peak signal-to-noise ratio, 10 log10(range² / MSE) in dB, of the mean squared error over all items.

    Raises:
        NotApplicable: the reconstruction is exact, where the ratio is infinite.
    """
    error = mse(x, recon)

    def decibels(value: float) -> float:
        return 10 * math.log10(data_range**2 / value)

    if error.value <= 0:
        raise NotApplicable("the reconstruction is exact: the ratio is infinite")
    low, high = error.interval or (0.0, 0.0)
    interval = (decibels(high), decibels(low)) if low > 0 else None
    floor = decibels(error.floor) if error.floor else None
    return Measured(decibels(error.value), interval, floor, provenance={**error.provenance, "data_range": data_range})


def ssim(x: Tensor, recon: Tensor, batch_size: int = 250) -> Measured:
    """Structural similarity (Wang et al. 2004) of images (N, C, H, W), reconstructions clipped to [0, 1]; by torchmetrics.

    Raises:
        NotApplicable: an image smaller than the window.
    """
    side = min(x.shape[-2:])
    if side < SSIM_WINDOW:
        raise NotApplicable(f"images of {side} px are smaller than the {SSIM_WINDOW} px window")
    if float(x.min()) < 0 or float(x.max()) > 1:
        raise ValueError(f"images must lie in [0, 1]; these reach from {float(x.min()):.3g} to {float(x.max()):.3g}")
    from torchmetrics.functional.image import structural_similarity_index_measure

    # Item by item where the last batch would leave a single one: torchmetrics then returns a scalar.
    parts = [
        structural_similarity_index_measure(b.clamp(0, 1), a, data_range=1.0, reduction="none").reshape(-1)
        for a, b in zip(x.split(batch_size), recon.split(batch_size), strict=True)
    ]
    return mean_of(torch.cat(parts), window=SSIM_WINDOW)
