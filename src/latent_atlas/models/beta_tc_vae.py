"""The decomposed regularizer of β-TCVAE (Chen et al. 2018, arXiv 1802.04942).

    E_x KL(q(z|x) || p(z)) = I(z; n) + TC(z) + Σ_j KL(q(z_j) || p(z_j)),   TC = KL(q(z) || Π_j q(z_j)),

with q(z) = (1/N) Σ_n q(z | n), of which a batch of B items sees a part. Two estimates of log q(z_i), z_i ~ q(z | n_i):

- ``mws``, minibatch weighted sampling: log 1/(N B) Σ_j q(z_i | n_j). Its expectation bounds q(z) from below, however large the
  batch (over the whole set it is log q(z) - log N): it drives training, but its level is not that of a total correlation.
- ``mss``, minibatch stratified sampling: log [1/N q(z_i | n_i) + (N - 1)/(N (B - 1)) Σ_{j≠i} q(z_i | n_j)]. Inside the
  logarithm it is unbiased for batches without repetition, and exact for B = N. The paper gives one of the B - 1 others a weight of
  its own; the mean over which one that is gives the weights here: the same expectation, less variance, and at B = N exact, which
  the paper's are not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from latent_atlas.models.posteriors import DiagonalNormal
from latent_atlas.spaces.base import LatentSpace


def mws_log_weights(batch: int, items: int) -> tuple[float, float]:
    """Log weight of the own item and of each other: 1/(N B) both."""
    return -math.log(items * batch), -math.log(items * batch)


def mss_log_weights(batch: int, items: int) -> tuple[float, float]:
    """Log weight of the own item, 1/N, and of each other, (N - 1)/(N (B - 1)); they sum to 1 for B > 1."""
    if batch == 1:
        return -math.log(items), 0.0  # there is no other
    items = max(items, batch)
    return -math.log(items), math.log((items - 1) / (items * (batch - 1)))


ESTIMATORS = {"mws": mws_log_weights, "mss": mss_log_weights}


CACHED = 2**16  # pairs that are worked on at once on a CPU: what its cache holds of them


class Aggregate(torch.autograd.Function):
    """log Σ_j exp(Σ_k l_kij + δ_ij) and log Σ_j exp(l_kij + δ_ij), l_kij = height_kj - ((z_ki - mean_kj) · width_kj)².

    All arguments (d, B) but δ, ``own`` on the diagonal; the results (B,) and (d, B). A few dimensions at a time, so that their
    pairs stay in a processor's cache; the softmax of the forward is kept for the backward, whose sums over pairs are products with
    vectors. Half of the time of autograd's own passes over (d, B, B) at B = 256 on a CPU.
    """

    @staticmethod
    def forward(ctx: Any, z: Tensor, mean: Tensor, width: Tensor, height: Tensor, own: float) -> tuple[Tensor, Tensor]:
        size, batch = z.shape
        weights = z.new_empty(size, batch, batch)
        totals = torch.empty_like(z)
        joint = z.new_zeros(batch, batch)
        for part in pieces(z):
            logs = weights[part]
            torch.sub(z[part].unsqueeze(2), mean[part].unsqueeze(1), out=logs)
            logs.mul_(width[part].unsqueeze(1))
            torch.addcmul(height[part].unsqueeze(1).expand_as(logs), logs, logs, value=-1, out=logs)
            joint.add_(logs.sum(0))
            logs.diagonal(dim1=1, dim2=2).add_(own)
            totals[part] = normalise(logs)
        joint.diagonal().add_(own)
        together = normalise(joint)
        ctx.save_for_backward(z, mean, width, weights, joint)
        return together, totals

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, None]:
        together, totals = gradients
        z, mean, width, weights, joint = ctx.saved_tensors
        shared = joint * together.unsqueeze(1)
        ones = z.new_ones(1, 1, z.shape[1])
        to_z, to_mean, to_width, to_height = (torch.empty_like(z) for _ in range(4))
        with torch.autocast(z.device.type, enabled=False):  # a product would be rounded to bfloat16
            for part in pieces(z):
                slopes = torch.addcmul(shared, weights[part], totals[part].unsqueeze(2))
                to_height[part] = torch.matmul(ones, slopes).squeeze(1)
                deviations = torch.sub(z[part].unsqueeze(2), mean[part].unsqueeze(1)).mul_(width[part].unsqueeze(1))
                slopes.mul_(deviations)
                to_z[part] = -2 * torch.matmul(slopes, width[part].unsqueeze(2)).squeeze(2)
                to_mean[part] = 2 * width[part] * torch.matmul(ones, slopes).squeeze(1)
                to_width[part] = -2 * torch.matmul(ones, slopes.mul_(deviations)).squeeze(1) / width[part]
        return to_z, to_mean, to_width, to_height, None


def pieces(z: Tensor) -> list[slice]:
    """The dimensions of z (d, B), as many at a time as fit: on an accelerator all."""
    size, batch = z.shape
    step = max(1, CACHED // batch**2) if z.device.type == "cpu" else size
    return [slice(start, start + step) for start in range(0, size, step)]


def normalise(logs: Tensor) -> Tensor:
    """Turns the last axis of logarithms into its softmax, in place; the logarithm of its sum, an axis less."""
    highest = logs.amax(-1, keepdim=True)
    total = logs.sub_(highest).exp_().sum(-1, keepdim=True)
    logs.div_(total)
    return (highest + total.log()).squeeze(-1)


def aggregate(q: DiagonalNormal, z: Tensor, items: int, estimator: str) -> tuple[Tensor, Tensor]:
    """Estimates of log q(z_i) (B,) and of log q(z_ij) per dimension (B, d), in nats."""
    if estimator not in ESTIMATORS:
        raise ValueError(f"estimator is {estimator!r}; it is one of {', '.join(ESTIMATORS)}")
    own, other = ESTIMATORS[estimator](len(z), items)
    width = math.sqrt(0.5) * torch.exp(-0.5 * q.log_var)
    height = -0.5 * (q.log_var + math.log(2 * math.pi))
    joint, marginals = Aggregate.apply(*(entry.T.contiguous() for entry in (z, q.mode, width, height)), own - other)
    return joint + other, marginals.T + other


def decomposed(
    q: DiagonalNormal,
    z: Tensor,
    rate: Tensor,
    prior: LatentSpace,
    items: int,
    beta: float,
    alpha: float = 1.0,
    gamma: float = 1.0,
    estimator: str = "mws",
) -> tuple[Tensor, Mapping[str, Tensor]]:
    """α I(z; n) + β TC + γ Σ_j KL(q(z_j) || p(z_j)), each estimated from one draw per item and named after the estimator.

    For α = β = γ = 1 the estimates of q(z) cancel and log q(z|x) - log p(z) is left, whose expectation is the KL: the objective is
    then the VAE's, by either estimator.
    """
    joint, marginals = aggregate(q, z, items, estimator)
    information = (q.log_prob(z) - joint).mean()
    correlation = (joint - marginals.sum(1)).mean()
    dimension_kl = (marginals.sum(1) - prior.log_prob(z)).mean()
    parts = {"mutual_information": information, "total_correlation": correlation, "dimension_kl": dimension_kl}
    penalty = alpha * information + beta * correlation + gamma * dimension_kl
    return penalty, {f"{name}_{estimator}": part for name, part in parts.items()}
