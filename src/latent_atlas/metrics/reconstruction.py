"""How much of an observation survives the way through the latent space. Images are in [0, 1]."""

from __future__ import annotations

import hashlib
import math
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from latent_atlas.metrics.result import Measured, NotApplicable, mean_of

CHUNK = 512
WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # of the scales, finest first; Wang et al. 2003
SSIM_WINDOW = 11  # Wang et al. 2004: an 11 × 11 Gaussian window of scale 1.5
SMALL_WINDOW = 7  # the largest that leaves images of 28 px three scales
C1, C2 = 0.01**2, 0.03**2  # against division by 0, for a range of 1; Wang et al. 2004
LEAST_SIDE = {"alex": 31, "vgg": 16, "squeeze": 17}  # px: smaller images leave the last layers of a backbone nothing


def squared_errors(x: Tensor, recon: Tensor) -> Tensor:
    """The mean squared error of each item, (N,), in squared units of x."""
    same_shape(x, recon)
    pairs = zip(x.split(CHUNK), recon.split(CHUNK), strict=True)  # a float64 copy of everything would triple the memory
    return torch.cat([(a.double() - b.double()).square().flatten(1).mean(1) for a, b in pairs])


def in_range(x: Tensor, low: float = 0.0, high: float = 1.0) -> None:
    """Raises ``ValueError`` where images leave [low, high]: of other units every score that knows a range is wrong in silence."""
    if float(x.min()) < low or float(x.max()) > high:
        raise ValueError(f"images must lie in [{low:g}, {high:g}]; these reach from {float(x.min()):.3g} to {float(x.max()):.3g}")


def same_shape(x: Tensor, recon: Tensor) -> None:
    """Raises ``ValueError`` for a reconstruction of another shape."""
    if x.shape != recon.shape:
        raise ValueError(f"x is {tuple(x.shape)}, its reconstruction {tuple(recon.shape)}")


def mse(x: Tensor, recon: Tensor) -> Measured:
    """Mean squared error over items and entries; its floor is the error of answering the mean item to everything."""
    errors = squared_errors(x, recon)
    return mean_of(errors, floor=float(x.float().var(0, correction=0).mean()) if len(x) > 1 else None)


def psnr(x: Tensor, recon: Tensor, data_range: float = 1.0) -> Measured:
    """Peak signal-to-noise ratio, 10 log10(range² / MSE) in dB, of the mean squared error over all items.

    Args:
        x: (N, C, H, W) in [0, data_range].
        recon: of the same shape.
        data_range: the largest value that a pixel may have.

    Raises:
        ValueError: images of another range.
        NotApplicable: the reconstruction is exact, where the ratio is infinite.
    """
    error = mse(x, recon)
    in_range(x, 0.0, data_range)

    def decibels(value: float) -> float:
        return 10 * math.log10(data_range**2 / value)

    if error.value <= 0:
        raise NotApplicable("the reconstruction is exact: the ratio is infinite")
    low, high = error.interval or (0.0, 0.0)
    interval = (decibels(high), decibels(low)) if low > 0 else None
    floor = decibels(error.floor) if error.floor else None
    return Measured(decibels(error.value), interval, floor, provenance={**error.provenance, "data_range": data_range})


def ssim(x: Tensor, recon: Tensor, batch_size: int = 64) -> Measured:
    """Structural similarity (Wang et al. 2004) of images (N, C, H, W), reconstructions clipped to [0, 1].

    An 11 px Gaussian window of scale 1.5, images continued by reflection so that every pixel has one (as torchmetrics).

    Raises:
        NotApplicable: an image smaller than the window.
    """
    side = min(x.shape[-2:])
    if side < SSIM_WINDOW:
        raise NotApplicable(f"images of {side} px are smaller than the {SSIM_WINDOW} px window")
    same_shape(x, recon)
    in_range(x)
    edge = [SSIM_WINDOW // 2] * 4
    parts = [
        _similarities(F.pad(a.double(), edge, mode="reflect"), F.pad(b.double().clamp(0, 1), edge, mode="reflect"), SSIM_WINDOW)[1]
        for a, b in zip(x.split(batch_size), recon.split(batch_size), strict=True)
    ]
    return replace(mean_of(torch.cat(parts), window=SSIM_WINDOW), ceiling=1.0)


def mae(x: Tensor, recon: Tensor) -> Measured:
    """Mean absolute error over items and entries."""
    same_shape(x, recon)
    pairs = zip(x.split(CHUNK), recon.split(CHUNK), strict=True)
    return mean_of(torch.cat([(a.double() - b.double()).abs().flatten(1).mean(1) for a, b in pairs]))


def ms_ssim(x: Tensor, recon: Tensor, batch_size: int = 64) -> Measured:
    """Structural similarity over scales (Wang et al. 2003, doi:10.1109/ACSSC.2003.1292216), reconstructions clipped to [0, 1].

    As published it halves an image four times under an 11 px window and so needs 176 px. Here: as many of the published five
    scales and weights (made to sum to 1) as leave a side of at least the window, which is 7 px below 176 px (Gaussian of scale
    1.5, only where it lies wholly inside): 3 scales at 28 and 32 px, 4 at 64 px. Both are part of the provenance, since another
    kernel is another score. Negative similarities count as 0. (torchmetrics takes 11 px whatever window it is given.)

    Raises:
        NotApplicable: images of fewer than 14 px, which have but one scale.
    """
    side = min(x.shape[-2:])
    window = SSIM_WINDOW if side >= SSIM_WINDOW * 2 ** (len(WEIGHTS) - 1) else SMALL_WINDOW
    scales = min(len(WEIGHTS), 1 + sum(side // 2**k >= window for k in range(1, len(WEIGHTS))))
    if scales < 2 or side < window:
        raise NotApplicable(f"images of {side} px have a single scale under a {window} px window")
    same_shape(x, recon)
    in_range(x)
    weights = torch.tensor(WEIGHTS[:scales], dtype=torch.float64)
    weights /= weights.sum()
    parts = []
    for a, b in zip(x.split(batch_size), recon.split(batch_size), strict=True):
        a, b, factors = a.double(), b.double().clamp(0, 1), []
        for scale in range(scales):
            contrast, whole = _similarities(a, b, window)
            factors.append(whole if scale == scales - 1 else contrast)
            a, b = F.avg_pool2d(a, 2), F.avg_pool2d(b, 2)
        parts.append((torch.stack(factors, 1).clamp(min=0) ** weights).prod(1))
    return replace(mean_of(torch.cat(parts), window=window, scales=scales), ceiling=1.0)


def _similarities(a: Tensor, b: Tensor, window: int) -> tuple[Tensor, Tensor]:
    """The mean over windows of contrast and structure, and of these times luminance, each (B,); float64 images (B, C, H, W)."""
    down, across = _bell(a.shape[-2], window), _bell(a.shape[-1], window).T

    def blurred(images: Tensor) -> Tensor:
        return (down @ images @ across).flatten(2)

    mean_a, mean_b = blurred(a), blurred(b)
    var_a, var_b = (blurred(i * i) - m * m for i, m in ((a, mean_a), (b, mean_b)))
    contrast = (2 * (blurred(a * b) - mean_a * mean_b) + C2) / (var_a + var_b + C2)
    luminance = (2 * mean_a * mean_b + C1) / (mean_a * mean_a + mean_b * mean_b + C1)
    return contrast.mean((1, 2)), (luminance * contrast).mean((1, 2))


def _bell(side: int, window: int) -> Tensor:
    """(side − window + 1, side): each row weighs one window by a Gaussian; products beat convolutions of one channel."""
    place = (torch.arange(side) - torch.arange(side - window + 1)[:, None]).double() - (window - 1) / 2
    bell = torch.exp(-place.square() / (2 * 1.5**2)) * (place.abs() <= (window - 1) / 2)
    return bell / bell.sum(1, keepdim=True)


def lpips(x: Tensor, recon: Tensor, net: str = "alex", batch_size: int = 64) -> Measured:
    """Distance of deep features (Zhang et al. 2018, arXiv:1801.03924), v0.1 weights, images in [-1, 1]; by the package ``lpips``.

    Raises:
        NotApplicable: the package or the backbone's weights are not installed (random weights would give a random score), or images
            smaller than the backbone takes, or neither grey nor coloured.
    """
    side, channels = min(x.shape[-2:]), x.shape[1]
    if side < LEAST_SIDE[net] or channels not in (1, 3):
        raise NotApplicable(f"{net} takes grey or colour images of at least {LEAST_SIDE[net]} px; these are {channels} × {side} px")
    try:
        from lpips import LPIPS  # type: ignore[import-not-found]
    except ImportError as error:
        raise NotApplicable("needs the package lpips and its backbone's weights (pip install lpips)") from error
    from pathlib import Path

    cache = Path(torch.hub.get_dir()) / "checkpoints"
    if not list(cache.glob(f"{net}*.pth")):
        raise NotApplicable(f"needs the weights of {net}, which are not under {cache}")
    same_shape(x, recon)
    in_range(x)
    model = LPIPS(net=net, version="0.1", verbose=False).eval()
    pairs = zip(x.split(batch_size), recon.split(batch_size), strict=True)
    with torch.inference_mode():
        found = [model(_rgb(a), _rgb(b)).reshape(-1) for a, b in pairs]
    return mean_of(torch.cat(found), net=net, version="0.1", weights=_digest(model))


def _rgb(images: Tensor) -> Tensor:
    return (images.clamp(0, 1) * 2 - 1).expand(-1, 3, -1, -1)


def _digest(model: torch.nn.Module) -> str:
    """The first digits of the sha256 of a network's weights."""
    found = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        found.update(name.encode() + tensor.contiguous().numpy().tobytes())
    return found.hexdigest()[:8]
