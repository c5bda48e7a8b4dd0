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

import torch
from torch import Tensor

from latent_atlas.models.pairwise import PairwiseLogSums
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


def aggregate(q: DiagonalNormal, z: Tensor, items: int, estimator: str) -> tuple[Tensor, Tensor]:
    """Estimates of log q(z_i) (B,) and of log q(z_ij) per dimension (B, d), in nats."""
    if estimator not in ESTIMATORS:
        raise ValueError(f"estimator is {estimator!r}; it is one of {', '.join(ESTIMATORS)}")
    own, other = ESTIMATORS[estimator](len(z), items)
    width = math.sqrt(0.5) * torch.exp(-0.5 * q.log_var)
    height = -0.5 * (q.log_var + math.log(2 * math.pi))
    joint, marginals = PairwiseLogSums.apply(*(entry.T.contiguous() for entry in (z, q.mode, width, height)), own - other)
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
