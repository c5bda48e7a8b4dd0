"""Quantized latents for disentanglement."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from latent_atlas.models.ae import AE
from latent_atlas.models.base import Batch, Losses, OptimizerFactory, Player
from latent_atlas.models.posteriors import Point, PosteriorHead
from latent_atlas.spaces.grid import Grid


class Codes(Point):
    """One point of a grid for each item.

    Args:
        raw: what the encoder put out, (B, d).
        values: the points nearest to it, (B, d).
        indices: (B, d) entries of the codebook: value k of dimension j is entry j K + k.
    """

    def __init__(self, raw: Tensor, values: Tensor, indices: Tensor) -> None:
        # The values to the last bit, with the gradient of raw: raw + (values - raw) would round.
        super().__init__(values.detach() + (raw - raw.detach()))
        self.raw, self.values, self.indices = raw, values, indices


class CodesHead(PosteriorHead):
    """The nearest point of a grid."""

    def __init__(self, space: Grid) -> None:
        super().__init__(space)
        self.outputs, self.levels = space.dimensions, space.levels
        self.nearest, self.at = space.nearest, space.at

    def forward(self, raw: Tensor) -> Codes:
        chosen = self.nearest(raw)
        entries = chosen + self.levels * torch.arange(self.outputs, device=raw.device)
        return Codes(raw, self.at(chosen), entries)


class QLAE(AE):
    """-log p(x | z) + q · |sg(c) - z|² + r · |c - sg(z)|², c = encoder(x), z the value nearest to it in each of d dimensions
    (Hsu et al. 2023, arXiv 2305.18378).

    sg stops gradients; that of log p(x | z) passes straight through to c. So q moves the code values alone and r the encoder alone.
    All is summed: a published weight w on means over D entries of x and d dimensions is w · D / d here, and a published ``clip`` is
    D times as large.

    Args:
        args, more: as in ``AE``; ``space`` is a ``Grid``, ``posterior`` a ``CodesHead``.
        quantization: q.
        commitment: r.
        decay: of the matrices of encoder and decoder; biases and code values have none. The optimizer takes ``weight_decay``.
    """

    space: Grid

    def __init__(self, *args: Any, quantization: float = 1.0, commitment: float = 1.0, decay: float = 0.1, **more: Any) -> None:
        super().__init__(*args, **more)
        self.quantization, self.commitment, self.decay = quantization, commitment, decay
        self.codebook_size = self.space.dimensions * self.space.levels

    def loss(self, batch: Batch, player: str) -> Losses:
        x = self.observed(batch)
        q = self.encode(x)
        assert isinstance(q, Codes)
        distortion = -self.decode(q.mode).log_prob(x).mean()
        quantization = (q.raw.detach() - q.values).square().sum(1).mean()
        commitment = (q.raw - q.values.detach()).square().sum(1).mean()
        total = distortion + self.quantization * quantization + self.commitment * commitment
        return Losses(total, {"distortion": distortion.detach(), "quantization_error": quantization.detach()})

    def players(self) -> dict[str, Player]:
        found = super().players()
        return {name: dataclasses.replace(player, optimizer=self._decayed(player.optimizer)) for name, player in found.items()}

    def _decayed(self, factory: OptimizerFactory) -> OptimizerFactory:
        """Two groups of parameters: the matrices, and what has no decay."""
        matrices = {id(p) for net in (self.encoder, self.decoder) for p in net.parameters() if p.dim() > 1}

        def optimizer(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
            groups: list[dict[str, Any]] = [{"params": [], "weight_decay": decay} for decay in (0.0, self.decay)]
            for parameter in parameters:
                groups[id(parameter) in matrices]["params"].append(parameter)
            return factory(groups)  # type: ignore[arg-type]

        return optimizer
