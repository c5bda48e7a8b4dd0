"""The wrapped normal, a posterior on the Poincaré ball."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from latent_atlas.models.posteriors import PosteriorHead, Stochastic
from latent_atlas.spaces.ball import PoincareBall
from latent_atlas.spaces.base import LatentSpace


class WrappedNormal(Stochastic):
    """u ~ N(0, diag(scale²)) in the tangent space, carried from the centre to the mean and laid down along geodesics:
    z = μ ⊕ exp_0(u), log q(z) = log N(u; 0, diag(scale²)) - (d - 1) log(sinh(√c r) / √c r), r = |u| = distance(μ, z)
    (Nagano et al. 2019, arXiv 1902.02992; Mathieu et al. 2019, arXiv 1901.06033). Its KL to the prior is estimated from one draw.

    Args:
        space: the ball.
        mean: μ (B, d), a point of it.
        scale: (B, d), in units of distance.
    """

    def __init__(self, space: PoincareBall, mean: Tensor, scale: Tensor) -> None:
        self.space = space
        self.mean, self.scale = mean.double(), scale.double()
        self.mode = mean.float()

    def sample(self, generator: Generator | None = None) -> Tensor:
        u = self.scale * torch.empty_like(self.mean).normal_(generator=generator)
        return self.space.project(self.space.add(self.mean, self.space.from_tangent(u))).float()

    def log_prob(self, z: Tensor) -> Tensor:
        return self.space.log_wrapped(self.mean, self.scale, z).float()


class WrappedNormalHead(PosteriorHead):
    """A tangent vector at the centre, whose end is the mean, and the logarithm of a variance for each dimension.

    Scales are clamped to ``SCALES``: a wider normal has nearly all its mass at the rim, where points are no longer told apart.
    """

    SCALES = (1e-3, 5.0)

    def __init__(self, space: LatentSpace) -> None:
        super().__init__(space)
        if not isinstance(space, PoincareBall):
            raise ValueError(f"a wrapped normal lies on a Poincaré ball, not on a {type(space).__name__}")
        self.outputs = 2 * space.dimensions
        self._space = (space,)  # in a tuple: the space is the model's own module, not this one's

    def forward(self, raw: Tensor) -> WrappedNormal:
        (space,) = self._space
        tangent, log_var = raw.double().chunk(2, dim=1)
        return WrappedNormal(
            space, space.project(space.from_tangent(tangent)), torch.exp(0.5 * log_var.clamp(-20, 20)).clamp(*self.SCALES)
        )
