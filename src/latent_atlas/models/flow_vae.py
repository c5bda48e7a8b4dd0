"""A normalizing flow after the diagonal normal posterior, with context from the encoder.

The model is a ``VAE`` with this posterior and the prior ``spaces.flow.FlowPrior``, each of which works alone.
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from latent_atlas.models.posteriors import DiagonalNormal, PosteriorHead, Stochastic
from latent_atlas.spaces.base import LatentSpace
from latent_atlas.spaces.flow import FlowFactory, near_identity


class FlowPosterior(Stochastic):
    """z = T(u; h), u ~ N(μ, diag σ²): log q(z | x) = log N(u; μ, σ²) - log |det ∂T/∂u| (Rezende & Mohamed 2015, arXiv 1505.05770).

    ``mode`` is T(μ), the image of the base's mode: deterministic, yet not the densest point. KL is estimated from the draw. The
    density of the last draw is known from drawing it; that of any other point takes T⁻¹.

    Args:
        base: of u (B, d).
        transform: T of zuko, with the context h of each item in it.
        shape: of one point.
    """

    def __init__(self, base: DiagonalNormal, transform: torch.distributions.Transform, shape: tuple[int, ...]) -> None:
        self.base, self.transform, self.shape = base, transform, shape
        self.drawn: tuple[Tensor, Tensor] | None = None  # the last draw and its density

    @property
    def mode(self) -> Tensor:  # type: ignore[override]
        """T(μ), (B, *shape)."""
        return self.transform(self.base.mode).reshape(-1, *self.shape)

    def sample(self, generator: Generator | None = None) -> Tensor:
        u = self.base.sample(generator)
        z, log_det = self.transform.call_and_ladj(u)  # type: ignore[attr-defined]
        z = z.reshape(-1, *self.shape)
        self.drawn = (z, self.base.log_prob(u) - log_det)
        return z

    def log_prob(self, z: Tensor) -> Tensor:
        if self.drawn is not None and z is self.drawn[0]:
            return self.drawn[1]
        u, log_det = self.transform.inv.call_and_ladj(z.flatten(1))  # type: ignore[attr-defined]
        return self.base.log_prob(u) + log_det


class FlowHead(PosteriorHead):
    """Mean and log variance of u, and the context of the flow.

    Drawing takes one pass of T, the density of a point that was not drawn its inverse: zuko.flows.MAF makes T
    inverse-autoregressive (Kingma et al. 2016, arXiv 1606.04934), whose inverse takes d passes; the inverse of RealNVP takes one.

    Args:
        space: Euclidean.
        flow: factory (features, context) -> flow of zuko.
        context: numbers per item that the encoder puts out for the flow beside mean and log variance; at least 1.
    """

    def __init__(self, space: LatentSpace, flow: FlowFactory, context: int = 16) -> None:
        super().__init__(space)
        if context < 1:
            raise ValueError(f"context is {context}; the flow needs at least 1 number of the encoder")
        self.features = math.prod(space.shape)
        self.outputs = 2 * self.features + context
        self.flow = near_identity(flow(self.features, context))

    def forward(self, raw: Tensor) -> FlowPosterior:
        mean, log_var, context = raw.split([self.features, self.features, raw.shape[1] - 2 * self.features], 1)
        return FlowPosterior(DiagonalNormal(mean, log_var), self.flow.transform(context.float()), self.shape)
