"""The posterior of a ladder: inferred from above, merged with what the encoder saw.

The model is a ``VAE`` whose space has the prior ``spaces.hierarchy.Hierarchy``, with this posterior.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Generator, Tensor

from latent_atlas.models.posteriors import DiagonalNormal, PosteriorHead, Stochastic
from latent_atlas.spaces.base import LatentSpace
from latent_atlas.spaces.hierarchy import Hierarchy

Conditional = Callable[[Tensor], tuple[Tensor, Tensor]]


def merge(mean: Tensor, log_var: Tensor, other_mean: Tensor, other_log_var: Tensor) -> DiagonalNormal:
    """The normalized product of two diagonal normals: precisions add, means are weighted by them."""
    log_precision = torch.logaddexp(-log_var, -other_log_var)
    return DiagonalNormal(torch.lerp(other_mean, mean, torch.exp(-log_var - log_precision)), -log_precision)


class Ladder(Stochastic):
    """q(z | x) = q(z2 | x) q(z1 | z2, x), the second ∝ N(z1; μ̂(x), σ̂²(x)) p(z1 | z2) (Sønderby et al. 2016, arXiv 1602.02282).

    ``mode`` is μ2 and, given it, the merged mean. The KL is that of normals in closed form on each level, with z2 the draw's:

        KL(q(z2 | x) || p(z2)) + E_{z2 ~ q} KL(q(z1 | z2, x) || p(z1 | z2)).

    Args:
        top: q(z2 | x).
        seen: N(μ̂, σ̂²), what the encoder says of z1.
        conditional: z2 -> mean and log variance of p(z1 | z2).
    """

    def __init__(self, top: DiagonalNormal, seen: DiagonalNormal, conditional: Conditional) -> None:
        self.top, self.seen, self.conditional = top, seen, conditional

    def below(self, top: Tensor) -> DiagonalNormal:
        """q(z1 | z2, x)."""
        return merge(self.seen.mode, self.seen.log_var, *self.conditional(top))

    @property
    def mode(self) -> Tensor:  # type: ignore[override]
        """(B, d)."""
        return torch.cat((self.top.mode, self.below(self.top.mode).mode), 1)

    def split(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """z2 and z1."""
        size = self.top.mode.shape[1]
        return z[:, :size], z[:, size:]

    def sample(self, generator: Generator | None = None) -> Tensor:
        top = self.top.sample(generator)
        return torch.cat((top, self.below(top).sample(generator)), 1)

    def log_prob(self, z: Tensor) -> Tensor:
        top, below = self.split(z)
        return self.top.log_prob(top) + self.below(top).log_prob(below)

    def kl(self, prior: LatentSpace, generator: Generator | None = None, z: Tensor | None = None) -> Tensor:
        if not self.merged_with(prior):
            return super().kl(prior, generator, z)
        return self._each(self.sample(generator) if z is None else z).sum(1)

    def kl_of_parts(self, prior: LatentSpace, generator: Generator | None = None) -> Tensor | None:
        """Of each dimension of z2, and of each of z1 given z2."""
        return self._each(self.sample(generator)) if self.merged_with(prior) else None

    def merged_with(self, prior: LatentSpace) -> bool:
        """Whether p(z1 | z2) of that prior is the one that the posterior was merged with."""
        return bool(getattr(getattr(prior, "prior", None), "conditional", None) == self.conditional)

    def _each(self, z: Tensor) -> Tensor:
        top, _ = self.split(z)
        mean, log_var = self.conditional(top)
        q = self.below(top)
        ratio = torch.exp(q.log_var - log_var) + (q.mode - mean).square() * torch.exp(-log_var)
        return torch.cat((self.top.kl_per_dimension(), 0.5 * (ratio - 1 - (q.log_var - log_var))), 1)


class LadderHead(PosteriorHead):
    """Mean and log variance of z2, and of what is seen of z1; p(z1 | z2) stays the prior's, nothing of it is registered here.

    Args:
        space: Euclidean, with a ``Hierarchy`` as prior.
    """

    def __init__(self, space: LatentSpace) -> None:
        super().__init__(space)
        prior = getattr(space, "prior", None)
        if not isinstance(prior, Hierarchy):
            raise ValueError(f"a ladder needs a space with the prior Hierarchy, this one's is {type(prior).__name__}")
        self.sizes = (prior.top, prior.top, prior.below, prior.below)
        self.outputs = sum(self.sizes)
        self.conditional = prior.conditional

    def forward(self, raw: Tensor) -> Ladder:
        mean, log_var, seen, seen_log_var = raw.float().split(self.sizes, 1)
        return Ladder(DiagonalNormal(mean, log_var), DiagonalNormal(seen, seen_log_var), self.conditional)
