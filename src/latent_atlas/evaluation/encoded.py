"""What one pass of an encoder leaves behind."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from latent_atlas.models.base import LatentModel
from latent_atlas.models.posteriors import DiagonalNormal, Posterior, Stochastic


@dataclass(frozen=True)
class PosteriorArrays:
    """q(z | x) of N items as numbers in nats: the KL to the prior (N,), and of each dimension, its mean over items with the
    standard error of that mean: (d,), or (P,) of the P parts into which posterior and prior fall (``Stochastic.kl_of_parts``).
    """

    kl: Tensor | None
    kl_per_dimension: Tensor | None
    kl_error: Tensor | None = None


@dataclass(frozen=True)
class Encoded:
    """One pass of the encoder: modes and draws (N, *latent shape), their KL, codebook entries, variances."""

    mode: Tensor
    draw: Tensor
    posterior: PosteriorArrays
    indices: Tensor | None
    variances: Tensor | None = None  # (N, d) of diagonal normal posteriors on a flat space


def divergence(q: Posterior, model: LatentModel, noise: Generator) -> tuple[Tensor | None, Tensor | None]:
    """KL to the prior per item (B,) and of each of its parts (B, P), ``None`` where there is none."""
    if not isinstance(q, Stochastic):
        return None, None
    each = q.kl_of_parts(model.space, noise)
    return (q.kl(model.space, noise), None) if each is None else (each.sum(1), each)


def variances(q: Posterior) -> Tensor | None:
    """The variances of each coordinate (B, d), ``None`` where the posterior is no diagonal normal."""
    return q.scale.square().flatten(1) if isinstance(q, DiagonalNormal) else None


def joined(parts: list[Tensor | None]) -> Tensor | None:
    """The blocks as one CPU tensor; ``None`` where a block has none."""
    present = [part.cpu() for part in parts if part is not None]
    return torch.cat(present) if len(present) == len(parts) else None
