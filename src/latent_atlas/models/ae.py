"""Autoencoder."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from latent_atlas.data.spec import DataSpec, Field
from latent_atlas.models.base import Batch, LatentModel, Losses
from latent_atlas.models.likelihoods import Density, HeadFactory
from latent_atlas.models.posteriors import PointHead, Posterior, PosteriorFactory
from latent_atlas.nets.conditioned import Conditions, Joined
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
        conditions: batch fields that encoder and decoder see beside x and z (Sohn et al. 2015): a model of p(x | condition).
        hide: how often an item of training hides its conditions, which is what makes verbs without ``condition`` mean something.
        scaled: factors as numbers in [0, 1] and not one-hot.
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
        conditions: Sequence[str] = (),
        hide: float = 0.1,
        scaled: bool = False,
        **player: Any,
    ) -> None:
        super().__init__(spec, {"z": space(latent_size)}, **player)
        self.penalty = penalty
        self.head = likelihood(spec.x)
        self.posterior = posterior(self.space)
        self.conditions, self.hide = tuple(conditions), hide
        latent, outputs = math.prod(self.space.shape), self.posterior.outputs
        if conditions:
            self.seen = Conditions(spec, self.conditions, scaled)
            self.encoder: nn.Module = Joined(encoder, spec.x, self.seen.width, outputs)
            self.decoder = decoder(latent + self.seen.width, self.head.shape)
        else:
            self.encoder = encoder(spec.x, outputs)
            self.decoder = decoder(latent, self.head.shape)
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

    def given(self, batch: Batch) -> Batch | None:
        """The conditions of a batch; in training some items hide theirs."""
        if not self.conditions:
            return None
        condition = {name: batch[name] for name in self.conditions}
        return self.seen.hidden(condition, self.hide) if self.training and self.hide else condition

    def encode(self, x: Tensor, condition: Batch | None = None) -> Posterior:
        return self.posterior(self.encoder(x, self.seen(condition, x)) if self.conditions else self.encoder(x))

    def decode(self, z: Tensor, condition: Batch | None = None) -> Density:
        if self.conditions:
            z = torch.cat((z.flatten(1), self.seen(condition, z).to(z)), 1)
        return self.head(self.decoder(z))

    def loss(self, batch: Batch, player: str) -> Losses:
        x = self.observed(batch)
        return self.objective(x, x, self.given(batch))

    def objective(self, x: Tensor, seen: Tensor, condition: Batch | None = None) -> Losses:
        """-log p(x | z) and the penalty at the code z of what the encoder is shown of x."""
        z = self.encode(seen, condition).sample()
        distortion = -self.decode(z, condition).log_prob(x).mean()
        if self.penalty is None:
            return Losses(distortion, {"distortion": distortion.detach()})
        penalty, named = self.penalty(self, seen, z)
        parts = {"distortion": distortion, **named}
        return Losses(distortion + penalty, {name: part.detach() for name, part in parts.items()})
