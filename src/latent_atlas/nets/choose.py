"""The network that fits the data: convolutional for images with a member of that family, fully connected otherwise."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from latent_atlas.data.spec import Field
from latent_atlas.nets.conv import ConvDecoder, ConvEncoder, halvings
from latent_atlas.nets.mlp import MLPDecoder, MLPEncoder

NETWORKS = ("auto", "conv", "mlp")


def resolve(kind: str, shape: tuple[int, ...]) -> str:
    """``conv`` or ``mlp`` for data of this shape."""
    if kind not in NETWORKS:
        raise ValueError(f"network kind is {kind!r}; it is one of {', '.join(NETWORKS)}")
    if kind != "auto":
        return kind
    return "conv" if halvings(shape) else "mlp"


def encoder(field: Field, outputs: int, kind: str = "auto", hidden: Sequence[int] = (256, 256), norm: bool = False) -> nn.Module:
    """(B, *field.shape) to (B, outputs) in float32; ``hidden`` and ``norm`` are of the fully connected one's layers."""
    if resolve(kind, field.shape if field.kind == "image" else ()) == "conv":
        return ConvEncoder(field.shape, outputs)
    return MLPEncoder(field, outputs, hidden, norm)


def decoder(
    latent: int, shape: tuple[int, ...], kind: str = "auto", hidden: Sequence[int] = (256, 256), norm: bool = False
) -> nn.Module:
    """(B, latent) to (B, *shape) in float32; ``hidden`` and ``norm`` are of the fully connected one's layers."""
    if resolve(kind, shape) == "conv":
        return ConvDecoder(latent, shape)
    return MLPDecoder(latent, shape, hidden, norm)
