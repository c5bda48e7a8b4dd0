"""Hyperbolic space."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from latent_atlas.spaces.base import LatentSpace

RIM = 1e-4  # 1 - √c |z| is at least this: 9.9/√c from the centre, where float32 points still place distances to 3e-4


def norm(x: Tensor) -> Tensor:
    """|x| over the last axis, kept, with gradient 0 at 0."""
    return ((x * x).sum(-1, keepdim=True) + 1e-30).sqrt()


def log_sinhc(x: Tensor) -> Tensor:
    """log(sinh(x) / x) for x ≥ 0: no overflow for large x, a series for small."""
    small = x < 1e-3
    safe = torch.where(small, 1.0, x)
    return torch.where(small, x**2 / 6, safe + torch.log1p(-torch.exp(-2 * safe)) - torch.log(2 * safe))


class PoincareBall(LatentSpace):
    """The ball |z| < 1/√c with the metric (2 / (1 - c |z|²))² dz², of curvature -c (Mathieu et al. 2019, arXiv 1901.06033).

    The prior is a normal wrapped about the centre (Nagano et al. 2019, arXiv 1902.02992): u ~ N(0, σ² I) in the tangent space, laid
    down along geodesics, p(z) = N(u; 0, σ² I) (√c r / sinh √c r)^(d-1) with r = |u| = distance(0, z): a density over the metric's
    volume. Tangent vectors at the centre are as long as distances (``from_tangent``, ``to_tangent``); ``exp``, ``log`` and
    ``transport`` take those of the ball's coordinates, which a step of 1 makes 2 / (1 - c |z|²) long. For c → 0 space and prior are
    flat, with z = u / 2. All is computed in float64; points keep their own precision, and stay ``RIM`` off the rim.

    The chart is the disc as seen from the anchor, moved to its centre by an isometry; of more than 2 dimensions it draws the
    tangent vector at the anchor along ``axes``, the first two or, after ``orient(codes)``, those of largest variance.
    ``lift`` is exact on it.

    Args:
        latent_size: d.
        curvature: c > 0.
        prior_scale: σ.
    """

    axes: Tensor

    def __init__(self, latent_size: int, curvature: float = 1.0, prior_scale: float = 1.0) -> None:
        super().__init__()
        if curvature <= 0 or prior_scale <= 0:
            raise ValueError(f"curvature and prior_scale are positive, not {curvature} and {prior_scale}; flat space is Euclidean")
        self.shape = (latent_size,)
        self.c, self.s, self.prior_scale = curvature, math.sqrt(curvature), prior_scale
        # Not persistent: how the space is drawn is no part of a trained model.
        self.register_buffer("axes", torch.eye(2, latent_size), persistent=False)

    @property
    def dimensions(self) -> int:
        return self.shape[0]

    def sample(self, n: int, generator: Generator | None = None) -> Tensor:
        noise = torch.empty(n, *self.shape, device=self.axes.device).normal_(generator=generator)
        return self.project(self.from_tangent(self.prior_scale * noise))

    def log_prob(self, z: Tensor) -> Tensor:
        scale = torch.full_like(z, self.prior_scale)
        return self.log_wrapped(torch.zeros_like(z), scale, z).to(z)

    def log_wrapped(self, mean: Tensor, scale: Tensor, z: Tensor) -> Tensor:
        """Log density in nats, (B,), of N(0, diag(scale²)) wrapped about ``mean``, over the metric's volume, in float64."""
        u, scale = self.to_tangent(self.seen(mean.double(), z.double())), scale.double()
        flat = -0.5 * ((u / scale) ** 2 + math.log(2 * math.pi)).sum(-1) - scale.log().sum(-1)
        return flat - (self.dimensions - 1) * log_sinhc(self.s * norm(u)[..., 0])

    def seen(self, a: Tensor, b: Tensor) -> Tensor:
        """(-a) ⊕ b: where b lies after the isometry that moves a to the centre."""
        # Möbius addition by b - a, without the differences of near numbers that its usual form takes
        step, far = b - a, ((b - a) ** 2).sum(-1, keepdim=True)
        room_a, room_b = self.room(a), self.room(b)
        return (room_a * step - self.c * far * a) / (room_a * room_b + self.c * far)

    def add(self, a: Tensor, b: Tensor) -> Tensor:
        """a ⊕ b, Möbius addition: where b lies after the isometry that moves the centre to a."""
        return self.seen(-a, b)

    def room(self, z: Tensor) -> Tensor:
        """1 - c |z|², (B, 1); at least what is left at a third of the rim, so that no rounding makes it 0."""
        return (1 - self.c * (z * z).sum(-1, keepdim=True)).clamp(min=RIM / 3)

    def from_tangent(self, u: Tensor) -> Tensor:
        """The point at distance |u| from the centre in the direction of u."""
        wide = u.double()
        length = norm(wide)
        return (torch.tanh(self.s * length / 2) / (self.s * length) * wide).to(u)

    def to_tangent(self, z: Tensor) -> Tensor:
        """The inverse of ``from_tangent``."""
        wide = z.double()
        length = norm(wide)
        return (2 / self.s * torch.asinh(self.s * length / self.room(wide).sqrt()) / length * wide).to(z)

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        wide_a, wide_b = a.double(), b.double()
        chord = self.s * norm(wide_a - wide_b) / (self.room(wide_a) * self.room(wide_b)).sqrt()
        return (2 / self.s * torch.asinh(chord))[..., 0].to(a)

    def geodesic(self, a: Tensor, b: Tensor, t: Tensor) -> Tensor:
        wide = a.double()
        u = self.to_tangent(self.seen(wide, b.double()))
        return self.add(wide, self.from_tangent(t.to(u).reshape(-1, 1, 1) * u)).to(a)

    def exp(self, at: Tensor, tangent: Tensor) -> Tensor:
        """The end of the geodesic that leaves ``at`` along a tangent vector in the ball's coordinates, (B, d)."""
        wide = at.double()
        return self.add(wide, self.from_tangent(2 * tangent.double() / self.room(wide))).to(at)

    def log(self, at: Tensor, z: Tensor) -> Tensor:
        """The inverse of ``exp``."""
        wide = at.double()
        return (self.room(wide) / 2 * self.to_tangent(self.seen(wide, z.double()))).to(at)

    def transport(self, a: Tensor, b: Tensor, tangent: Tensor) -> Tensor:
        """The tangent vector at a, carried along the geodesic to b: a gyration and the ratio of the metric's lengths."""
        u, v, w, c = b.double(), -a.double(), tangent.double(), self.c
        uu, vv, uv, uw, vw = ((p * q).sum(-1, keepdim=True) for p, q in ((u, u), (v, v), (u, v), (u, w), (v, w)))
        first = -(c**2) * uw * vv + c * vw + 2 * c**2 * uv * vw
        second = -(c**2) * vw * uu - c * uw
        turned = w + 2 * (first * u + second * v) / (1 + 2 * c * uv + c**2 * uu * vv)
        return (self.room(u) / self.room(v) * turned).to(tangent)

    def project(self, z: Tensor) -> Tensor:
        length, most = norm(z), (1 - RIM) / self.s
        return torch.where(length > most, z / length * most, z)

    def coordinates(self, z: Tensor) -> Tensor:
        return z

    def from_coordinates(self, codes: Tensor) -> Tensor:
        return codes.reshape(-1, *self.shape)

    @torch.no_grad()
    def orient(self, codes: Tensor) -> None:
        """Turns the chart of d > 2 to the two directions of largest variance of the tangent vectors of ``codes`` (B, d)."""
        if self.dimensions > 2:
            tangents = self.to_tangent(codes.double())
            centred = tangents - tangents.mean(0)
            directions = torch.linalg.eigh(centred.T @ centred).eigenvectors.flip(1)[:, :2].T
            signs = torch.sign(directions.gather(1, directions.abs().argmax(1, keepdim=True)))
            self.axes.copy_((directions * signs).to(self.axes))

    def drawn(self, codes: Tensor) -> str:
        rest = " by the two directions of largest variance" if self.dimensions > 2 else ""
        return f"on the Poincaré disc{rest}: its rim is infinitely far"

    def chart(self, z: Tensor, at: Tensor) -> tuple[Tensor, Tensor]:
        turn = torch.linspace(0, 2 * math.pi, 129, device=z.device, dtype=z.dtype)
        outline = torch.stack((turn.cos(), turn.sin()), 1) / self.s
        local = self.seen(at.double().reshape(1, -1), z.double())
        return self.from_tangent(self.to_tangent(local) @ self.axes.to(local).T).to(z), outline

    def lift(self, xy: Tensor, at: Tensor) -> Tensor:
        wide = self.project(xy.double())
        local = self.from_tangent(self.to_tangent(wide) @ self.axes.to(wide))
        return self.project(self.add(at.double().reshape(1, -1), local)).to(xy)
