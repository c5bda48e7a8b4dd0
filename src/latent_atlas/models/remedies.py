"""Posterior heads whose KL to N(0, I) cannot fall to 0: remedies of posterior collapse that any VAE takes as ``posterior``."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latent_atlas.models.posteriors import DiagonalNormal, PosteriorHead
from latent_atlas.spaces.base import LatentSpace


class BatchNormHead(PosteriorHead):
    """Means batch-normalized to a fixed standard deviation γ about a learned shift b (BN-VAE, Zhu et al. 2020, arXiv 2004.12585).

    Over a batch E KL ≥ ½ Σ_j (γ² + b_j²), whatever the variances: an item's mean must differ from another's. In eval mode, and for
    a batch of one, the statistics are those of training (running means).

    Args:
        space: Euclidean.
        gamma: the standard deviation of the means, ½ γ² nats a dimension at least.
        momentum: the weight of a batch in the running statistics.
    """

    EPS = 1e-10  # of the variance: with the usual 1e-5 an encoder that shrinks its outputs below 3e-3 falls through the floor

    mean: Tensor
    variance: Tensor

    def __init__(self, space: LatentSpace, gamma: float = 0.5, momentum: float = 0.1) -> None:
        super().__init__(space)
        self.d = math.prod(space.shape)
        self.outputs = 2 * self.d
        self.gamma, self.momentum = gamma, momentum
        self.shift = nn.Parameter(torch.zeros(self.d))
        self.register_buffer("mean", torch.zeros(self.d))
        self.register_buffer("variance", torch.ones(self.d))

    def forward(self, raw: Tensor) -> DiagonalNormal:
        mean, log_var = raw.float().chunk(2, dim=1)
        scale = torch.full_like(self.shift, self.gamma)
        own = self.training and len(raw) > 1
        mean = F.batch_norm(mean, self.mean, self.variance, scale, self.shift, own, self.momentum, self.EPS)
        return DiagonalNormal(mean.reshape(-1, *self.shape), log_var.reshape(-1, *self.shape))


def largest_variance(nats: float) -> float:
    """The v < 1 with ½ (v - 1 - log v) = nats, by bisection in log v."""
    low, high = -2 * nats - 1, 0.0
    for _ in range(100):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if 0.5 * (math.expm1(middle) - middle) > nats else (low, middle)
    return math.exp(low)


class FloorHead(PosteriorHead):
    """A diagonal normal with KL ≥ δ: the δ-VAE of Razavi et al. 2019 (arXiv 1901.03416) for a prior that is N(0, I).

    The KL of a dimension is ½ μ² + ½ (v - 1 - log v), so it is at least δ / d whatever the mean where v ≤ v*, the root below 1 of
    ½ (v - 1 - log v) = δ / d. The head puts log v = log v* - softplus(r). (The paper's sequences have an autoregressive prior and
    get their δ from its mismatch.) The nats are committed, not used: a posterior that ignores x pays δ too, and gains nothing.

    Args:
        space: Euclidean.
        delta: δ in nats, over all dimensions.
    """

    def __init__(self, space: LatentSpace, delta: float = 1.0) -> None:
        super().__init__(space)
        d = math.prod(space.shape)
        self.outputs = 2 * d
        self.log_most = math.log(largest_variance(delta / d))

    def forward(self, raw: Tensor) -> DiagonalNormal:
        mean, free = (half.reshape(-1, *self.shape) for half in raw.float().chunk(2, dim=1))
        return DiagonalNormal(mean, self.log_most - F.softplus(free))
