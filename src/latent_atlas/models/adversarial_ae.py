"""Adversarial autoencoder: a critic tells codes from draws of the prior."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from latent_atlas.models.ae import AE
from latent_atlas.models.base import Batch, Losses, OptimizerFactory, Player
from latent_atlas.nets.mlp import layers


def fool(model: AdversarialAE, x: Tensor, z: Tensor, weight: float) -> tuple[Tensor, Mapping[str, Tensor]]:
    """λ softplus(-C(z)): what it costs that the critic takes codes for codes."""
    noticed = F.softplus(-model.critic(model.space.coordinates(z)).float()).mean()
    return weight * noticed, {"noticed": noticed}


class AdversarialAE(AE):
    """min over E, D: -log p(x | z) + λ softplus(-C(z)), z = E(x); min over C: softplus(-C(z')) + softplus(C(z)), z' ~ p(z).

    Makhzani et al. 2015, arXiv 1511.05644, with the non-saturating loss of Goodfellow et al. 2014 and both of the encoder's terms
    in one step. At the optimum C is log p(z) - log q(z) of the aggregate posterior q, and 0 where the two agree: then the critic's
    loss is 2 log 2 and the share of its right answers, ``critic_accuracy``, one half.

    Args:
        critic_hidden: sizes of the critic's hidden layers, on the coordinates of the space.
        weight: λ in nats.
        optimizer: of encoder and decoder.
        critic_optimizer: of the critic, the second player, which moves first.
        more: as in ``AE``.
    """

    def __init__(
        self,
        *args: Any,
        critic_hidden: Sequence[int] = (256, 256),
        weight: float = 3.0,
        critic_optimizer: OptimizerFactory | None = None,
        **more: Any,
    ) -> None:
        super().__init__(*args, **more)
        self.penalty = partial(fool, weight=weight)
        self.critic_optimizer = critic_optimizer
        self.critic = layers([self.space.dimensions, *critic_hidden, 1])

    def players(self) -> dict[str, Player]:
        optimizer, scheduler, clip, ema = self._default
        if optimizer is None:
            return {}
        own = (self.encoder, self.posterior, self.decoder, self.head, self.spaces)
        return {
            "critic": Player((self.critic,), self.critic_optimizer or optimizer),
            "model": Player(own, optimizer, scheduler, clip=clip, ema=ema),
        }

    def loss(self, batch: Batch, player: str) -> Losses:
        x = self.observed(batch)
        if player == "critic":
            drawn = self.critic(self.space.coordinates(self.space.sample(len(x)))).float()
            coded = self.critic(self.space.coordinates(self.encode(x).sample().detach())).float()
            total = F.softplus(-drawn).mean() + F.softplus(coded).mean()
            accuracy = 0.5 * ((drawn > 0).float().mean() + (coded < 0).float().mean())
            return Losses(total, {"critic_accuracy": accuracy.detach()})
        return self.objective(x, x)
