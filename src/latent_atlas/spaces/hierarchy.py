"""Priors of two levels: p(z) = p(top) p(below | top)."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor, nn

from latent_atlas.spaces.priors import Prior

LIMIT = 7.0  # of |log variance| of a level given the one above: beyond, float32 gradients of the KL overflow


class Hierarchy(Prior):
    """p(z) = N(z2; 0, I) N(z1; μ(z2), diag σ²(z2)), with z = (z2, z1) and μ, log σ² of a learned network (Sønderby et al. 2016).

    Args:
        shape: (d,) of z.
        top: the dimensions of z2, 1 to d - 1: the first of z.
        hidden: units of the network's layer.
    """

    place: Tensor

    def __init__(self, shape: tuple[int, ...], top: int = 3, hidden: int = 64) -> None:
        super().__init__(shape)
        if len(self.shape) != 1 or not 0 < top < self.shape[0]:
            raise ValueError(f"top is {top}; of a space of shape {self.shape} it takes 1 dimension at least and leaves one")
        self.top, self.below = top, self.shape[0] - top
        self.down = nn.Sequential(nn.Linear(top, hidden), nn.ReLU(), nn.Linear(hidden, 2 * self.below))
        self.register_buffer("place", torch.empty(0), persistent=False)  # knows the device

    def conditional(self, top: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of z1 given z2, each (B, below)."""
        mean, log_var = self.down(top).chunk(2, 1)
        return mean, LIMIT * torch.tanh(log_var / LIMIT)

    def sample(self, n: int, generator: Generator | None = None) -> Tensor:
        noise = torch.empty(n, *self.shape, device=self.place.device).normal_(generator=generator)
        mean, log_var = self.conditional(noise[:, : self.top])
        return torch.cat((noise[:, : self.top], mean + torch.exp(0.5 * log_var) * noise[:, self.top :]), 1)

    def log_prob(self, z: Tensor) -> Tensor:
        top, below = z[:, : self.top], z[:, self.top :]
        mean, log_var = self.conditional(top)
        squares = top.square().sum(1) + ((below - mean).square() * torch.exp(-log_var) + log_var).sum(1)
        return -0.5 * (squares + z.shape[1] * math.log(2 * math.pi))
