"""The posterior on a product of spaces: independent in each factor."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Generator, Tensor, nn

from latent_atlas.models.posteriors import Posterior, PosteriorFactory, PosteriorHead, Stochastic
from latent_atlas.spaces.base import LatentSpace
from latent_atlas.spaces.product import Product


class Independent(Stochastic):
    """q(z | x) = Π q_k(z_k | x); its KL is the sum of theirs, in closed form where they have one (Skopek et al. 2020).

    Args:
        space: the product.
        parts: a posterior for each factor.
    """

    def __init__(self, space: Product, parts: Sequence[Stochastic]) -> None:
        self.space, self.parts = space, list(parts)
        self.mode = space.join([part.mode for part in parts])

    def sample(self, generator: Generator | None = None) -> Tensor:
        return self.space.join([part.sample(generator) for part in self.parts])

    def log_prob(self, z: Tensor) -> Tensor:
        pairs = zip(self.parts, self.space.split(z), strict=True)
        return torch.stack([part.log_prob(own) for part, own in pairs]).sum(0)

    def kl(self, prior: LatentSpace, generator: Generator | None = None, z: Tensor | None = None) -> Tensor:
        """The sum over factors for a product prior, else as in ``Stochastic``."""
        if not isinstance(prior, Product):
            return super().kl(prior, generator, z)
        draws = [None] * len(self.parts) if z is None else self.space.split(z)
        each = zip(self.parts, prior.factors, draws, strict=True)
        return torch.stack([part.kl(factor, generator, draw) for part, factor, draw in each]).sum(0)

    def kl_of_parts(self, prior: LatentSpace, generator: Generator | None = None) -> Tensor | None:
        """Those of each factor side by side; a factor that does not fall apart is one."""
        if not isinstance(prior, Product):
            return None
        found = []
        for part, factor in zip(self.parts, prior.factors, strict=True):
            each = part.kl_of_parts(factor, generator)
            found.append(part.kl(factor, generator)[:, None] if each is None else each)
        return torch.cat(found, 1)


class IndependentHead(PosteriorHead):
    """A head for each factor of a product, side by side on what the encoder puts out.

    Args:
        space: the product.
        heads: factories, factor -> head, in the order of the factors.
    """

    def __init__(self, space: LatentSpace, heads: Sequence[PosteriorFactory]) -> None:
        super().__init__(space)
        if not isinstance(space, Product) or len(heads) != len(space.factors):
            raise ValueError(
                f"there are {len(heads)} heads for {len(space.factors) if isinstance(space, Product) else 'no'} factors"
            )
        self.heads = nn.ModuleList([head(factor) for head, factor in zip(heads, space.factors, strict=True)])
        self.widths = [int(head.outputs) for head in self.heads]  # type: ignore[arg-type]
        self.outputs = sum(self.widths)
        self._space = (space,)  # in a tuple: the space is the model's own module, not this one's

    def forward(self, raw: Tensor) -> Posterior:
        parts = [head(piece) for head, piece in zip(self.heads, raw.split(self.widths, dim=1), strict=True)]
        return Independent(self._space[0], parts)
