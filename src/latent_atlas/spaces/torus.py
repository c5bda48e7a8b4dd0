"""Products of circles."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from latent_atlas.spaces.base import LatentSpace
from latent_atlas.spaces.sphere import angle, direction, step, unit


class Torus(LatentSpace):
    """T^K = S^1 × ... × S^1, flat, with the uniform prior p(z) = (2π)^-K, a density over the K angles.

    A point is (K, 2), the cosine and sine of each angle: coordinates do not jump where an angle passes π. ``latent_size`` is the
    number of circles K, the intrinsic dimension; the decoder sees 2 K numbers.

    The chart is the square [-π, π)² of two angles as seen from the anchor, its opposite edges joined: the first two circles,
    or after ``orient(codes)`` those around which codes spread most. ``lift`` is exact in it, the other circles at the anchor. A
    single circle is drawn as itself.

    Args:
        latent_size: K.
    """

    shown: Tensor
    uniform = True  # a KL to the prior needs the posterior's entropy alone

    def __init__(self, latent_size: int) -> None:
        super().__init__()
        if latent_size < 1:
            raise ValueError(f"a torus has at least 1 circle, latent_size is {latent_size}")
        self.circles = latent_size
        self.shape = (latent_size, 2)
        # Not persistent: how the space is drawn is no part of a trained model.
        self.register_buffer("shown", torch.arange(min(latent_size, 2)), persistent=False)

    @property
    def dimensions(self) -> int:
        return 2 * self.circles

    @property
    def intrinsic(self) -> int:
        """The number of angles."""
        return self.circles

    def sample(self, n: int, generator: Generator | None = None) -> Tensor:
        angles = torch.empty(n, self.circles, device=self.shown.device).uniform_(-math.pi, math.pi, generator=generator)
        return self.from_angles(angles)

    def log_prob(self, z: Tensor) -> Tensor:
        return torch.full_like(z[:, 0, 0], -self.circles * math.log(2 * math.pi))

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        return torch.linalg.vector_norm(angle(a, b), dim=1)

    def geodesic(self, a: Tensor, b: Tensor, t: Tensor) -> Tensor:
        lengths = t.to(a)[:, None, None] * angle(a, b)
        return unit(step(a, direction(a, b), lengths))

    def exp(self, at: Tensor, tangent: Tensor) -> Tensor:
        """The end of the geodesic that leaves ``at`` along a tangent vector of its length, all (B, K, 2)."""
        length = torch.linalg.vector_norm(tangent, dim=-1)
        return torch.cos(length)[..., None] * at + torch.sinc(length / math.pi)[..., None] * tangent

    def log(self, at: Tensor, z: Tensor) -> Tensor:
        """The inverse of ``exp`` where no angle differs by π: tangent vectors at ``at``, as long as the distance."""
        return angle(at, z)[..., None] * direction(at, z)

    def project(self, z: Tensor) -> Tensor:
        return unit(z)

    def coordinates(self, z: Tensor) -> Tensor:
        return z.flatten(1)

    def from_coordinates(self, codes: Tensor) -> Tensor:
        return codes.reshape(-1, *self.shape)

    def angles(self, z: Tensor) -> Tensor:
        """(B, K) in (-π, π]."""
        return torch.atan2(z[..., 1], z[..., 0])

    def from_angles(self, angles: Tensor) -> Tensor:
        """The inverse of ``angles``; any real number will do."""
        return torch.stack((angles.cos(), angles.sin()), -1)

    @torch.no_grad()
    def orient(self, codes: Tensor) -> None:
        """Draws the two circles around which ``codes`` (B, 2K) spread most: those of the shortest mean vectors."""
        lengths = self.from_coordinates(codes).double().mean(0).norm(dim=1)
        self.shown.copy_(torch.argsort(lengths, stable=True)[: len(self.shown)].sort().values)

    def drawn(self, codes: Tensor) -> str:
        if self.circles == 1:
            return "on their circle"
        rest = f", two of {self.circles} angles" if self.circles > 2 else ""
        return f"on the torus{rest}: opposite edges of the square are joined"

    def chart(self, z: Tensor, at: Tensor) -> tuple[Tensor, Tensor]:
        seen = (self.angles(z) - self.angles(unit(at.to(z))))[:, self.shown]
        if self.circles == 1:
            turn = torch.linspace(0, 2 * math.pi, 129, device=z.device, dtype=z.dtype)
            return self.from_angles(seen[:, 0]), self.from_angles(turn)
        corners = torch.tensor([[-1, -1], [1, -1], [1, 1], [-1, 1], [-1, -1]], dtype=z.dtype, device=z.device)
        return torch.remainder(seen + math.pi, 2 * math.pi) - math.pi, math.pi * corners

    def lift(self, xy: Tensor, at: Tensor) -> Tensor:
        angles = self.angles(unit(at.to(xy))).repeat(len(xy), 1)
        angles[:, self.shown] += xy if self.circles > 1 else torch.atan2(xy[:, 1:], xy[:, :1])
        return self.from_angles(angles)
