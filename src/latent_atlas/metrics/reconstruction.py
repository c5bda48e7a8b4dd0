"""How much of an observation survives the way through the latent space. Images are in [0, 1]."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from latent_atlas.metrics.result import Measured, NotApplicable, mean_of

CHUNK = 512
WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # of the scales, finest first; Wang et al. 2003
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


def mae(x: Tensor, recon: Tensor) -> Measured:
    """Mean absolute error over items and entries."""
    if x.shape != recon.shape:
        raise ValueError(f"x is {tuple(x.shape)}, its reconstruction {tuple(recon.shape)}")
    pairs = zip(x.split(CHUNK), recon.split(CHUNK), strict=True)
    return mean_of(torch.cat([(a.double() - b.double()).abs().flatten(1).mean(1) for a, b in pairs]))


def ms_ssim(x: Tensor, recon: Tensor, batch_size: int = 250) -> Measured:
    """Structural similarity over scales (Wang et al. 2003, doi:10.1109/ACSSC.2003.1292216), reconstructions clipped to [0, 1].

    As published it halves an image four times under an 11 px window and so needs 161 px. Here: as many of the published five
    scales and weights (made to sum to 1) as leave a side of at least the window, which is 7 px below 161 px (Gaussian of scale
    1.5): 3 scales at 28 and 32 px, 4 at 64 px. Both are part of the provenance, since another kernel is another score.

    Raises:
        NotApplicable: images of fewer than 14 px, which have but one scale.
    """
    side = min(x.shape[-2:])
    window = SSIM_WINDOW if side >= 161 else 7
    scales = 1 + sum(side // 2**k >= window for k in range(1, len(WEIGHTS)))
    if scales < 2 or side < window:
        raise NotApplicable(f"images of {side} px have a single scale under a {window} px window")
    if float(x.min()) < 0 or float(x.max()) > 1:
        raise ValueError(f"images must lie in [0, 1]; these reach from {float(x.min()):.3g} to {float(x.max()):.3g}")
    from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

    weights = tuple(weight / sum(WEIGHTS[:scales]) for weight in WEIGHTS[:scales])
    parts = [
        multiscale_structural_similarity_index_measure(
            b.clamp(0, 1), a, kernel_size=window, data_range=1.0, betas=weights, normalize="relu", reduction="none"
        ).reshape(-1)
        for a, b in zip(x.split(batch_size), recon.split(batch_size), strict=True)
    ]
    return mean_of(torch.cat(parts), window=window, scales=scales)


def lpips(x: Tensor, recon: Tensor, net: str = "alex", batch_size: int = 64) -> Measured:
    """Distance of deep features (Zhang et al. 2018, arXiv:1801.03924), v0.1 weights, images in [-1, 1]; by the package ``lpips``.

    Raises:
        NotApplicable: the package or the backbone's weights are not installed; random weights would give a random score.
    """
    try:
        from lpips import LPIPS  # type: ignore[import-not-found]
    except ImportError as error:
        raise NotApplicable("needs the package lpips and its backbone's weights (pip install lpips)") from error
    from pathlib import Path

    cache = Path(torch.hub.get_dir()) / "checkpoints"
    if not list(cache.glob(f"{net}*.pth")):
        raise NotApplicable(f"needs the weights of {net}, which are not under {cache}")
    model = LPIPS(net=net, version="0.1", verbose=False).eval()
    pairs = zip(x.split(batch_size), recon.split(batch_size), strict=True)
    with torch.inference_mode():
        found = [model(_rgb(a), _rgb(b)).reshape(-1) for a, b in pairs]
    return mean_of(torch.cat(found), floor=None, net=net, version="0.1")


def _rgb(images: Tensor) -> Tensor:
    scaled = images.clamp(0, 1) * 2 - 1
    return scaled.expand(-1, 3, -1, -1) if images.shape[1] == 1 else scaled[:, :3]
