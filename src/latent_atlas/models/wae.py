"""The penalty of the Wasserstein autoencoder: how far the codes of a batch are, as a cloud, from draws of the prior."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from latent_atlas.models.ae import AE
from latent_atlas.spaces.kernels import KERNELS


def squared_mmd(z: Tensor, p: Tensor, kernel: str = "imq", spread: float | None = None) -> Tensor:
    """The unbiased estimate of MMD²(q(z), p(z)), a scalar that may be negative.

    Mean of k over pairs of different codes, plus that over pairs of different draws, less twice that over all pairs of a code and a
    draw (Gretton et al. 2012, eq. 3). A batch of one has no pairs of its own and is only drawn to the prior.

    Args:
        z: (B, d) codes.
        p: (B, d) draws of the prior.
        kernel: ``imq`` or ``rbf``.
        spread: the prior's total variance; d by default, as of N(0, I).

    Raises:
        ValueError: another kernel.
    """
    if kernel not in ("imq", "rbf"):  # the gradient of −r has no limit where two points meet
        raise ValueError(f"kernel is {kernel!r}; it is one of imq, rbf")
    n, rows = len(z), torch.cat([z, p.to(z)])
    norms = rows.square().sum(1)
    squares = (norms[:, None] + norms - 2 * rows @ rows.T).clamp(min=0)
    matrix = KERNELS[kernel](squares, float(z.shape[1]) if spread is None else spread)
    own = sum(block.sum() - block.diagonal().sum() for block in (matrix[:n, :n], matrix[n:, n:]))
    return own / max(1, n * (n - 1)) - 2 * matrix[:n, n:].mean()


def to_prior(
    model: AE, x: Tensor, z: Tensor, weight: float = 300.0, kernel: str = "imq", spread: float | None = None
) -> tuple[Tensor, Mapping[str, Tensor]]:
    """λ MMD²(q(z), p(z)) (Tolstikhin et al. 2018, arXiv 1711.01558): codes as a whole look like the prior, single ones need not.

    The objective is then W(data, decoded prior) relaxed, with -log p(x | z) as its cost. The kernel is the mean over seven scales
    where the paper's is their sum: λ is seven times what it is there, besides the unit of the cost.

    Args:
        model: with the prior.
        x: what the encoder saw.
        z: its codes.
        weight: λ in nats.
        kernel: as in ``squared_mmd``.
        spread: as in ``squared_mmd``.
    """
    prior = model.space.sample(len(z))
    distance = squared_mmd(model.space.coordinates(z), model.space.coordinates(prior), kernel, spread)
    return weight * distance, {"mmd": distance}
