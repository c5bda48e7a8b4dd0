"""q(z | x): what ``encode`` returns, and the heads that make it from what an encoder network puts out."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Generator, Tensor, nn

from latent_atlas.spaces.base import LatentSpace


class Posterior(ABC):
    """A distribution over the latent space for each item of a batch."""

    mode: Tensor  # (B, *shape), deterministic: what metrics, interpolation and decoding use

    @abstractmethod
    def sample(self, generator: Generator | None = None) -> Tensor:
        """One reparameterized draw per item, (B, *shape)."""


class Stochastic(Posterior):
    """A posterior with a density."""

    @abstractmethod
    def log_prob(self, z: Tensor) -> Tensor:
        """log q(z | x) in nats, (B,), with respect to the measure that the space's ``log_prob`` uses."""

    def kl(self, prior: LatentSpace, generator: Generator | None = None, z: Tensor | None = None) -> Tensor:
        """KL(q || prior) in nats, (B,): in closed form where a subclass has one, else log q(z) - log p(z) of one draw.

        Args:
            prior: the space, whose ``log_prob`` is the prior's.
            generator: of the draw.
            z: the draw itself, where the caller has one.
        """
        z = self.sample(generator) if z is None else z
        return self.log_prob(z) - prior.log_prob(z)

    def kl_of_parts(self, prior: LatentSpace, generator: Generator | None = None) -> Tensor | None:
        """The KL as a sum over the parts into which posterior and prior both fall, (B, P) in nats, of the draw that ``kl`` takes.

        Parts are the coordinates of a diagonal normal under a standard normal prior, circles, variables, factors of a product.
        ``None`` where they do not fall apart, as under a mixture prior.
        """
        return None


class Point(Posterior):
    """All mass at one point: an autoencoder's code."""

    def __init__(self, mode: Tensor) -> None:
        self.mode = mode

    def sample(self, generator: Generator | None = None) -> Tensor:
        """The point itself."""
        return self.mode


class DiagonalNormal(Stochastic):
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
        return 0.5 * (self.mode * self.mode + torch.exp(self.log_var) - 1.0 - self.log_var)

    def kl(self, prior: LatentSpace, generator: Generator | None = None, z: Tensor | None = None) -> Tensor:
        """In closed form for a standard normal prior, else as in ``Stochastic``."""
        if getattr(prior, "standard_normal", False):
            return self.kl_per_dimension().sum(1)
        return super().kl(prior, generator, z)

    def kl_of_parts(self, prior: LatentSpace, generator: Generator | None = None) -> Tensor | None:
        """Of each dimension, for a standard normal prior."""
        return self.kl_per_dimension().flatten(1) if getattr(prior, "standard_normal", False) else None


class PosteriorHead(nn.Module, ABC):
    """From the raw output of an encoder (B, outputs) to a ``Posterior`` on a space.

    Args:
        space: where z lies.
    """

    outputs: int  # numbers per item that the encoder must put out

    def __init__(self, space: LatentSpace) -> None:
        super().__init__()
        self.shape = space.shape

    @abstractmethod
    def forward(self, raw: Tensor) -> Posterior:
        """(B, outputs) to the distribution."""


PosteriorFactory = Callable[[LatentSpace], PosteriorHead]


class PointHead(PosteriorHead):
    """The code itself, brought onto the space."""

    def __init__(self, space: LatentSpace) -> None:
        super().__init__(space)
        self.outputs = math.prod(space.shape)
        self.project = space.project

    def forward(self, raw: Tensor) -> Point:
        return Point(self.project(raw.reshape(-1, *self.shape)))


class NormalHead(PosteriorHead):
    """Mean and log variance of each coordinate of a Euclidean space."""

    def __init__(self, space: LatentSpace) -> None:
        super().__init__(space)
        self.outputs = 2 * math.prod(space.shape)

    def forward(self, raw: Tensor) -> DiagonalNormal:
        return DiagonalNormal(*(half.reshape(-1, *self.shape) for half in raw.chunk(2, dim=1)))
