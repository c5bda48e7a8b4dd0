"""Autoencoder."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import Tensor, nn

from latent_atlas.data.spec import DataSpec, Field
from latent_atlas.models.base import Batch, LatentModel, Losses
from latent_atlas.models.likelihoods import Density, HeadFactory
from latent_atlas.models.posteriors import PointHead, Posterior, PosteriorFactory
from latent_atlas.spaces.base import LatentSpace
from latent_atlas.spaces.euclidean import Euclidean
from latent_atlas.spaces.priors import Prior

SpaceFactory = Callable[[int], LatentSpace]
EncoderFactory = Callable[[Field, int], nn.Module]
DecoderFactory = Callable[[int, tuple[int, ...]], nn.Module]
# (model, what the encoder sees, its code) -> (penalty in nats per sample, named parts)
Penalty = Callable[[Any, Tensor, Tensor], tuple[Tensor, Mapping[str, Tensor]]]


class AE(LatentModel):
    """An encoder and a decoder that minimize -log p(x | z = encoder(x)) (Hinton & Salakhutdinov 2006).

    The prior says nothing about where the codes lie, unless a penalty does: samples show just that.

    Args:
        spec: of the data.
        encoder: factory (field, outputs) -> network (B, *x.shape) to (B, outputs).
        decoder: factory (latent, shape) -> network (B, latent) to (B, *shape).
        likelihood: factory field -> ``likelihoods.Head``.
        latent_size: d, the number of latent dimensions.
        space: factory latent_size -> latent space, with its prior.
        posterior: factory space -> ``posteriors.PosteriorHead``, which makes q(z | x) from what the encoder puts out.
        penalty: what is added to the distortion; nothing by default.
        player: optimizer, scheduler, clip and ema of ``LatentModel``.
    """

    def __init__(
        self,
        spec: DataSpec,
        encoder: EncoderFactory,
        decoder: DecoderFactory,
        likelihood: HeadFactory,
        latent_size: int = 10,
        space: SpaceFactory = Euclidean,
        posterior: PosteriorFactory = PointHead,
        penalty: Penalty | None = None,
        **player: Any,
    ) -> None:
        super().__init__(spec, {"z": space(latent_size)}, **player)
        self.penalty = penalty
        self.head = likelihood(spec.x)
        self.posterior = posterior(self.space)
        self.encoder = encoder(spec.x, self.posterior.outputs)
        self.decoder = decoder(math.prod(self.space.shape), self.head.shape)
        if self.prior is not None:
            self.prior.attach(spec.x, self.encode)

    @property
    def prior(self) -> Prior | None:
        """The space's prior, where that is a part of its own."""
        found = getattr(self.space, "prior", None)
        return found if isinstance(found, Prior) else None

    def prepare(self, batches: Iterable[Batch]) -> None:
        """A prior that starts from data sees training items."""
        if self.prior is not None:
            self.prior.start(self.observed(batch) for batch in batches)

    def encode(self, x: Tensor, condition: Batch | None = None) -> Posterior:
        return self.posterior(self.encoder(x))

    def decode(self, z: Tensor, condition: Batch | None = None) -> Density:
        return self.head(self.decoder(z))

    def loss(self, batch: Batch, player: str) -> Losses:
        x = self.observed(batch)
        return self.objective(x, x)

    def objective(self, x: Tensor, seen: Tensor) -> Losses:
        """-log p(x | z) and the penalty at the code z of what the encoder is shown of x."""
        z = self.encode(seen).sample()
        distortion = -self.decode(z).log_prob(x).mean()
        if self.penalty is None:
            return Losses(distortion, {"distortion": distortion.detach()})
        penalty, named = self.penalty(self, seen, z)
        parts = {"distortion": distortion, **named}
        return Losses(distortion + penalty, {name: part.detach() for name, part in parts.items()})
