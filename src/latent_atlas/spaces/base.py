"""The latent space as an object of its own: what everything else is written against."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Generator, Tensor, nn


class LatentSpace(nn.Module, ABC):
    """Points z of event shape ``shape``, a prior p(z), a distance and geodesics.

    A module, because a prior may have parameters (a mixture, VampPrior). Batches come first everywhere: z is (B, *shape).
    """

    shape: tuple[int, ...]

    @property
    @abstractmethod
    def dimensions(self) -> int:
        """d, the number of columns of ``coordinates``."""

    @abstractmethod
    def sample(self, n: int, generator: Generator | None = None) -> Tensor:
        """n draws of the prior, (n, *shape), on the device of the space."""

    @abstractmethod
    def log_prob(self, z: Tensor) -> Tensor:
        """log p(z) in nats, (B,)."""

    @abstractmethod
    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        """Geodesic distance of paired points, (B,)."""

    @abstractmethod
    def geodesic(self, a: Tensor, b: Tensor, t: Tensor) -> Tensor:
        """Points at the fractions t (T,) of the shortest path from a to b, each (B, *shape): (T, B, *shape)."""

    @abstractmethod
    def project(self, z: Tensor) -> Tensor:
        """The nearest point of the space, same shape."""

    @abstractmethod
    def coordinates(self, z: Tensor) -> Tensor:
        """(B, d): the one array that metrics call ``codes``."""

    @abstractmethod
    def from_coordinates(self, codes: Tensor) -> Tensor:
        """The inverse of ``coordinates``: (B, d) to (B, *shape)."""

    @abstractmethod
    def chart(self, z: Tensor, at: Tensor) -> tuple[Tensor, Tensor]:
        """Draws points on a plane: xy (B, 2) and the outline of the chart (P, 2), seen from the anchor ``at`` (*shape)."""

    def orient(self, codes: Tensor) -> None:
        """Turns the chart so that it shows coordinates ``codes`` (B, d) best."""

    def drawn(self, codes: Tensor) -> str:
        """How the chart shows ``codes`` (B, d), in words that follow "codes"."""
        return "in the chart of their space"

    @abstractmethod
    def lift(self, xy: Tensor, at: Tensor) -> Tensor:
        """The points (B, *shape) that the chart at ``at`` draws at xy (B, 2)."""
