"""A variational autoencoder with discrete codes, trained by relaxation."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Generator, Tensor

from latent_atlas.models.base import Batch, Losses
from latent_atlas.models.posteriors import PosteriorHead, Stochastic
from latent_atlas.models.vae import VAE
from latent_atlas.spaces.base import LatentSpace
from latent_atlas.spaces.categorical import Categorical


class OneHot(Stochastic):
    """L independent variables of K classes with the given logits.

    Args:
        logits: (B, L, K).
        temperature: τ of relaxed draws softmax((log π + g) / τ), g Gumbel noise (Jang et al. 2017, arXiv 1611.01144; Maddison et
            al. 2017, arXiv 1611.00712); ``None`` for draws that are one-hot, whose gradient is 0.
        straight_through: one-hot draws with the gradient of the relaxed ones.
    """

    def __init__(self, logits: Tensor, temperature: float | None = None, straight_through: bool = False) -> None:
        self.log_probabilities = torch.log_softmax(logits.float(), -1)
        self.temperature, self.straight_through = temperature, straight_through

    @property
    def classes(self) -> Tensor:
        """The likeliest classes (B, L)."""
        return self.log_probabilities.argmax(-1)

    def corners(self, scores: Tensor) -> Tensor:
        """One-hot at the largest."""
        return torch.zeros_like(scores).scatter_(-1, scores.argmax(-1, keepdim=True), 1.0)

    @property
    def mode(self) -> Tensor:  # type: ignore[override]
        """One-hot, (B, L, K)."""
        return self.corners(self.log_probabilities.detach())

    def sample(self, generator: Generator | None = None) -> Tensor:
        exponential = torch.empty_like(self.log_probabilities).exponential_(generator=generator)
        scores = self.log_probabilities - exponential.clamp(min=torch.finfo(torch.float32).tiny).log()
        if self.temperature is None:
            return self.corners(scores.detach())
        relaxed = torch.softmax(scores / self.temperature, -1)
        return self.corners(scores.detach()) - relaxed.detach() + relaxed if self.straight_through else relaxed

    def log_prob(self, z: Tensor) -> Tensor:
        """log q(z | x) of corners, with respect to counting."""
        return (z * self.log_probabilities).flatten(1).sum(1)

    def kl(self, prior: LatentSpace, generator: Generator | None = None, z: Tensor | None = None) -> Tensor:
        """Exact, whatever the draw: L log K - Σ_l H(π_l)."""
        if not isinstance(prior, Categorical):
            return super().kl(prior, generator, z)
        return self._each(prior).sum(1)

    def kl_of_parts(self, prior: LatentSpace, generator: Generator | None = None) -> Tensor | None:
        """Of each variable, (B, L): log K - H(π_l)."""
        return self._each(prior) if isinstance(prior, Categorical) else None

    def _each(self, prior: Categorical) -> Tensor:
        return (self.log_probabilities.exp() * self.log_probabilities).sum(-1) + math.log(prior.shape[1])


class OneHotHead(PosteriorHead):
    """Logits of each class of each variable of a ``Categorical`` space. In eval mode draws are one-hot, in training relaxed.

    Args:
        space: where z lies.
        straight_through: whether draws in training are one-hot, too.
    """

    def __init__(self, space: LatentSpace, straight_through: bool = False) -> None:
        super().__init__(space)
        if not isinstance(space, Categorical):
            raise ValueError(f"one-hot codes lie in a Categorical space, not in {type(space).__name__}")
        self.outputs = math.prod(space.shape)
        self.straight_through = straight_through
        self.temperature = 1.0  # set anew at each batch

    def forward(self, raw: Tensor) -> OneHot:
        return OneHot(raw.reshape(-1, *self.shape), self.temperature if self.training else None, self.straight_through)


class CategoricalVAE(VAE):
    """-log p(x | z) + β · (L log K - Σ_l H(q(z_l | x))), z relaxed (Jang et al. 2017, arXiv 1611.01144).

    The distortion in training is that of relaxed draws, which is no bound of log p(x); in eval mode, so also on validation, draws
    are one-hot and it is. The temperature falls exponentially over ``anneal`` batches and then stays.

    Args:
        temperature: τ at the first batch.
        temperature_end: τ after ``anneal`` batches; below about 0.3 gradients become noise.
        anneal: batches; 0 for ``temperature_end`` from the start.
        arguments: those of ``VAE``, with a ``Categorical`` space and an ``OneHotHead``; ``latent_size`` is L. Or with products of
            spaces and heads that have these among them: with a Gaussian part it is JointVAE (Dupont 2018, arXiv 1804.00104).
    """

    def __init__(
        self, *arguments: Any, temperature: float = 1.0, temperature_end: float = 0.5, anneal: int = 2000, **more: Any
    ) -> None:
        super().__init__(*arguments, **more)
        self.temperatures, self.anneal = (temperature, temperature_end), anneal

    def temperature(self) -> float:
        """τ at the current batch."""
        first, last = self.temperatures
        return first * (last / first) ** (min(1.0, int(self.step) / self.anneal) if self.anneal else 1.0)

    def loss(self, batch: Batch, player: str) -> Losses:
        for head in self.posterior.modules():  # itself, or one of several in a product
            if isinstance(head, OneHotHead):
                head.temperature = self.temperature()
        return super().loss(batch, player)
