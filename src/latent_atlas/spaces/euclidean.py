"""Flat space."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from latent_atlas.spaces.base import LatentSpace
from latent_atlas.spaces.priors import PriorFactory, StandardNormal

OUTLINE_MASS = 0.99  # of the prior, seen on the plane of the chart


class Euclidean(LatentSpace):
    """R^d with straight lines and any prior.

    The chart is the plane through the anchor along ``axes``: the first two coordinates, or, after ``orient(codes)``, the two
    directions in which codes vary most. xy are signed lengths from the anchor, so ``lift`` is exact: chart(lift(xy)) = xy. Its
    outline is the circle about the origin of the space that holds 99 % of a standard normal prior on that plane.

    Args:
        shape: of one point; an integer d means (d,).
        prior: factory shape -> ``priors.Prior``; N(0, I) by default.
    """

    axes: Tensor

    def __init__(self, shape: int | tuple[int, ...], prior: PriorFactory = StandardNormal) -> None:
        super().__init__()
        self.shape = (shape,) if isinstance(shape, int) else tuple(shape)
        self.prior = prior(self.shape)
        # Not persistent: how the space is drawn is no part of a trained model.
        self.register_buffer("axes", torch.eye(2, self.dimensions), persistent=False)

    @property
    def dimensions(self) -> int:
        return math.prod(self.shape)

    @property
    def standard_normal(self) -> bool:
        """Whether a KL to the prior has a closed form."""
        return isinstance(self.prior, StandardNormal)

    def sample(self, n: int, generator: Generator | None = None) -> Tensor:
        return self.prior.sample(n, generator)

    def log_prob(self, z: Tensor) -> Tensor:
        return self.prior.log_prob(z)

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        return torch.linalg.vector_norm((a - b).flatten(1), dim=1)

    def geodesic(self, a: Tensor, b: Tensor, t: Tensor) -> Tensor:
        # lerp is exact at both ends; (1 - t) a + t b is not for a = b
        return torch.lerp(a[None], b[None], t.to(a).reshape(-1, *[1] * a.dim()))

    def project(self, z: Tensor) -> Tensor:
        return z

    def coordinates(self, z: Tensor) -> Tensor:
        return z.flatten(1)

    def from_coordinates(self, codes: Tensor) -> Tensor:
        return codes.reshape(-1, *self.shape)

    @torch.no_grad()
    def orient(self, codes: Tensor) -> None:
        """Turns the chart to the two directions of largest variance of ``codes`` (B, d), signed by a positive largest entry."""
        centred = (codes - codes.mean(0)).double()
        directions = torch.linalg.eigh(centred.T @ centred).eigenvectors.flip(1)[:, :2].T
        signs = torch.sign(directions.gather(1, directions.abs().argmax(1, keepdim=True)))
        self.axes.zero_()
        self.axes[: len(directions)] = (directions * signs).to(self.axes)

    def drawn(self, codes: Tensor) -> str:
        if self.dimensions <= 2:
            return "as they are"
        centred = (codes - codes.mean(0)).double()
        held = float((centred @ self.axes.to(centred).T).square().sum() / centred.square().sum().clamp(min=1e-30))
        return f"on the plane of largest variance, which holds {held:.0%} of it"

    def chart(self, z: Tensor, at: Tensor) -> tuple[Tensor, Tensor]:
        at = at.to(self.axes).reshape(-1)
        angle = torch.linspace(0, 2 * math.pi, 65, device=self.axes.device)
        radius = math.sqrt(-2 * math.log(1 - OUTLINE_MASS))
        outline = radius * torch.stack((angle.cos(), angle.sin()), 1) - self.axes @ at
        return (self.coordinates(z).to(self.axes) - at) @ self.axes.T, outline

    def lift(self, xy: Tensor, at: Tensor) -> Tensor:
        return self.from_coordinates(at.to(self.axes).reshape(1, -1) + xy.to(self.axes) @ self.axes)
