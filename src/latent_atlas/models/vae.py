"""Variational autoencoder with the regularizer as an argument."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from latent_atlas.data.spec import DataSpec
from latent_atlas.models.ae import AE, DecoderFactory, EncoderFactory, SpaceFactory
from latent_atlas.models.base import Batch, Losses
from latent_atlas.models.likelihoods import HeadFactory
from latent_atlas.models.posteriors import NormalHead, PosteriorFactory, Stochastic
from latent_atlas.spaces.base import LatentSpace
from latent_atlas.spaces.euclidean import Euclidean

# (q, z ~ q, KL(q || prior) per item, prior, N of the training split, β) -> (penalty in nats per sample, named parts)
Regularizer = Callable[[Any, Tensor, Tensor, LatentSpace, int, float], tuple[Tensor, Mapping[str, Tensor]]]


def kl(q: Stochastic, z: Tensor, rate: Tensor, prior: LatentSpace, items: int, beta: float) -> tuple[Tensor, Mapping[str, Tensor]]:
    """β · KL(q(z | x) || p(z)): Kingma & Welling 2014 for β = 1, Higgins et al. 2017 otherwise."""
    return beta * rate.mean(), {}


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
        player: optimizer, scheduler, clip and ema of ``LatentModel``.
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
        **player: Any,
    ) -> None:
        super().__init__(spec, encoder, decoder, likelihood, latent_size, space, posterior, **player)
        self.regularizer = regularizer
        self.beta, self.warmup, self.beta_start = beta, warmup, beta_start

    def encode(self, x: Tensor, condition: Batch | None = None) -> Stochastic:
        q = self.posterior(self.encoder(x))
        assert isinstance(q, Stochastic)
        return q

    def weight(self) -> float:
        """β at the current batch."""
        done = min(1.0, int(self.step) / self.warmup) if self.warmup else 1.0
        return self.beta_start + (self.beta - self.beta_start) * done

    def loss(self, batch: Batch, player: str) -> Losses:
        x = self.observed(batch)
        q = self.encode(x)
        z = q.sample()
        distortion = -self.decode(z).log_prob(x).mean()
        rate = q.kl(self.space, z=z)
        penalty, named = self.regularizer(q, z, rate, self.space, self.spec.sizes["train"], self.weight())
        parts = {"distortion": distortion, "rate": rate.mean(), "nelbo": distortion + rate.mean(), **named}
        return Losses(distortion + penalty, {name: part.detach() for name, part in parts.items()})
