"""Variational autoencoder with the regularizer as an argument."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from latent_atlas.data.spec import DataSpec
from latent_atlas.models.ae import AE, DecoderFactory, EncoderFactory, SpaceFactory
from latent_atlas.models.base import Batch, Losses, Player
from latent_atlas.models.likelihoods import HeadFactory
from latent_atlas.models.posteriors import NormalHead, PosteriorFactory, Stochastic
from latent_atlas.models.schedules import ramp
from latent_atlas.spaces.base import LatentSpace
from latent_atlas.spaces.euclidean import Euclidean

# (q, z ~ q, KL(q || prior) per item, prior, N of the training split, β) -> (penalty in nats per sample, named parts)
Regularizer = Callable[[Any, Tensor, Tensor, LatentSpace, int, float], tuple[Tensor, Mapping[str, Tensor]]]


def kl(
    q: Any, z: Tensor, rate: Tensor, prior: LatentSpace, items: int, beta: float, free: float = 0.0
) -> tuple[Tensor, Mapping[str, Tensor]]:
    """β · KL(q(z | x) || p(z)): Kingma & Welling 2014 for β = 1, Higgins et al. 2017 otherwise.

    ``free`` nats of each dimension cost nothing: β · Σ_j max(free, E_batch KL_j) (free bits, Kingma et al. 2016, arXiv 1606.04934),
    so no dimension is pushed below them. A posterior whose KL is not a sum over dimensions has ``free`` · d in one.
    """
    if free <= 0:
        return beta * rate.mean(), {}
    if hasattr(q, "kl_per_dimension") and getattr(prior, "standard_normal", False):
        return beta * q.kl_per_dimension().flatten(1).mean(0).clamp(min=free).sum(), {}
    return beta * rate.mean().clamp(min=free * prior.dimensions), {}


class VAE(AE):
    """-log p(x | z) + β · KL(q(z | x) || p(z)), z ~ q (Kingma & Welling 2014, arXiv 1312.6114).

    Parts are in nats per sample: ``distortion`` = -E log p(x | z), ``rate`` = KL(q || p), ``nelbo`` = their sum whatever the
    regularizer and β, and what the regularizer names.

    Args:
        spec, encoder, decoder, likelihood, latent_size, space: as in ``AE``.
        posterior: factory space -> head that makes a ``Stochastic`` posterior; diagonal normal by default.
        regularizer: what is added to the distortion.
        beta: the weight that the regularizer is given.
        warmup: batches over which that weight rises linearly from ``beta_start`` to ``beta``; 0 for none.
        beta_start: the weight at the first batch of a warm-up.
        cycles: how often the warm-up is repeated, each time rising over ``warmup`` batches and holding for as many.
        encoder_updates: updates of encoder and posterior per batch, before one of everything else: more than one is the aggressive
            training of He et al. 2019 (arXiv 1901.05534), here on one batch and without their stop. The encoder's scheduler
            then moves as many times a batch.
        more: conditions of ``AE``; optimizer, scheduler, clip and ema of ``LatentModel``.
    """

    def __init__(
        self,
        spec: DataSpec,
        encoder: EncoderFactory,
        decoder: DecoderFactory,
        likelihood: HeadFactory,
        latent_size: int = 10,
        regularizer: Regularizer = kl,
        beta: float = 1.0,
        warmup: int = 0,
        beta_start: float = 0.0,
        space: SpaceFactory = Euclidean,
        posterior: PosteriorFactory = NormalHead,
        cycles: int = 1,
        encoder_updates: int = 1,
        **more: Any,
    ) -> None:
        super().__init__(spec, encoder, decoder, likelihood, latent_size, space, posterior, **more)
        if self.penalty is not None:
            raise ValueError("penalty: a VAE takes a regularizer; a penalty on codes is an autoencoder's")
        self.regularizer = regularizer
        self.beta, self.warmup, self.beta_start, self.cycles = beta, warmup, beta_start, cycles
        self.encoder_updates = encoder_updates

    def encode(self, x: Tensor, condition: Batch | None = None) -> Stochastic:
        q = super().encode(x, condition)
        assert isinstance(q, Stochastic)
        return q

    def weight(self) -> float:
        """β at the current batch."""
        return ramp(int(self.step), self.beta_start, self.beta, self.warmup, self.cycles)

    def players(self) -> dict[str, Player]:
        found = super().players()
        if self.encoder_updates == 1 or not found:
            return found
        inner = (self.encoder, self.posterior)
        outer = tuple(child for child in self.children() if not any(child is module for module in inner))
        encoder = replace(found["model"], modules=inner, repeat=self.encoder_updates)
        return {"encoder": encoder, "decoder": replace(found["model"], modules=outer)}

    def loss(self, batch: Batch, player: str) -> Losses:
        x, condition = self.observed(batch), self.given(batch)
        q = self.encode(x, condition)
        z = q.sample()
        distortion = -self.decode(z, condition).log_prob(x).mean()
        rate = q.kl(self.space, z=z)
        penalty, named = self.regularizer(q, z, rate, self.space, self.spec.sizes["train"], self.weight())
        shown, mean = distortion.detach(), rate.detach().mean()
        parts = {"distortion": shown, "rate": mean, "nelbo": shown + mean, **named}
        return Losses(distortion + penalty, {name: part.detach() for name, part in parts.items()})
