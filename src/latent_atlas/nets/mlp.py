"""Fully connected encoder and decoder for any kind of observation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from latent_atlas.data.spec import Field

EMBEDDING = 32  # the most numbers a token is embedded in


class Flatten(nn.Module):
    """Any field to one row per item: tokens by a learned embedding, counts as log(1 + x), the rest as it is.

    Args:
        field: the observed field.
    """

    def __init__(self, field: Field) -> None:
        super().__init__()
        self.kind = field.kind
        self.outputs = math.prod(field.shape)
        if field.kind == "tokens":
            if not isinstance(field.size, int):
                raise ValueError(f"a tokens field needs its vocabulary size, this one has {field.size!r}")
            self.embedding = nn.Embedding(field.size, min(field.size, EMBEDDING))
            self.outputs *= self.embedding.embedding_dim

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "tokens":
            return self.embedding(x.long()).flatten(1)
        x = x.float().flatten(1)
        return torch.log1p(x) if self.kind == "counts" else x


def layers(sizes: Sequence[int], norm: bool = False) -> nn.Sequential:
    """Linear layers of these sizes with ReLU between them, if asked after a layer normalization (Ba et al. 2016, 1607.06450)."""
    built: list[nn.Module] = []
    for inner, outer in pairwise(sizes[:-1]):
        built += [nn.Linear(inner, outer), *([nn.LayerNorm(outer)] if norm else []), nn.ReLU()]
    return nn.Sequential(*built, nn.Linear(sizes[-2], sizes[-1]))


class MLPEncoder(nn.Module):
    """(B, *field.shape) to (B, outputs).

    Args:
        field: the observed field.
        outputs: numbers per item.
        hidden: sizes of the hidden layers.
        norm: whether their outputs are normalized, item by item.
    """

    def __init__(self, field: Field, outputs: int, hidden: Sequence[int] = (256, 256), norm: bool = False) -> None:
        super().__init__()
        self.flatten = Flatten(field)
        self.body = layers([self.flatten.outputs, *hidden, outputs], norm)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(self.flatten(x)).float()


class MLPDecoder(nn.Module):
    """(B, latent) to (B, *shape).

    Args:
        latent: size of z.
        shape: of the output.
        hidden: sizes of the hidden layers.
        norm: whether their outputs are normalized, item by item.
    """

    def __init__(self, latent: int, shape: tuple[int, ...], hidden: Sequence[int] = (256, 256), norm: bool = False) -> None:
        super().__init__()
        self.shape = tuple(shape)
        self.body = layers([latent, *hidden, math.prod(shape)], norm)

    def forward(self, z: Tensor) -> Tensor:
        return self.body(z.flatten(1)).reshape(-1, *self.shape).float()
