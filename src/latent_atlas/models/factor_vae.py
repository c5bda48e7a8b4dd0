"""FactorVAE."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from latent_atlas.data.spec import DataSpec, Field
from latent_atlas.models.ae import AE, EncoderFactory
from latent_atlas.models.base import Batch, Losses, OptimizerFactory, Player
from latent_atlas.models.posteriors import Stochastic


def permuted(codes: Tensor) -> Tensor:
    """(B, d) with each column permuted on its own: from draws of q(z) to draws of Π_j q(z_j)."""
    order = torch.rand_like(codes).argsort(0)
    return codes.gather(0, order)


class FactorVAE(AE):
    """-log p(x | z) + KL(q(z | x) || p(z)) + γ · TC, TC = KL(q(z) || Π_j q(z_j)) (Kim & Mnih 2018, arXiv 1802.05983).

    The total correlation is a density ratio: a critic learns to tell codes from codes whose columns are permuted, and at its best
    its logit is log q(z) / Π_j q(z_j), so TC ≈ E_q(z) critic(z). It is the second player; it sees detached codes, those of one half
    of the batch against permuted ones of the other. A critic that cannot follow gives too low a TC: see the part
    ``total_correlation_critic`` beside ``critic_accuracy``, which is 0.5 for independent codes. Parts in nats per sample.

    Args:
        spec: of the data.
        critic: factory (field, outputs) -> network (B, d) to (B, 1); 5 layers of 512 in ``conf/model``, 6 of 1,000 in the paper.
        critic_optimizer: of the critic.
        gamma: the weight of the total correlation beyond that in the KL.
        more: of ``AE``.
    """

    def __init__(
        self, spec: DataSpec, critic: EncoderFactory, critic_optimizer: OptimizerFactory, gamma: float = 10.0, **more: Any
    ) -> None:
        super().__init__(spec, **more)
        self.gamma, self.critic_optimizer = gamma, critic_optimizer
        self.critic = critic(Field("vector", (self.space.dimensions,)), 1)

    def players(self) -> dict[str, Player]:
        found = super().players()
        others = tuple(child for child in self.children() if child is not self.critic)
        mine = {name: replace(player, modules=others) for name, player in found.items()}
        return {**mine, "critic": Player((self.critic,), self.critic_optimizer)}

    def loss(self, batch: Batch, player: str) -> Losses:
        return self.critic_loss(batch) if player == "critic" else self.model_loss(batch)

    def model_loss(self, batch: Batch) -> Losses:
        """What encoder and decoder minimize."""
        x, condition = self.observed(batch), self.given(batch)
        q = self.encode(x, condition)
        assert isinstance(q, Stochastic)
        z = q.sample()
        distortion = -self.decode(z, condition).log_prob(x).mean()
        rate = q.kl(self.space, z=z).mean()
        correlation = self.critic(self.space.coordinates(z)).mean()
        parts = {"distortion": distortion, "rate": rate, "nelbo": distortion + rate, "total_correlation_critic": correlation}
        return Losses(distortion + rate + self.gamma * correlation, {name: part.detach() for name, part in parts.items()})

    def critic_loss(self, batch: Batch) -> Losses:
        """The cross-entropy of codes against permuted codes; a batch of one is both halves."""
        with torch.no_grad():
            codes = self.space.coordinates(self.encode(self.observed(batch), self.given(batch)).sample())
            half = (len(codes) + 1) // 2
            together, apart = codes[:half], permuted(codes[half:] if len(codes) > 1 else codes)
        real, fake = self.critic(together), self.critic(apart)
        total = 0.5 * (F.softplus(-real).mean() + F.softplus(fake).mean())
        accuracy = 0.5 * ((real > 0).float().mean() + (fake <= 0).float().mean())
        return Losses(total, {"critic": total.detach(), "critic_accuracy": accuracy})
