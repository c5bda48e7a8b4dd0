"""Discrete codes: L variables of K classes."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from latent_atlas.spaces.base import LatentSpace


class Categorical(LatentSpace):
    """L one-hot variables of K classes, z (L, K), each class of each equally likely: log p(z) = -L log K.

    The points are the corners of L simplices; between them lie their convex mixtures, on which decoders that were trained by
    relaxation are defined. The distance of a and b is Σ_l ½ |a_l - b_l|₁: the number of variables in which two corners differ.
    Straight lines through the simplices are geodesics of it, with equal speed. Coordinates are the L·K entries of z.

    The chart shows two variables, the first two or, after ``orient``, the two with the most entropy, as a grid of their classes
    0..K-1; a mixture lies at the mean of its classes. ``lift`` sets them in the anchor, and between two classes mixes these two:
    chart(lift(xy)) = xy within the grid, while lift(chart(z)) = z for corners that agree with the anchor elsewhere.

    Args:
        variables: L.
        classes: K, at least 2.
    """

    axes: Tensor

    def __init__(self, variables: int, classes: int = 10) -> None:
        super().__init__()
        if variables < 1 or classes < 2:
            raise ValueError(f"a categorical space of {variables} variables of {classes} classes: needed are 1 of 2 at least")
        self.shape = (variables, classes)
        self.intrinsic = variables
        # Not persistent: how the space is drawn is no part of a trained model. It also knows the device.
        self.register_buffer("axes", torch.arange(2) % variables, persistent=False)

    @property
    def dimensions(self) -> int:
        return math.prod(self.shape)

    def corners(self, indices: Tensor) -> Tensor:
        """Classes (B, L) to points (B, L, K)."""
        return F.one_hot(indices, self.shape[1]).float()

    def sample(self, n: int, generator: Generator | None = None) -> Tensor:
        return self.corners(torch.randint(self.shape[1], (n, self.shape[0]), generator=generator, device=self.axes.device))

    def log_prob(self, z: Tensor) -> Tensor:
        """With respect to counting: for mixtures, too, the probability of a corner."""
        return z.new_full((len(z),), -self.shape[0] * math.log(self.shape[1]))

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        return 0.5 * (a - b).abs().flatten(1).sum(1)

    def geodesic(self, a: Tensor, b: Tensor, t: Tensor) -> Tensor:
        return torch.lerp(a[None], b[None], t.to(a).reshape(-1, 1, 1, 1))

    def project(self, z: Tensor) -> Tensor:
        """The nearest corner."""
        return self.corners(z.argmax(2)).to(z)

    def coordinates(self, z: Tensor) -> Tensor:
        return z.flatten(1)

    def from_coordinates(self, codes: Tensor) -> Tensor:
        return codes.reshape(-1, *self.shape)

    @torch.no_grad()
    def orient(self, codes: Tensor) -> None:
        """Turns the chart to the two variables of most entropy over ``codes`` (B, L·K)."""
        shares = codes.double().reshape(-1, *self.shape).mean(0).clamp(min=0)
        order = torch.special.entr(shares).sum(1).argsort(descending=True, stable=True)
        self.axes.copy_(order[torch.arange(2) % len(order)])

    def chart(self, z: Tensor, at: Tensor) -> tuple[Tensor, Tensor]:
        classes = torch.arange(self.shape[1], device=z.device, dtype=z.dtype)
        xy = z[:, self.axes] @ classes
        if self.shape[0] == 1:
            xy = torch.stack((xy[:, 0], torch.zeros_like(xy[:, 0])), 1)
        low, high = -0.5, self.shape[1] - 0.5
        return xy, torch.tensor([[low, low], [high, low], [high, high], [low, high], [low, low]], device=z.device)

    def lift(self, xy: Tensor, at: Tensor) -> Tensor:
        z = at.to(xy).expand(len(xy), *self.shape).clone()
        place = xy.clamp(0, self.shape[1] - 1).unsqueeze(2)
        # a hat over each class: 1 at its place, 0 at the next
        z[:, self.axes[0]] = (1 - (place[:, 0] - torch.arange(self.shape[1], device=xy.device)).abs()).clamp(min=0)
        if self.shape[0] > 1:
            z[:, self.axes[1]] = (1 - (place[:, 1] - torch.arange(self.shape[1], device=xy.device)).abs()).clamp(min=0)
        return z
