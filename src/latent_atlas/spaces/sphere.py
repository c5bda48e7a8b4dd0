"""Round space."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from latent_atlas.spaces.base import LatentSpace

BISECTIONS = 50  # for Mollweide's angle: π / 2^50 is below the rounding of float64


def unit(z: Tensor) -> Tensor:
    """z / |z| over the last axis; the first axis for z = 0, where no point is nearest."""
    length = torch.linalg.vector_norm(z, dim=-1, keepdim=True)
    first = torch.zeros_like(z)
    first[..., 0] = 1
    # the inner where keeps the gradient of 0 / 0 out
    return torch.where(length > 0, z / torch.where(length > 0, length, 1), first)


def angle(a: Tensor, b: Tensor) -> Tensor:
    """The angle between unit vectors over the last axis: Kahan's form, exact for near and for opposite ones, unlike acos(a·b)."""
    return 2 * torch.atan2(torch.linalg.vector_norm(a - b, dim=-1), torch.linalg.vector_norm(a + b, dim=-1))


def direction(a: Tensor, b: Tensor) -> Tensor:
    """The unit tangent at a towards b; of opposite points, which have many, one that depends on a alone."""
    step = b - a
    tangent = step - (step * a).sum(-1, keepdim=True) * a
    flat = torch.linalg.vector_norm(tangent, dim=-1, keepdim=True) < 1e-6
    opposite = flat & ((a * b).sum(-1, keepdim=True) < 0)
    least = torch.zeros_like(a).scatter_(-1, a.abs().argmin(-1, keepdim=True), 1.0)
    other = least - (least * a).sum(-1, keepdim=True) * a
    return unit(torch.where(opposite, other, tangent))


def step(a: Tensor, towards: Tensor, length: Tensor) -> Tensor:
    """The point that lies ``length`` (...) from a along the unit tangent."""
    return torch.cos(length)[..., None] * a + torch.sin(length)[..., None] * towards


class Sphere(LatentSpace):
    """S^d in R^(d+1) with the uniform prior p(z) = Γ((d+1)/2) / (2 π^((d+1)/2)), a density over surface.

    Points are unit vectors, coordinates are ambient. ``latent_size`` is the intrinsic d, as in Davidson et al. 2018
    (arXiv 1804.00891), so that a comparison with R^d is fair: the decoder sees d + 1 numbers.

    The chart with the anchor at its centre: for d = 2 Mollweide's, equal in area, in its ellipse; for d = 1 the circle itself; for
    d > 2 distance and direction from the anchor along two tangents, in the circle of radius π of the opposite point. These tangents
    are the first two ambient axes, or after ``orient(codes)`` those of largest variance. A point off that plane is drawn at
    the foot of its tangent vector; ``lift`` is exact for points on it.

    Args:
        latent_size: d.
    """

    axes: Tensor
    uniform = True  # a KL to the prior needs the posterior's entropy alone

    def __init__(self, latent_size: int) -> None:
        super().__init__()
        if latent_size < 1:
            raise ValueError(f"a sphere has at least 1 dimension, latent_size is {latent_size}")
        self.intrinsic = latent_size
        self.shape = (latent_size + 1,)
        half = (latent_size + 1) / 2
        self.log_area = math.log(2) + half * math.log(math.pi) - math.lgamma(half)
        # Not persistent: how the space is drawn is no part of a trained model.
        self.register_buffer("axes", torch.eye(2, latent_size + 1), persistent=False)

    @property
    def dimensions(self) -> int:
        return self.intrinsic + 1

    def sample(self, n: int, generator: Generator | None = None) -> Tensor:
        return unit(torch.empty(n, *self.shape, device=self.axes.device).normal_(generator=generator))

    def log_prob(self, z: Tensor) -> Tensor:
        return torch.full_like(z[:, 0], -self.log_area)

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        return angle(a, b)

    def geodesic(self, a: Tensor, b: Tensor, t: Tensor) -> Tensor:
        lengths = t.to(a)[:, None] * angle(a, b)
        return unit(step(a, direction(a, b), lengths))

    def exp(self, at: Tensor, tangent: Tensor) -> Tensor:
        """The end of the geodesic that leaves ``at`` along a tangent vector of its length, (B, d+1)."""
        length = torch.linalg.vector_norm(tangent, dim=-1)
        return torch.cos(length)[..., None] * at + torch.sinc(length / math.pi)[..., None] * tangent

    def log(self, at: Tensor, z: Tensor) -> Tensor:
        """The inverse of ``exp`` for points that are not opposite: tangent vectors at ``at``, as long as the distance."""
        return angle(at, z)[..., None] * direction(at, z)

    def project(self, z: Tensor) -> Tensor:
        return unit(z)

    def coordinates(self, z: Tensor) -> Tensor:
        return z

    def from_coordinates(self, codes: Tensor) -> Tensor:
        return codes.reshape(-1, *self.shape)

    @torch.no_grad()
    def orient(self, codes: Tensor) -> None:
        """Turns the chart of d > 2 to the two directions in which ``codes`` (B, d+1) vary most."""
        centred = (codes - codes.mean(0)).double()
        directions = torch.linalg.eigh(centred.T @ centred).eigenvectors.flip(1)[:, :2].T
        signs = torch.sign(directions.gather(1, directions.abs().argmax(1, keepdim=True)))
        self.axes.copy_((directions * signs).to(self.axes))

    def drawn(self, codes: Tensor) -> str:
        if self.intrinsic > 2:
            return "by direction and distance from their middle; the circle is the point opposite to it"
        return (
            "on their circle" if self.intrinsic == 1 else "on the sphere, in Mollweide's map: equal areas, the ellipse is all of it"
        )

    def chart(self, z: Tensor, at: Tensor) -> tuple[Tensor, Tensor]:
        turn = torch.linspace(0, 2 * math.pi, 129, device=z.device, dtype=z.dtype)
        circle = torch.stack((turn.cos(), turn.sin()), 1)
        frame, wide = self.frame(at), z.double()
        if self.intrinsic == 1:
            return (wide @ frame.T).to(z), circle
        if self.intrinsic == 2:
            return mollweide(wide @ frame.T).to(z), circle * circle.new_tensor([2 * math.sqrt(2), math.sqrt(2)])
        anchor = frame[:1].expand_as(wide)
        return (self.log(anchor, wide) @ frame[1:].T).to(z), math.pi * circle

    def lift(self, xy: Tensor, at: Tensor) -> Tensor:
        frame, wide = self.frame(at), xy.double()
        if self.intrinsic == 1:
            return unit(wide @ frame).to(xy)
        if self.intrinsic == 2:
            return (inverse_mollweide(wide) @ frame).to(xy)
        return unit(self.exp(frame[:1].expand(len(xy), -1), wide @ frame[1:])).to(xy)

    def frame(self, at: Tensor) -> Tensor:
        """Orthonormal rows in float64: the anchor, then the directions that the chart draws to the right and upwards."""
        anchor = unit(at.double().reshape(-1))
        if self.intrinsic == 1:
            return torch.stack((anchor, torch.stack((-anchor[1], anchor[0]))))
        if self.intrinsic == 2:  # the last axis points upwards, as north does; at a pole it is the first
            up = torch.eye(3, dtype=anchor.dtype, device=anchor.device)[2 if abs(float(anchor[2])) < 0.999 else 0]
            up = unit(up - (up @ anchor) * anchor)
            return torch.stack((anchor, torch.linalg.cross(up, anchor), up))
        rows = torch.cat((anchor[None], self.axes.to(anchor)))
        basis, weights = torch.linalg.qr(rows.T)  # orthonormal even where an axis is the anchor itself
        return (basis * torch.where(weights.diagonal() < 0, -1.0, 1.0)).T


def mollweide(local: Tensor) -> Tensor:
    """(B, 3) unit vectors as (centre, east, north) to (B, 2): x = 2√2/π λ cos θ, y = √2 sin θ with 2θ + sin 2θ = π sin φ."""
    longitude = torch.atan2(local[:, 1], local[:, 0])
    target = math.pi * local[:, 2].clamp(-1, 1)
    low, high = torch.full_like(target, -math.pi / 2), torch.full_like(target, math.pi / 2)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        below = 2 * middle + torch.sin(2 * middle) < target
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    theta = (low + high) / 2
    return math.sqrt(2) * torch.stack((2 / math.pi * longitude * theta.cos(), theta.sin()), 1)


def inverse_mollweide(xy: Tensor) -> Tensor:
    """(B, 2) to (B, 3); points outside the ellipse are first brought to it along the horizontal, then the vertical."""
    theta = torch.asin((xy[:, 1] / math.sqrt(2)).clamp(-1, 1))
    north = ((2 * theta + torch.sin(2 * theta)) / math.pi).clamp(-1, 1)
    longitude = (math.pi * xy[:, 0] / (2 * math.sqrt(2) * theta.cos().clamp(min=1e-12))).clamp(-math.pi, math.pi)
    level = (1 - north**2).clamp(min=0).sqrt()
    return torch.stack((level * longitude.cos(), level * longitude.sin(), north), 1)
