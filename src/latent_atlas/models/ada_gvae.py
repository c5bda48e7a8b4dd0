"""Weak supervision by pairs that share most of their factors, nobody says which."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from latent_atlas.models.ae import AE
from latent_atlas.models.base import Batch, Losses
from latent_atlas.models.posteriors import DiagonalNormal, NormalHead


def divergence(mean: Tensor, log_var: Tensor) -> Tensor:
    """(KL(a_j || b_j) + KL(b_j || a_j)) / 2 in nats, (B, d), of normals a and b with these moments (2, B, d)."""
    ratio, distance = torch.exp(log_var[0] - log_var[1]), (mean[0] - mean[1]) ** 2
    return 0.25 * (ratio + 1 / ratio + distance * torch.exp(-log_var).sum(0)) - 0.5


def pooled(q: DiagonalNormal) -> tuple[DiagonalNormal, Tensor]:
    """Posteriors of B items, then of their B partners, averaged in the dimensions that a pair shares; and which these are, (B, d).

    They are those with δ_j < (max δ + min δ) / 2, δ the divergence of the pair; there both have the mean of the two means and the
    mean of the two variances.
    """
    mean, log_var = (entry.unflatten(0, (2, -1)) for entry in (q.mode, q.log_var))
    delta = divergence(mean.detach(), log_var.detach())
    shared = delta < (delta.amax(1, keepdim=True) + delta.amin(1, keepdim=True)) / 2
    mean = torch.where(shared, mean.mean(0), mean)
    log_var = torch.where(shared, torch.logsumexp(log_var, 0) - math.log(2), log_var)
    return DiagonalNormal(mean.flatten(0, 1), log_var.flatten(0, 1)), shared


class AdaGVAE(AE):
    """-log p(x | z) + β · KL(q̃(z | x) || p(z)), averaged over the two items of a pair (Locatello et al. 2020, arXiv 2002.02886).

    q̃ is q(z | x), but in the dimensions that the pair shares it is the average of both (``pooled``). The batch has the other item
    of each pair in the field ``pair``. Parts are in nats per sample, and ``shared``, the mean number of such dimensions.

    Args:
        args, more: as in ``AE``; ``posterior`` makes a ``DiagonalNormal``.
        beta: β.
    """

    def __init__(self, *args: Any, beta: float = 1.0, **more: Any) -> None:
        super().__init__(*args, **{"posterior": NormalHead, **more})
        self.beta = beta

    def loss(self, batch: Batch, player: str) -> Losses:
        both = torch.cat((self.observed(batch), batch["pair"]))
        q = self.encode(both)
        assert isinstance(q, DiagonalNormal)
        q, shared = pooled(q)
        z = q.sample()
        distortion = -self.decode(z).log_prob(both).mean()
        rate = q.kl(self.space, z=z).mean()
        parts = {"distortion": distortion, "rate": rate, "nelbo": distortion + rate, "shared": shared.float().sum(1).mean()}
        return Losses(distortion + self.beta * rate, {name: part.detach() for name, part in parts.items()})
