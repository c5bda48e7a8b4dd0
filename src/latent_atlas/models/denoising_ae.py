"""Denoising autoencoder with the corruption as an argument."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from latent_atlas.data.spec import Field
from latent_atlas.models.ae import AE
from latent_atlas.models.base import Batch, Losses

Corruption = Callable[[Tensor, Field], Tensor]  # (x, its field) -> what the encoder is shown, of the same shape


def gaussian(x: Tensor, field: Field, scale: float = 0.3) -> Tensor:
    """x + scale · ε, ε ~ N(0, I) in units of the data; images are clamped to [0, 1]."""
    shaken = x + scale * torch.randn_like(x)
    return shaken.clamp(0, 1) if field.kind == "image" else shaken


def masking(x: Tensor, field: Field, share: float = 0.25) -> Tensor:
    """Each entry is 0 with probability ``share``."""
    return x * (torch.rand_like(x) >= share)


def salt_and_pepper(x: Tensor, field: Field, share: float = 0.25) -> Tensor:
    """Each entry is its least or its greatest value, either with probability ``share`` / 2.

    These are 0 and 1 for images, and otherwise what the entry reaches in the batch.
    """
    image = field.kind == "image"
    low, high = (torch.zeros_like(x[:1]), torch.ones_like(x[:1])) if image else (x.amin(0, keepdim=True), x.amax(0, keepdim=True))
    chance = torch.rand_like(x)
    return torch.where(chance < share / 2, low, torch.where(chance < share, high, x))


class DenoisingAE(AE):
    """-log p(x | z = encoder(x̃)), x̃ ~ c(x̃ | x) a corrupted x (Vincent et al. 2008; 2010, JMLR 11:3371).

    Without corruption it is the autoencoder. ``encode`` corrupts nothing.

    Args:
        corruption: (x, field) -> x̃: ``gaussian``, ``masking`` or ``salt_and_pepper`` with their strength.
        more: as in ``AE``.
    """

    def __init__(self, *args: Any, corruption: Corruption = gaussian, **more: Any) -> None:
        super().__init__(*args, **more)
        self.corruption = corruption

    def loss(self, batch: Batch, player: str) -> Losses:
        x = self.observed(batch)
        return self.objective(x, self.corruption(x, self.spec.x))
