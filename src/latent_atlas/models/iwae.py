"""Importance weighted autoencoder."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from latent_atlas.data.spec import DataSpec
from latent_atlas.models.ae import AE
from latent_atlas.models.base import Batch, Losses
from latent_atlas.models.posteriors import Stochastic
from latent_atlas.models.schedules import ramp


class IWAE(AE):
    """-E log (1/K) Σ_k w_k, w_k = p(x | z_k) p(z_k) / q(z_k | x), z_k ~ q (Burda et al. 2016, arXiv 1509.00519).

    K = 1 is the VAE's bound with the KL from the draw; as K grows the bound rises to log p(x). The sum is taken in the logarithm,
    in float32. An update costs one encoder pass and K decoder passes. Parts in nats per sample: ``bound`` is that of K draws,
    ``distortion`` and ``rate`` the means over all draws, ``nelbo`` their sum (K = 1), ``effective_draws`` = (Σ w)² / Σ w² of K.

    Args:
        spec: of the data.
        samples: K.
        beta: the weight of log p(z) - log q(z | x) in log w; below 1 only in a warm-up, since the bound holds for 1.
        warmup: batches over which that weight rises linearly from ``beta_start``; 0 for none.
        beta_start: the weight at the first batch of a warm-up.
        more: of ``AE``; ``posterior`` must have a density.
    """

    def __init__(
        self, spec: DataSpec, samples: int = 5, beta: float = 1.0, warmup: int = 0, beta_start: float = 0.0, **more: Any
    ) -> None:
        super().__init__(spec, **more)
        if samples < 1:
            raise ValueError(f"samples is {samples}; the bound needs at least one draw")
        self.samples = samples
        self.beta, self.warmup, self.beta_start = beta, warmup, beta_start

    def log_ratios(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """log p(x | z_k) and log p(z_k) - log q(z_k | x) of K draws per item, (K, B) each."""
        x, condition = self.observed(batch), self.given(batch)
        q = self.encode(x, condition)
        assert isinstance(q, Stochastic)
        draws = [q.sample() for _ in range(self.samples)]
        ratios = torch.stack([self.space.log_prob(z) - q.log_prob(z) for z in draws])

        def several(field: Tensor) -> Tensor:
            return field.repeat(self.samples, *[1] * (field.dim() - 1))

        again = None if condition is None else {name: several(value) for name, value in condition.items()}
        fit = self.decode(torch.cat(draws), again).log_prob(several(x)).unflatten(0, (self.samples, -1))
        return fit, ratios

    def loss(self, batch: Batch, player: str) -> Losses:
        fit, ratios = self.log_ratios(batch)
        weight = ramp(int(self.step), self.beta_start, self.beta, self.warmup)
        log_w = fit + weight * ratios
        bound = (torch.logsumexp(log_w, 0) - math.log(self.samples)).mean()
        with torch.no_grad():
            effective = torch.exp(2 * torch.logsumexp(log_w, 0) - torch.logsumexp(2 * log_w, 0)).mean()
        distortion, rate = -fit.mean(), -ratios.mean()
        parts = {"bound": bound, "distortion": distortion, "rate": rate, "nelbo": distortion + rate, "effective_draws": effective}
        return Losses(-bound, {name: part.detach() for name, part in parts.items()})
