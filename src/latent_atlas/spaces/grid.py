"""A grid in flat space: each coordinate takes one of a few learned values."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor, nn

from latent_atlas.spaces.euclidean import Euclidean


class Grid(Euclidean):
    """The K^d points of R^d whose coordinate j is one of K learned values, all equally likely; charts and distances are R^d's.

    ``project`` goes to the nearest point. ``log_prob`` is log mass, -d log K at the points of the grid and -inf elsewhere.

    Args:
        size: d.
        levels: K.
        reach: the values start evenly spaced in ±``reach``.
    """

    def __init__(self, size: int, levels: int = 10, reach: float = 0.5) -> None:
        super().__init__(size)
        if levels < 2:
            raise ValueError(f"levels is {levels}; a coordinate has at least 2 values")
        self.levels = levels
        self.values = nn.Parameter(torch.linspace(-reach, reach, levels).repeat(size, 1))  # (d, K)

    @property
    def standard_normal(self) -> bool:
        return False

    def nearest(self, z: Tensor) -> Tensor:
        """Which value of each coordinate lies nearest, (B, d) in 0 ... K - 1."""
        return (z.unsqueeze(-1) - self.values).abs().argmin(-1)

    def at(self, indices: Tensor) -> Tensor:
        """The points (B, d) of these values (B, d)."""
        return self.values.expand(len(indices), -1, -1).gather(2, indices.unsqueeze(2)).squeeze(2)

    def project(self, z: Tensor) -> Tensor:
        return self.at(self.nearest(z))

    def sample(self, n: int, generator: Generator | None = None) -> Tensor:
        return self.at(torch.randint(self.levels, (n, *self.shape), generator=generator, device=self.values.device))

    def log_prob(self, z: Tensor) -> Tensor:
        on = (z.unsqueeze(-1) == self.values).any(-1).all(1)
        return torch.where(on, -self.dimensions * math.log(self.levels), -torch.inf)
