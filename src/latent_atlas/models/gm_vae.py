"""The regularizer of a VAE whose prior is a mixture, with the use of its components logged.

The model is a ``VAE`` whose space has the prior ``spaces.mixture.Mixture`` (Jiang et al. 2017, arXiv 1611.05148):

    -log p(x | z) + β (log q(z | x) - log Σ_k w_k N(z; μ_k, σ_k²)),   z ~ q(z | x).

The KL to a mixture has no closed form: it is estimated from the draw, and single items of it may be negative. Clusters are
``model.space.prior.responsibilities(z)``, p(k | z).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from latent_atlas.models.vae import kl
from latent_atlas.spaces.base import LatentSpace
from latent_atlas.spaces.mixture import Components


@torch.no_grad()
def use(responsibilities: Tensor) -> dict[str, Tensor]:
    """Of p(k | z) (B, K): how many components a batch uses, exp H(mean p) in 1..K, and how sure items are of theirs, mean H(p).

    Both by the entropy in nats: ``clusters`` near 1 is a mixture that has collapsed.
    """
    mean = responsibilities.mean(0)
    return {
        "clusters": torch.exp(torch.special.entr(mean).sum()),
        "cluster_entropy": torch.special.entr(responsibilities).sum(1).mean(),
    }


def kl_and_use(q: Any, z: Tensor, rate: Tensor, prior: LatentSpace, items: int, beta: float) -> tuple[Tensor, Mapping[str, Tensor]]:
    """β · KL(q(z | x) || p(z)), and ``use``.

    Raises:
        ValueError: the prior has no components.
    """
    components = getattr(prior, "prior", None)
    if not isinstance(components, Components):
        raise ValueError(f"clusters are those of a prior with components, this space has {type(components).__name__}")
    penalty, _ = kl(q, z, rate, prior, items, beta)
    return penalty, use(components.responsibilities(z.detach()))
