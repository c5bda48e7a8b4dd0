"""q(z | x): what ``encode`` returns."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Generator, Tensor

from latent_atlas.spaces.base import LatentSpace


class Posterior(ABC):
    """A distribution over the latent space for each item of a batch."""

    mode: Tensor  # (B, *shape), deterministic: what metrics, interpolation and decoding use

    @abstractmethod
    def sample(self, generator: Generator | None = None) -> Tensor:
        """One reparameterized draw per item, (B, *shape)."""


class Point(Posterior):
    """All mass at one point: an autoencoder's code."""

    def __init__(self, mode: Tensor) -> None:
        self.mode = mode

    def sample(self, generator: Generator | None = None) -> Tensor:
        """The point itself."""
        return self.mode


class DiagonalNormal(Posterior):
    """N(mean, diag(exp(log_var))) with z of shape (B, d).

    log_var is clamped to ±``LIMIT``: exp(±20) spans 17 decades of variance, and beyond it float32 gradients overflow.
    """

    LIMIT = 20.0

    def __init__(self, mean: Tensor, log_var: Tensor) -> None:
        self.mode = mean.float()
        self.log_var = log_var.float().clamp(-self.LIMIT, self.LIMIT)

    @property
    def scale(self) -> Tensor:
        """The standard deviations, (B, d)."""
        return torch.exp(0.5 * self.log_var)

    def sample(self, generator: Generator | None = None) -> Tensor:
        """mean + scale · ε, ε ~ N(0, I)."""
        noise = torch.empty_like(self.mode).normal_(generator=generator)
        return self.mode + self.scale * noise

    def log_prob_per_dimension(self, z: Tensor) -> Tensor:
        """log q(z_j | x) in nats; z broadcasts against (B, d)."""
        return -0.5 * ((z - self.mode) ** 2 * torch.exp(-self.log_var) + self.log_var + math.log(2 * math.pi))

    def log_prob(self, z: Tensor) -> Tensor:
        """log q(z | x) in nats, (B,)."""
        return self.log_prob_per_dimension(z).flatten(1).sum(1)

    def kl_per_dimension(self) -> Tensor:
        """KL(q_j || N(0, 1)) in nats, (B, d): Kingma & Welling 2014, appendix B."""
        return 0.5 * (self.mode**2 + torch.exp(self.log_var) - 1.0 - self.log_var)

    def kl(self, prior: LatentSpace, generator: Generator | None = None) -> Tensor:
        """KL(q || prior) in nats, (B,): in closed form for a standard normal prior, else from one draw."""
        if getattr(prior, "standard_normal", False):
            return self.kl_per_dimension().sum(1)
        z = self.sample(generator)
        return self.log_prob(z) - prior.log_prob(z)
