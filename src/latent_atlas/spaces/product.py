"""Products of spaces: a part of the code in each."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Generator, Tensor, nn

from latent_atlas.spaces.base import LatentSpace


class Product(LatentSpace):
    """Z_1 × ... × Z_K with p(z) = Π p_k(z_k) and distance² = Σ distance_k² (Gu et al. 2019; Skopek et al. 2020, arXiv 1911.08411).

    A point is the row of all factors' coordinates. Paths run in every factor at once; the chart is that of one factor, the first
    or, after ``orient(codes)``, the one in which codes lie farthest apart; ``lift`` leaves the others at the anchor.

    Args:
        latent_size: the sum of the factors' intrinsic dimensions, so that a run says what it compares.
        factors: the spaces.
    """

    parts: nn.ModuleList

    def __init__(self, latent_size: int, factors: Sequence[LatentSpace]) -> None:
        super().__init__()
        intrinsic = sum(getattr(factor, "intrinsic", factor.dimensions) for factor in factors)
        if intrinsic != latent_size:
            raise ValueError(f"the factors have {intrinsic} dimensions together, latent_size is {latent_size}")
        self.parts = nn.ModuleList(factors)
        self.widths = [factor.dimensions for factor in factors]
        self.shape = (sum(self.widths),)
        self.intrinsic, self.shown = intrinsic, 0

    @property
    def dimensions(self) -> int:
        return self.shape[0]

    @property
    def factors(self) -> list[LatentSpace]:
        """The spaces, in order."""
        return list(self.parts)  # type: ignore[arg-type]

    def split(self, z: Tensor) -> list[Tensor]:
        """(B, d) to the points of each factor, (B, *its shape)."""
        pieces = z.split(self.widths, dim=-1)
        return [factor.from_coordinates(piece) for factor, piece in zip(self.factors, pieces, strict=True)]

    def join(self, points: Sequence[Tensor]) -> Tensor:
        """The inverse of ``split``."""
        return torch.cat([factor.coordinates(z) for factor, z in zip(self.factors, points, strict=True)], dim=-1)

    def sample(self, n: int, generator: Generator | None = None) -> Tensor:
        return self.join([factor.sample(n, generator) for factor in self.factors])

    def log_prob(self, z: Tensor) -> Tensor:
        return torch.stack([factor.log_prob(part) for factor, part in zip(self.factors, self.split(z), strict=True)]).sum(0)

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        return torch.linalg.vector_norm(self.distances(a, b), dim=0)

    def distances(self, a: Tensor, b: Tensor) -> Tensor:
        """In each factor, (K, B)."""
        pairs = zip(self.factors, self.split(a), self.split(b), strict=True)
        return torch.stack([factor.distance(x, y) for factor, x, y in pairs])

    def geodesic(self, a: Tensor, b: Tensor, t: Tensor) -> Tensor:
        pairs = zip(self.factors, self.split(a), self.split(b), strict=True)
        paths = [(factor, factor.geodesic(x, y, t)) for factor, x, y in pairs]
        return torch.cat([factor.coordinates(path.flatten(0, 1)).unflatten(0, path.shape[:2]) for factor, path in paths], dim=-1)

    def project(self, z: Tensor) -> Tensor:
        return self.join([factor.project(part) for factor, part in zip(self.factors, self.split(z), strict=True)])

    def coordinates(self, z: Tensor) -> Tensor:
        return z

    def from_coordinates(self, codes: Tensor) -> Tensor:
        return codes.reshape(-1, *self.shape)

    @torch.no_grad()
    def orient(self, codes: Tensor) -> None:
        """Shows the factor in which ``codes`` (B, d) lie farthest from their middle, itself turned to them."""
        middle = self.project(codes.mean(0, keepdim=True)).expand_as(codes)
        self.shown = int(self.distances(codes, middle).square().mean(1).argmax())
        self.factors[self.shown].orient(codes.split(self.widths, dim=-1)[self.shown])

    def drawn(self, codes: Tensor) -> str:
        factor = self.factors[self.shown]
        own = factor.drawn(codes.split(self.widths, dim=-1)[self.shown])
        return f"in factor {self.shown + 1} of {len(self.parts)}, {type(factor).__name__}, {own}"

    def chart(self, z: Tensor, at: Tensor) -> tuple[Tensor, Tensor]:
        return self.factors[self.shown].chart(self.split(z)[self.shown], at=self.split(at.reshape(1, -1))[self.shown][0])

    def lift(self, xy: Tensor, at: Tensor) -> Tensor:
        points = [part.repeat(len(xy), *[1] * (part.dim() - 1)) for part in self.split(at.reshape(1, -1).to(xy))]
        points[self.shown] = self.factors[self.shown].lift(xy, at=points[self.shown][0])
        return self.join(points)
