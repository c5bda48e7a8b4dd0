"""Regularizers of a VAE in one short function each: arguments of ``vae.VAE``, in the form of ``vae.Regularizer``."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from latent_atlas.models.posteriors import DiagonalNormal, Stochastic
from latent_atlas.spaces.base import LatentSpace


def capacity(
    q: Stochastic, z: Tensor, rate: Tensor, prior: LatentSpace, items: int, beta: float, gamma: float = 10.0
) -> tuple[Tensor, Mapping[str, Tensor]]:
    """γ · |KL(q(z | x) || p(z)) - C| (Burgess et al. 2018, arXiv 1804.03599).

    C in nats is the number that ``VAE`` schedules as ``beta``: it rises from ``beta_start`` to ``beta`` over ``warmup`` batches.
    """
    return gamma * (rate.mean() - beta).abs(), {"capacity": rate.new_tensor(beta)}


def discrepancy(a: Tensor, b: Tensor, width: float) -> Tensor:
    """The unbiased estimate of MMD²(a, b) between samples (n, d) and (m, d), with the kernel exp(-|a - b|² / (2 width²)).

    Unitless; it may be below 0. One point has no pairs: then only the cross term is there.
    """

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        squares = (a.unsqueeze(1) - b.unsqueeze(0)).square().sum(2)
        return torch.exp(-0.5 * squares / width**2)

    def within(a: Tensor) -> Tensor:
        return (kernel(a, a).sum() - len(a)) / (len(a) * max(1, len(a) - 1))

    return within(a) + within(b) - 2 * kernel(a, b).mean()


def information(
    q: Stochastic, z: Tensor, rate: Tensor, prior: LatentSpace, items: int, beta: float, alpha: float = 0.5, weight: float = 100.0
) -> tuple[Tensor, Mapping[str, Tensor]]:
    """β (1 - α) KL(q(z | x) || p(z)) + (α + λ - 1) MMD²(q(z) || p(z)) (InfoVAE, Zhao et al. 2019, arXiv 1706.02262).

    λ is ``weight``. α = 0 and λ = 1 is the VAE; α = 1 leaves only the MMD. The kernel is Gaussian of width √d, the distance at
    which two draws of N(0, I) have the value 1/e.
    """
    codes, draws = prior.coordinates(z), prior.coordinates(prior.sample(len(z)))
    mmd = discrepancy(codes, draws, codes.shape[1] ** 0.5)
    return beta * (1 - alpha) * rate.mean() + (alpha + weight - 1) * mmd, {"mmd": mmd}


def covariance(rows: Tensor) -> Tensor:
    """(B, d) to (d, d), divided by B: one row has the covariance 0."""
    centred = rows - rows.mean(0)
    return centred.T @ centred / len(rows)


def dip(
    q: DiagonalNormal,
    z: Tensor,
    rate: Tensor,
    prior: LatentSpace,
    items: int,
    beta: float,
    kind: str = "ii",
    off_diagonal: float = 10.0,
    diagonal: float | None = None,
) -> tuple[Tensor, Mapping[str, Tensor]]:
    """β KL + λ_od Σ_{i≠j} C_ij² + λ_d Σ_i (C_ii - 1)² (DIP-VAE, Kumar et al. 2018, arXiv 1711.00848).

    C is the covariance of the batch's posterior means for ``kind`` i, and for ii that of q(z), with the mean of the posterior
    variances added to the diagonal. λ_od is ``off_diagonal``; λ_d is ``diagonal``, by default 10 λ_od for i and λ_od for ii.
    """
    if kind not in ("i", "ii"):
        raise ValueError(f"kind is {kind!r}; it is i (moments of the means) or ii (of q(z))")
    with torch.autocast(z.device.type, enabled=False):
        found = covariance(q.mode.flatten(1))
    variances = found.diagonal() + (q.scale.square().flatten(1).mean(0) if kind == "ii" else 0.0)
    off = found.square().sum() - found.diagonal().square().sum()
    on = (variances - 1).square().sum()
    if diagonal is None:
        diagonal = off_diagonal * (10.0 if kind == "i" else 1.0)
    parts = {f"off_diagonal_{kind}": off, f"diagonal_{kind}": on}
    return beta * rate.mean() + off_diagonal * off + diagonal * on, parts
