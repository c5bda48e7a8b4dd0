"""The evidence lower bound and its two parts, in nats per item, summed over dimensions. Smaller is better."""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor

from latent_atlas.metrics.result import Z95, Measured, NotApplicable, mean_of

DEAD = 0.01  # nats: a dimension below this carries nothing (METRICS: active units by KL)


class PosteriorArrays(Protocol):
    """What likelihood metrics read of q(z | x)."""

    kl: Tensor | None  # (N,) nats
    kl_per_dimension: Tensor | None  # (d,) nats, mean over items; of the code's parts where it falls into others than dimensions


def distortion(log_prob: Tensor) -> Measured:
    """−E_q[log p(x | z)], one draw of q per item; log_prob is (N,)."""
    return mean_of(-log_prob, draws=1)


def rate(posterior: PosteriorArrays) -> Measured:
    """KL(q(z | x) || p(z)): what the code costs to send.

    Raises:
        NotApplicable: a code without a distribution, such as an autoencoder's.
    """
    if posterior.kl is None:
        raise NotApplicable("the code is a point, not a distribution: it has no rate")
    return mean_of(posterior.kl)


def nelbo(log_prob: Tensor, posterior: PosteriorArrays) -> Measured:
    """Distortion + rate, an upper bound of −log p(x) (Kingma & Welling 2014)."""
    if posterior.kl is None:
        raise NotApplicable("the code is a point, not a distribution: there is no bound")
    return mean_of(posterior.kl - log_prob, draws=1)


def nll(log_weights: Tensor) -> Measured:
    """−log p(x) by importance weights: −mean over items of log (1/K) Σ_k p(x, z_k) / q(z_k | x) (Burda et al. 2016, 1509.00519).

    An upper bound in expectation that falls with K, so K is part of the provenance. The mean effective number of draws, out of K,
    is among the parts: near 1 the weights rest on single draws and K is too small.

    Args:
        log_weights: (N, K) nats.
    """
    weights = log_weights.double()
    draws = weights.shape[1]
    estimate = torch.logsumexp(weights, 1) - math.log(draws)
    share = torch.softmax(weights, 1)
    found = mean_of(-estimate, draws=draws)
    parts = {"effective_draws": float((1 / share.square().sum(1)).mean())}
    return Measured(found.value, found.interval, provenance=found.provenance, parts=parts)


def bits_per_dimension(log_weights: Tensor, x: Tensor) -> Measured:
    """``nll`` in bits for each entry of an item: nats / (entries · log 2)."""
    found = nll(log_weights)
    scale = 1 / (math.prod(x.shape[1:]) * math.log(2))
    interval = None if found.interval is None else (found.interval[0] * scale, found.interval[1] * scale)
    return Measured(found.value * scale, interval, provenance=found.provenance, parts=found.parts)


def active_dimensions(posterior: PosteriorArrays, threshold: float = DEAD) -> Measured:
    """How many dimensions (or parts, as of ``kl_per_dimension``) carry at least ``threshold`` nats on average over items.

    The interval counts those that do at the lower and at the upper end of their own, where ``kl_error``, the standard error of each
    dimension's mean, is known.
    """
    if posterior.kl_per_dimension is None:
        raise NotApplicable("no KL per dimension: there is no posterior, or it and the prior do not fall into dimensions")
    found, error = posterior.kl_per_dimension, getattr(posterior, "kl_error", None)
    active = float((found >= threshold).sum())
    interval = None
    if error is not None:
        interval = (float((found - Z95 * error >= threshold).sum()), float((found + Z95 * error >= threshold).sum()))
    return Measured(active, interval, 0.0, float(len(found)), provenance={"threshold": threshold})
