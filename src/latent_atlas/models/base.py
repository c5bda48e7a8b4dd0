"""The contract of every latent model: one abstract method, ``loss``; the verbs are those that the model has."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Generator, Tensor, nn

from latent_atlas.data.spec import DataSpec
from latent_atlas.spaces.base import LatentSpace

VERBS = ("encode", "decode", "sample")
Batch = dict[str, Tensor]
OptimizerFactory = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]
SchedulerFactory = Callable[[torch.optim.Optimizer], Any]


@dataclass(frozen=True)
class Losses:
    """What one player minimizes: ``total`` (a scalar in nats per sample) and the named ``parts`` that are logged."""

    total: Tensor
    parts: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Player:
    """Who is optimized, and how.

    Args:
        modules: whose parameters belong to this player.
        optimizer: a factory, parameters -> optimizer.
        scheduler: a factory, optimizer -> learning-rate scheduler, stepped once per update of this player.
        repeat: updates per batch.
        every: plays on batches whose number is a multiple of this.
        clip: the greatest gradient norm.
        ema: decay of the exponential moving average that validation and ``model.pt`` use.
    """

    modules: tuple[nn.Module, ...]
    optimizer: OptimizerFactory
    scheduler: SchedulerFactory | None = None
    repeat: int = 1
    every: int = 1
    clip: float | None = None
    ema: float | None = None

    def parameters(self) -> list[nn.Parameter]:
        """The trainable parameters, each once."""
        return list({id(p): p for module in self.modules for p in module.parameters() if p.requires_grad}.values())


class LatentModel(nn.Module, ABC):
    """A chart of a data set: a latent space and the maps to and from it.

    A subclass writes ``loss`` and those of the verbs that it has: ``encode(x, condition=None) -> Posterior`` and
    ``decode(z, condition=None) -> Likelihood``; ``sample(n, condition=None, generator=None) -> Tensor`` comes with ``decode`` (the
    prior, then the decoder's mean) unless the model has a sampler of its own. Optional: ``prepare(batches)``, called once before
    step 0 with training batches in seeded order. ``step`` counts batches; every schedule and budget reads it. An iterative sampler
    says in ``passes`` how often an item goes through a network; evaluation then draws fewer of them (18 by default at most).

    Args:
        spec: of the data; no shape or count stands in ``conf/model``.
        spaces: by name; one by default.
        optimizer, scheduler, clip, ema: of the default player, which owns every parameter; without an optimizer nobody plays.
    """

    conditions: tuple[str, ...] = ()  # the batch fields that fill ``condition``
    passes: int = 1
    step: Tensor

    def __init__(
        self,
        spec: DataSpec,
        spaces: Mapping[str, LatentSpace],
        optimizer: OptimizerFactory | None = None,
        scheduler: SchedulerFactory | None = None,
        clip: float | None = None,
        ema: float | None = None,
    ) -> None:
        super().__init__()
        self.spec = spec
        self.spaces = nn.ModuleDict(spaces)
        self._default = (optimizer, scheduler, clip, ema)
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))

    @property
    def space(self) -> LatentSpace:
        """The first space."""
        return next(iter(self.spaces.values()))  # type: ignore[return-value]

    @abstractmethod
    def loss(self, batch: Batch, player: str) -> Losses:
        """The loss that ``player`` minimizes on this batch."""

    def players(self) -> dict[str, Player]:
        """Who plays, in order. Without players the model is done after ``prepare``."""
        optimizer, scheduler, clip, ema = self._default
        if optimizer is None:
            return {}
        return {"model": Player((self,), optimizer, scheduler, clip=clip, ema=ema)}

    def observed(self, batch: Batch) -> Tensor:
        """The main field of a batch."""
        return batch[self.spec.observation]

    @torch.no_grad()
    def sample(self, n: int, condition: Batch | None = None, generator: Generator | None = None) -> Tensor:
        """n items in the observation's own units, (n, *x.shape)."""
        z = self.space.sample(n, generator=generator)
        return self.decode(z, condition).mean  # type: ignore[operator]

    def verbs(self) -> tuple[str, ...]:
        """Those of ``VERBS`` that this model offers."""
        samples = hasattr(self, "decode") or type(self).sample is not LatentModel.sample
        return tuple(verb for verb in VERBS if (samples if verb == "sample" else hasattr(self, verb)))
