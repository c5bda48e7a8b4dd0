"""Small models that use what the models of ``conf/model`` do not: two players, a second stage, data that are not images.

``CONF`` holds them in the format of ``conf/model``; with ``tests/`` on the path any stage can build them.
"""

from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from latent_atlas.data.spec import DataSpec
from latent_atlas.models.base import Batch, LatentModel, Losses, OptimizerFactory, Player
from latent_atlas.models.likelihoods import Implicit, Likelihood
from latent_atlas.models.posteriors import Posterior
from latent_atlas.nets.mlp import MLPDecoder, MLPEncoder
from latent_atlas.spaces.euclidean import Euclidean


class TwoPlayers(LatentModel):
    """A generator against a critic (Goodfellow et al. 2014, the non-saturating loss): decode and sample, no encode, no density."""

    def __init__(
        self,
        spec: DataSpec,
        optimizer: OptimizerFactory,
        critic_optimizer: OptimizerFactory,
        latent_size: int = 4,
        hidden: int = 16,
        repeat: int = 1,
        ema: float | None = None,
    ) -> None:
        super().__init__(spec, {"z": Euclidean(latent_size)})
        self.generator = MLPDecoder(latent_size, spec.x.shape, [hidden])
        self.critic = MLPEncoder(spec.x, 1, [hidden])
        self.optimizers = (optimizer, critic_optimizer)
        self.repeat, self.ema = repeat, ema

    def players(self) -> dict[str, Player]:
        optimizer, critic_optimizer = self.optimizers
        return {
            "critic": Player((self.critic,), critic_optimizer, repeat=self.repeat, clip=10.0),
            "generator": Player((self.generator,), optimizer, ema=self.ema),
        }

    def decode(self, z: Tensor, condition: Batch | None = None) -> Likelihood:
        raw = self.generator(z)
        return Implicit(torch.sigmoid(raw) if self.spec.x.kind == "image" else raw)

    def loss(self, batch: Batch, player: str) -> Losses:
        x = self.observed(batch)
        drawn = self.decode(self.space.sample(len(x))).mean
        if player == "generator":
            total = F.softplus(-self.critic(drawn)).mean()
            return Losses(total, {"generator": total.detach()})
        total = F.softplus(-self.critic(x)).mean() + F.softplus(self.critic(drawn.detach())).mean()
        return Losses(total, {"critic": total.detach()})


class SecondStage(LatentModel):
    """A Gaussian density over the codes of a frozen first stage, whose mean and scale ``prepare`` measures."""

    mean: Tensor
    scale: Tensor

    def __init__(self, spec: DataSpec, first_stage: LatentModel, optimizer: OptimizerFactory | None = None, width: float = 3.0):
        super().__init__(spec, {"z": first_stage.space}, optimizer)
        self.first_stage = first_stage.requires_grad_(False)
        d = first_stage.space.dimensions
        self.shift = nn.Parameter(torch.full((d,), 0.5))
        self.log_width = nn.Parameter(torch.full((d,), width).log())
        self.register_buffer("mean", torch.zeros(d))
        self.register_buffer("scale", torch.ones(d))

    def codes(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            return self.space.coordinates(self.first_stage.encode(x).mode)

    def prepare(self, batches: Iterable[Batch]) -> None:
        codes = torch.cat([self.codes(self.observed(batch)) for batch in batches])
        self.mean.copy_(codes.mean(0))
        self.scale.copy_(codes.std(0, correction=0).clamp(min=1e-3))

    def encode(self, x: Tensor, condition: Batch | None = None) -> Posterior:
        return self.first_stage.encode(x)

    def decode(self, z: Tensor, condition: Batch | None = None) -> Likelihood:
        return self.first_stage.decode(z)

    def loss(self, batch: Batch, player: str) -> Losses:
        units = (self.codes(self.observed(batch)) - self.mean) / self.scale
        density = torch.distributions.Normal(self.shift, self.log_width.exp())
        total = -density.log_prob(units).sum(1).mean()
        return Losses(total, {"code_nll": total.detach()})

    @torch.no_grad()
    def sample(self, n: int, condition: Batch | None = None, generator: Generator | None = None) -> Tensor:
        noise = torch.empty(n, len(self.mean), device=self.mean.device).normal_(generator=generator)
        codes = self.mean + self.scale * (self.shift + self.log_width.exp() * noise)
        return self.decode(self.space.from_coordinates(codes)).mean


def partial(target: str, **arguments: Any) -> dict[str, Any]:
    """``_partial_`` of a target, as in a conf file."""
    return {"_target_": target, "_partial_": True, **arguments}


def conf(name: str, net: dict[str, Any], observation: list[str] | None = None, first_stage: bool = False) -> dict[str, Any]:
    """A model in the format of ``conf/model``."""
    requires = {"observation": observation, "fields": [], "first_stage": first_stage}
    return {"name": name, "family": "test", "title": name.replace("_", " "), "requires": requires, "net": net}


def adam(lr: float = 1e-3) -> dict[str, Any]:
    return partial("torch.optim.Adam", lr=lr, fused=False)


def small_vae(**changes: Any) -> dict[str, Any]:
    """A VAE of 16 hidden units; likelihood and networks follow the data."""
    return {
        "_target_": "latent_atlas.models.vae.VAE",
        "latent_size": 3,
        "likelihood": partial("latent_atlas.models.likelihoods.default"),
        "encoder": partial("latent_atlas.nets.choose.encoder", kind="mlp", hidden=[16]),
        "decoder": partial("latent_atlas.nets.choose.decoder", kind="mlp", hidden=[16]),
        "optimizer": adam(),
        **changes,
    }


CONF: dict[str, dict[str, Any]] = {
    "two_players": conf(
        "two_players",
        {"_target_": "zoo.TwoPlayers", "optimizer": adam(), "critic_optimizer": partial("torch.optim.SGD", lr=0.05, momentum=0.9)},
        ["image", "vector"],
    ),
    "second_stage": conf("second_stage", {"_target_": "zoo.SecondStage", "optimizer": adam(1e-2)}, first_stage=True),
    "small_vae": conf("small_vae", small_vae()),
    "batch_normed": conf("batch_normed", small_vae(posterior=partial("latent_atlas.models.remedies.BatchNormHead")), ["image"]),
    "floored": conf("floored", small_vae(posterior=partial("latent_atlas.models.remedies.FloorHead")), ["image"]),
    "aggressive": conf("aggressive", small_vae(encoder_updates=3), ["image"]),
    "token_model": conf("token_model", small_vae(), ["tokens"]),
    "count_model": conf("count_model", small_vae(), ["counts"]),
}
