"""Priors on flat spaces: p(z) as a part that a space is given."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Generator, Tensor, nn


class Prior(nn.Module, ABC):
    """p(z) over points (B, *shape); a module, because it may be learned.

    Args:
        shape: of one point.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = tuple(shape)

    @abstractmethod
    def sample(self, n: int, generator: Generator | None = None) -> Tensor:
        """n draws, (n, *shape)."""

    @abstractmethod
    def log_prob(self, z: Tensor) -> Tensor:
        """log p(z) in nats, (B,)."""


PriorFactory = Callable[[tuple[int, ...]], Prior]


class StandardNormal(Prior):
    """N(0, I)."""

    place: Tensor

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__(shape)
        self.register_buffer("place", torch.empty(0), persistent=False)  # knows the device

    def sample(self, n: int, generator: Generator | None = None) -> Tensor:
        return torch.empty(n, *self.shape, device=self.place.device).normal_(generator=generator)

    def log_prob(self, z: Tensor) -> Tensor:
        return -0.5 * (z.flatten(1) ** 2 + math.log(2 * math.pi)).sum(1)
