"""Convolutional encoder and decoder as published by Locatello et al. 2019 (arXiv 1811.12359, table 1) for 64 pixels, and their kin.

| side | encoder | flat | decoder |
|---|---|---|---|
| 64 | 4×4/2 ×32, 4×4/2 ×32, 2×2/2 ×64, 2×2/2 ×64, FC 256 | 4×4×64 | FC 256, FC 1024, 4×4/2 ×64, ×32, ×32, ×C |
| 32 | 4×4/2 ×32, 4×4/2 ×32, 2×2/2 ×64, FC 256 | 4×4×64 | FC 256, FC 1024, 4×4/2 ×32, ×32, ×C |
| 28 | 4×4/2 ×32, 4×4/2 ×64, FC 256 | 7×7×64 | FC 256, FC 3136, 4×4/2 ×32, ×C |

In general n halvings: kernels 4 for the first max(2, n - 2) layers and 2 after, widths 32 for the first half of them and 64 after.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SMALLEST, LARGEST = 4, 8  # the side that is flattened
HIDDEN = 256


def halvings(shape: tuple[int, ...]) -> int:
    """How often both sides of an image (C, H, W) are halved on the way to 4 to 8 pixels; 0 where this family has no member."""
    if len(shape) != 3:
        return 0
    n = 0
    sides = list(shape[1:])
    while all(side % 2 == 0 and side // 2 >= SMALLEST for side in sides):
        sides, n = [side // 2 for side in sides], n + 1
    return n if n >= 2 and max(sides) <= LARGEST else 0


def widths(n: int) -> list[int]:
    """Channels after each of n halvings."""
    return [32 if layer < (n + 1) // 2 else 64 for layer in range(n)]


def halvings_or_raise(shape: tuple[int, ...]) -> int:
    """``halvings``, or an error that names the shape."""
    if n := halvings(shape):
        return n
    raise ValueError(
        f"no convolutional network for data of shape {tuple(shape)}: both sides must halve to {SMALLEST}..{LARGEST} "
        "(16, 28, 32, 64, 128 ...); use kind=mlp or resize"
    )


class ConvEncoder(nn.Module):
    """(B, C, H, W) to (B, outputs).

    Args:
        shape: (C, H, W) of an image.
        outputs: numbers per item.
    """

    def __init__(self, shape: tuple[int, ...], outputs: int) -> None:
        super().__init__()
        n = halvings_or_raise(shape)
        layers: list[nn.Module] = []
        for layer, (inner, outer) in enumerate(pairwise([shape[0], *widths(n)])):
            kernel = 4 if layer < max(2, n - 2) else 2
            layers += [nn.Conv2d(inner, outer, kernel, 2, padding=(kernel - 2) // 2), nn.ReLU()]
        flat = widths(n)[-1] * (shape[1] >> n) * (shape[2] >> n)
        self.features = nn.Sequential(*layers).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.head = nn.Sequential(nn.Linear(flat, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, outputs))

    def forward(self, x: Tensor) -> Tensor:
        # permuted to (B, H, W, C) the flat view costs no copy in channels_last
        return self.head(self.features(x).permute(0, 2, 3, 1).flatten(1)).float()


class ImageDeconv(nn.ConvTranspose2d):
    """A transposed convolution 4×4/2 to the few channels of an image, computed as a convolution 2×2 and a pixel shuffle.

    Each output pixel is a sum over 2×2 input pixels, with one of four kernels by the parity of its row and column (Shi et al. 2016,
    arXiv 1609.07009). The same sums in another order; to one channel in less than half of the time of oneDNN's own kernel, which is
    made for many. To many channels it would be slower.

    Args:
        inner, outer: channels.
    """

    def __init__(self, inner: int, outer: int) -> None:
        super().__init__(inner, outer, 4, 2, padding=1)

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        inner, outer = self.weight.shape[:2]
        # Row i of the kernel is 2u + a: it meets outputs of one parity (the other one than a's), u rows back.
        parts = self.weight.reshape(inner, outer, 2, 2, 2, 2).flip(2, 4).permute(1, 3, 5, 0, 2, 4)
        bias = None if self.bias is None else self.bias.repeat_interleave(4)
        found = F.conv2d(x, parts.reshape(4 * outer, inner, 2, 2), bias, padding=1)
        return F.pixel_shuffle(found, 2)[:, :, 1:-1, 1:-1].contiguous(memory_format=torch.channels_last)


class ConvDecoder(nn.Module):
    """(B, latent) to (B, C, H, W).

    Args:
        latent: size of z.
        shape: (C, H, W) of the output.
    """

    def __init__(self, latent: int, shape: tuple[int, ...]) -> None:
        super().__init__()
        n = halvings_or_raise(shape)
        channels = [*reversed(widths(n)), shape[0]]
        self.inner = (shape[1] >> n, shape[2] >> n, channels[0])
        flat = self.inner[0] * self.inner[1] * self.inner[2]
        self.body = nn.Sequential(nn.Linear(latent, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, flat), nn.ReLU())
        layers: list[nn.Module] = []
        for inner, outer in pairwise(channels[:-1]):
            layers += [nn.ConvTranspose2d(inner, outer, 4, 2, padding=1), nn.ReLU()]
        layers.append(ImageDeconv(*channels[-2:]))
        self.image = nn.Sequential(*layers).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, z: Tensor) -> Tensor:
        return self.image(self.body(z.flatten(1)).unflatten(1, self.inner).permute(0, 3, 1, 2)).float()
