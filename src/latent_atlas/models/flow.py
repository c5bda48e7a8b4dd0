"""A normalizing flow alone: exact encoding, decoding and density."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Generator, Tensor

from latent_atlas.data.spec import DataSpec
from latent_atlas.models.base import Batch, LatentModel, Losses
from latent_atlas.models.dequantization import Dequantizer
from latent_atlas.models.likelihoods import Density
from latent_atlas.models.posteriors import Stochastic
from latent_atlas.spaces.euclidean import Euclidean
from latent_atlas.spaces.flow import FlowFactory, near_identity


class Cells(Stochastic):
    """z = f(k + u), u uniform in the unit cube on an item's levels k (B, d); of continuous entries z = f(k), a point without width.

    The density with respect to dz is 1 / |det ∂f/∂v| on the image of the cube and 0 elsewhere: log p(z) - log q(z | x) of a draw is
    log p(v), the model's own, and the rate is its negative.
    """

    def __init__(self, flow: Flow, levels: Tensor) -> None:
        self.flow, self.levels = flow, levels
        self.drawn: tuple[Tensor, Tensor] | None = None  # the last draw and its log |det ∂f/∂v|

    @property
    def mode(self) -> Tensor:  # type: ignore[override]
        """f of the middle of the cell, (B, d)."""
        return self.flow.inward(self.levels + 0.5 * self.flow.data.discrete)[0]

    def sample(self, generator: Generator | None = None) -> Tensor:
        self.drawn = self.flow.inward(self.levels + self.flow.data.noise(self.levels, generator))
        return self.drawn[0]

    def log_prob(self, z: Tensor) -> Tensor:
        if self.drawn is not None and z is self.drawn[0]:
            return -self.drawn[1]
        v = self.flow.outward(z)
        inside = self.flow.data.holds(v, self.levels)
        found = z.new_full((len(z),), -math.inf)
        if inside.any():  # zuko refuses a batch of 0
            found[inside] = -self.flow.inward(v[inside])[1]
        return found


class Determined(Density):
    """All mass at the item that z decodes to: log p(x | z) is 0 for it and -inf for any other.

    Args:
        flow: the model.
        values: v (B, d).
    """

    def __init__(self, flow: Flow, values: Tensor) -> None:
        self.flow, self.values = flow, values

    @property
    def mean(self) -> Tensor:
        return self.flow.data.item(self.values)

    def log_prob(self, x: Tensor) -> Tensor:
        return torch.where(self.flow.data.holds(self.values, self.flow.data.levels(x)), 0.0, -math.inf)


class Flow(LatentModel):
    """-log p(v) = -log N(f(v); 0, I) - log |det ∂f/∂v|, f of zuko (RealNVP: Dinh et al. 2017, arXiv 1605.08803).

    v is the dequantized image, so nats and bits per dimension are those of discrete data and not of a density over [0, 1]; a
    vector is continuous, its density exact and in its own units. The code has as many dimensions as the item. Decoding is exact:
    images come back bit for bit, vectors within float32.

    Args:
        spec: of the data: images or vectors.
        flow: factory (features, context) -> flow of zuko.
        levels: of an image; by default as many as its field can hold. Data on fewer (17 grey values in 8 bits) waste bits unless
            it is told here.
        alpha: of ``Dequantizer``.
        items: the most training items that ``prepare`` reads.
        player: optimizer, scheduler, clip and ema of ``LatentModel``.
    """

    def __init__(
        self, spec: DataSpec, flow: FlowFactory, levels: int | None = None, alpha: float = 0.05, items: int = 10_000, **player: Any
    ) -> None:
        features = math.prod(spec.x.shape)
        super().__init__(spec, {"z": Euclidean(features)}, **player)
        self.data = Dequantizer(spec.x, levels, alpha)
        self.flow = near_identity(flow(features, 0))
        self.items = items

    def inward(self, v: Tensor) -> tuple[Tensor, Tensor]:
        """f: v (B, d) to z (B, d), and log |det ∂f/∂v| (B,)."""
        w, log_det = self.data.inward(v)
        z, of_flow = self.flow.transform(None).call_and_ladj(w)
        return z, log_det + of_flow

    def outward(self, z: Tensor) -> Tensor:
        """f⁻¹: z (B, d) to v (B, d)."""
        return self.data.outward(self.flow.transform(None).inv(z))

    def prepare(self, batches: Iterable[Batch]) -> None:
        """The flow starts on entries of unit variance."""
        self.data.start((self.observed(batch) for batch in batches), self.items)

    def encode(self, x: Tensor, condition: Batch | None = None) -> Cells:
        return Cells(self, self.data.levels(x))

    def decode(self, z: Tensor, condition: Batch | None = None) -> Determined:
        return Determined(self, self.outward(z))

    def loss(self, batch: Batch, player: str) -> Losses:
        q = self.encode(self.observed(batch))
        nll = q.kl(self.space, z=q.sample()).mean()
        parts = {"nll": nll.detach(), "bits_per_dimension": nll.detach() / (self.space.dimensions * math.log(2))}
        return Losses(nll, parts)
