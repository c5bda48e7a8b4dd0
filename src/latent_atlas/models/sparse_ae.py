"""Sparse autoencoder: each item uses few of many units."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from latent_atlas.models.ae import AE
from latent_atlas.models.base import Batch, Losses
from latent_atlas.models.posteriors import Point

KINDS = ("topk", "l1", "kl")


def top(raw: Tensor, k: int) -> Tensor:
    """The k largest entries of each row where they are positive, 0 elsewhere."""
    found = raw.topk(min(k, raw.shape[1]), dim=1)
    return torch.zeros_like(raw).scatter(1, found.indices, found.values.relu())


def rate_kl(rate: Tensor, target: float) -> Tensor:
    """Σ_j KL(Bernoulli(target) || Bernoulli(rate_j)) in nats, a scalar; rates (d,) in [0, 1]."""
    rate = rate.clamp(1e-6, 1 - 1e-6)
    cross = -target * rate.log() - (1 - target) * torch.log1p(-rate)
    return (cross + target * math.log(target) + (1 - target) * math.log1p(-target)).sum()


class SparseAE(AE):
    """-log p(x | z) + weight · S(z), z = a(encoder(x) + offset), with more units than the data have directions.

    ``topk``: a keeps the k largest pre-activations, S = 0 (Makhzani & Frey 2014, arXiv 1312.5663). ``l1``: a = ReLU, S = |z|₁.
    ``kl``: a = sigmoid, S = Σ_j KL(target || mean of z_j over the batch) (Ng 2011, CS294A).

    A unit is active on an item where z > 0 (``kl``: z > 1/2), and dead when it was on no item of the last ``patience`` training
    batches. Then, and each ``patience`` batches until it fires, its offset, 0 at first, is raised so that it just would on that
    item of the batch where it lacks least: to the k-th largest pre-activation of the item (``l1``, ``kl``: to 0) and ``MARGIN``
    more. No other unit and no weight is touched. Parts: ``active`` is the share of units active on an item, ``dead`` of dead ones.

    Args:
        sparsity: one of ``topk``, ``l1``, ``kl``.
        k: active units of an item at most, of ``topk``.
        target: the rate of ``kl``, in (0, 1).
        weight: of S in nats.
        patience: batches; 0 leaves dead units dead, and counts none.
        more: as in ``AE``.
    """

    MARGIN = 0.01
    idle: Tensor
    offset: Tensor

    def __init__(
        self,
        *args: Any,
        sparsity: str = "topk",
        k: int = 10,
        target: float = 0.05,
        weight: float = 1.0,
        patience: int = 200,
        **more: Any,
    ) -> None:
        if sparsity not in KINDS:
            raise ValueError(f"sparsity is {sparsity!r}; it is one of {', '.join(KINDS)}")
        if k < 1 or not 0 < target < 1:
            raise ValueError(f"k is at least 1 and target between 0 and 1; they are {k} and {target}")
        super().__init__(*args, **more)
        self.sparsity, self.k, self.target, self.weight = sparsity, k, target, weight
        self.patience = patience
        self.register_buffer("idle", torch.zeros(self.space.dimensions, dtype=torch.int64))  # batches since a unit was active
        self.register_buffer("offset", torch.zeros(self.space.dimensions))

    def activate(self, raw: Tensor) -> Tensor:
        """a: pre-activations to codes, (B, d)."""
        return top(raw, self.k) if self.sparsity == "topk" else raw.sigmoid() if self.sparsity == "kl" else raw.relu()

    def encode(self, x: Tensor, condition: Batch | None = None) -> Point:
        return Point(self.activate(self.encoder(x) + self.offset))

    def pressure(self, z: Tensor) -> Tensor:
        """S, a scalar in nats."""
        if self.sparsity == "kl":
            return rate_kl(z.mean(0), self.target)
        return z.sum(1).mean() if self.sparsity == "l1" else z.new_zeros(())

    @torch.no_grad()
    def revive(self, raw: Tensor, active: Tensor) -> None:
        """Counts idle batches, and raises the offset of units that are due."""
        self.idle.copy_(torch.where(active.any(0), 0, self.idle + 1))
        due = (self.idle > 0) & (self.idle % self.patience == 0)
        if due.any():
            threshold = raw.new_zeros(len(raw), 1)
            if self.sparsity == "topk":
                threshold = raw.topk(min(self.k, raw.shape[1]), dim=1).values[:, -1:].relu()
            self.offset += torch.where(due, (threshold - raw).amin(0) + self.MARGIN, 0.0)

    def loss(self, batch: Batch, player: str) -> Losses:
        x = self.observed(batch)
        raw = self.encoder(x) + self.offset
        z = self.activate(raw)
        active = z > (0.5 if self.sparsity == "kl" else 0.0)
        distortion, pressure = -self.decode(z).log_prob(x).mean(), self.pressure(z)
        if self.training and self.patience:
            self.revive(raw, active)
        dead = (self.idle >= max(1, self.patience)).float().mean()
        parts = {"distortion": distortion, "pressure": pressure, "active": active.float().mean(), "dead": dead}
        return Losses(distortion + self.weight * pressure, {name: part.detach() for name, part in parts.items()})
