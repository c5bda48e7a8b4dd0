"""Priors on flat spaces: p(z) as a part that a space is given."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Generator, Tensor, nn

from latent_atlas.data.spec import Field


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

    def attach(self, field: Field, encode: Callable[[Tensor], Any]) -> None:
        """A model that encodes shows, when it is built, the observed field and x -> q(z | x); most priors need neither."""

    def start(self, observations: Iterable[Tensor]) -> None:
        """Before step 0: training batches (B, *x.shape) in seeded order, for a prior that starts from data."""


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
