"""The evidence lower bound and its two parts, in nats per item, summed over dimensions. Smaller is better."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from latent_atlas.metrics.result import Measured, NotApplicable, mean_of

DEAD = 0.01  # nats: a dimension below this carries nothing (METRICS: active units by KL)


class PosteriorArrays(Protocol):
    """What likelihood metrics read of q(z | x)."""

    kl: Tensor | None  # (N,) nats
    kl_per_dimension: Tensor | None  # (d,) nats, mean over items


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


def active_dimensions(posterior: PosteriorArrays, threshold: float = DEAD) -> Measured:
    """How many dimensions carry at least ``threshold`` nats on average over items."""
    if posterior.kl_per_dimension is None:
        raise NotApplicable("the posterior has no KL per dimension")
    active = int((posterior.kl_per_dimension >= threshold).sum())
    return Measured(float(active), ceiling=float(len(posterior.kl_per_dimension)), provenance={"threshold": threshold})
