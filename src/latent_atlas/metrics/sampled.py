"""Fréchet distances of new items that samplers fitted after training give: what the space allows, whatever the prior says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Generator, Tensor

from latent_atlas.metrics.frechet import fid, frechet
from latent_atlas.metrics.result import Measured
from latent_atlas.operations import samplers

BLOCK = 256


def fid_sampler(
    features_real: Tensor,
    codes_train: Tensor,
    decode: Callable[[Tensor], Tensor],
    extract: Callable[[Tensor], Tensor],
    space: Any,
    features_other: Tensor | None = None,
    x_train: Tensor | None = None,
    variances_train: Tensor | None = None,
    resamples: int = 0,
    seed: int = 0,
    sampler: str = "mixture",
    most: int | None = None,
) -> Measured:
    """The Fréchet distance of decoded draws of a sampler fitted to training codes from held-out items.

    Args:
        features_real: (M, f) of held-out items; as many items are drawn.
        codes_train: (N, d).
        decode: coordinates to the decoder's mean.
        extract: items to features.
        space: onto which draws are brought.
        features_other: (M, f) of other real items: the ceiling.
        x_train: (N, *shape), whose mean is the floor.
        variances_train: (N, d), for the Riemannian sampler.
        resamples: of the bootstrap.
        seed: of the sampler.
        sampler: a name of ``operations.samplers.SAMPLERS``.
        most: items to draw at most.

    Raises:
        NotApplicable: codes that the sampler cannot be fitted to.
        TooFewSamples: fewer items than twice the features.
    """
    n = min(len(features_real), most or len(features_real))
    real = features_real[:n]
    frechet(real, real)  # too few items are refused before anything is fitted
    fitted = samplers.fit(sampler, codes_train, seed, variances_train)
    z = fitted.sample(n, Generator().manual_seed(seed))
    z = space.coordinates(space.project(space.from_coordinates(z.to(codes_train))))
    drawn = torch.cat([extract(decode(part)) for part in z.split(BLOCK)])
    found = fid(real, drawn, resamples)
    floor = None
    if x_train is not None and x_train.is_floating_point():
        floor = frechet(real, extract(x_train.mean(0, keepdim=True)).expand(n, -1))
    ceiling = frechet(real, features_other[:n]) if features_other is not None else None
    said = {**found.provenance, "sampler": sampler, "n_train": len(codes_train)}
    return Measured(found.value, found.interval, floor, ceiling, said)
