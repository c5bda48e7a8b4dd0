"""VAE-GAN."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latent_atlas.data.spec import DataSpec
from latent_atlas.models.ae import AE, EncoderFactory
from latent_atlas.models.base import Batch, Losses, OptimizerFactory, Player
from latent_atlas.models.likelihoods import Implicit
from latent_atlas.models.posteriors import Stochastic


class VAEGAN(AE):
    """γ ½|f(x) - f(x')|² + β KL(q(z | x) || p(z)) + the generator's loss on x' and x_p (Larsen et al. 2016, arXiv 1512.09300).

    f are features in the middle of a critic, x' = D(z) with z ~ q(z | x), x_p = D(z) with z ~ p(z). The critic is the second
    player: it learns to tell x from x' and x_p, and rests while it is ahead, of which the paper has nothing. The generator's loss
    (not saturating: softplus(-critic)) reaches the decoder and not the encoder, as in the paper. There the encoder has γ = 1 and
    the decoder another; here both have γ, and the encoder's balance is β / γ. There is no density of x: ``decode`` gives a mean
    only, so no bound is scored. ``feature`` is in nats up to a constant, under a unit Gaussian on features whose scale the critic
    chooses: it compares with nothing but itself.

    Args:
        spec: of the data.
        critic: factory (field, outputs) -> network of features (B, outputs).
        critic_optimizer: of the critic.
        features: the width of f.
        gamma: the weight of the reconstruction of features.
        beta: the weight of the KL.
        adversarial: the weight of the generator's loss.
        margin: the cross-entropy in nats below which the critic rests: log 2 is a coin's, and a critic that wins teaches nothing.
        more: of ``AE``; of ``likelihood`` only the mean is used, so its own parameters stay as they are.
    """

    def __init__(
        self,
        spec: DataSpec,
        critic: EncoderFactory,
        critic_optimizer: OptimizerFactory,
        features: int = 128,
        gamma: float = 1.0,
        beta: float = 1.0,
        adversarial: float = 1.0,
        margin: float = 0.0,
        **more: Any,
    ) -> None:
        super().__init__(spec, **more)
        self.head.requires_grad_(False)
        self.critic_optimizer = critic_optimizer
        self.gamma, self.beta, self.adversarial, self.margin = gamma, beta, adversarial, margin
        self.features = critic(spec.x, features)
        # Two layers: were f the last but one, all of it that training leaves would be the one direction that tells real from fake.
        self.judge = nn.Sequential(nn.Linear(features, features), nn.LeakyReLU(0.2), nn.Linear(features, 1))

    def players(self) -> dict[str, Player]:
        theirs = (self.features, self.judge)
        others = tuple(child for child in self.children() if not any(child is module for module in theirs))
        mine = {name: replace(player, modules=others) for name, player in super().players().items()}
        return {**mine, "critic": Player(theirs, self.critic_optimizer)}

    def decode(self, z: Tensor, condition: Batch | None = None) -> Implicit:  # type: ignore[override]
        return Implicit(super().decode(z, condition).mean)

    def seen_by_critic(self, x: Tensor) -> Tensor:
        """f(x), (B, features)."""
        return F.leaky_relu(self.features(x), 0.2)

    def loss(self, batch: Batch, player: str) -> Losses:
        return self.critic_loss(batch) if player == "critic" else self.model_loss(batch)

    def model_loss(self, batch: Batch) -> Losses:
        """What encoder and decoder minimize."""
        x, condition = self.observed(batch), self.given(batch)
        q = self.encode(x, condition)
        assert isinstance(q, Stochastic)
        z = q.sample()
        rate = q.kl(self.space, z=z).mean()
        f = self.seen_by_critic(self.decode(z, condition).mean)
        feature = 0.5 * (f - self.seen_by_critic(x)).square().sum(1).mean()
        both = self.decode(torch.cat((z.detach(), self.space.sample(len(z)))), twice(condition)).mean
        generator = F.softplus(-self.judge(self.seen_by_critic(both))).mean()
        parts = {"feature": feature, "rate": rate, "generator": generator}
        total = self.gamma * feature + self.beta * rate + self.adversarial * generator
        return Losses(total, {name: part.detach() for name, part in parts.items()})

    def critic_loss(self, batch: Batch) -> Losses:
        """The cross-entropy of x against x' and x_p, each side with half of the weight; 0 below the margin."""
        x, condition = self.observed(batch), self.given(batch)
        with torch.no_grad():
            z = self.encode(x, condition).sample()
            both = self.decode(torch.cat((z, self.space.sample(len(z)))), twice(condition)).mean
        real, fake = self.judge(self.seen_by_critic(x)), self.judge(self.seen_by_critic(both))
        total = 0.5 * (F.softplus(-real).mean() + F.softplus(fake).mean())
        accuracy = 0.5 * ((real > 0).float().mean() + (fake <= 0).float().mean())
        return Losses(total * (total.detach() > self.margin), {"critic": total.detach(), "critic_accuracy": accuracy})


def twice(condition: Batch | None) -> Batch | None:
    """The conditions of a batch that is followed by itself."""
    return None if condition is None else {name: torch.cat((value, value)) for name, value in condition.items()}
