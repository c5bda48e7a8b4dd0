"""What a network is told beside its input: fields of a batch as columns, and an encoder that sees them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from latent_atlas.data.spec import DataSpec, Field
from latent_atlas.nets.mlp import layers

KINDS = ("class", "factors", "vector")
FEATURES = 128  # that are joined with the condition


class Conditions(nn.Module):
    """Fields of a batch to one row per item, (B, width): classes one-hot, factors one-hot or scaled, the rest as it is.

    NaN is "not told", as is an absent condition: zeros in all its columns.

    Args:
        spec: of the data.
        names: of the fields, of kind class, factors or vector.
        scaled: a factor of k values is one number v / (k - 1) in [0, 1]; else k columns. Continuous ones are numbers either way.
    """

    def __init__(self, spec: DataSpec, names: Sequence[str], scaled: bool = False) -> None:
        super().__init__()
        lacking = [name for name in names if name not in spec.fields]
        if lacking:
            raise ValueError(f"data {spec.name} has no field {', '.join(lacking)} for a condition; it has {', '.join(spec.fields)}")
        self.sizes = {name: _sizes(name, spec.fields[name]) for name in names}
        self.scaled = scaled
        self.width = sum(1 if self._number(size) else size for sizes in self.sizes.values() for size in sizes)

    def _number(self, size: int) -> bool:
        return size == 0 or (self.scaled and size > 1)

    def forward(self, condition: Mapping[str, Tensor] | None, beside: Tensor) -> Tensor:
        """(B, width) in float32 beside a batch (B, ...)."""
        if condition is None:
            return torch.zeros(len(beside), self.width, device=beside.device)
        columns = []
        for name, sizes in self.sizes.items():
            for value, size in zip(condition[name].float().reshape(len(beside), -1).unbind(1), sizes, strict=True):
                if self._number(size):
                    columns.append(value.nan_to_num(0.0).unsqueeze(1) / max(1, size - 1))
                else:
                    columns.append((value.unsqueeze(1) == torch.arange(size, device=value.device)).float())
        return torch.cat(columns, 1)

    @staticmethod
    def hidden(condition: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
        """All conditions of a share of the items, drawn anew, set to NaN."""
        first = next(iter(condition.values()))
        gone = torch.rand(len(first), device=first.device) < share
        return {
            name: value.float().masked_fill(gone.reshape(-1, *[1] * (value.dim() - 1)), math.nan)
            for name, value in condition.items()
        }


def _sizes(name: str, field: Field) -> tuple[int, ...]:
    """How many values each entry of a field takes; 0 for a number."""
    if field.kind not in KINDS:
        raise ValueError(f"the field {name} is of kind {field.kind}; conditions are of kind {', '.join(KINDS)}")
    entries = math.prod(field.shape)
    if isinstance(field.size, tuple):
        return tuple(field.size)
    return (field.size or 0,) * entries


class Joined(nn.Module):
    """(B, *x.shape) and conditions (B, width) to (B, outputs): features of x, joined with the condition before a hidden layer.

    Any network can be the encoder, whatever kind of data it reads.

    Args:
        encoder: factory (field, outputs) -> network.
        field: the observed field.
        width: columns of the condition.
        outputs: numbers per item.
    """

    def __init__(self, encoder: Callable[[Field, int], nn.Module], field: Field, width: int, outputs: int) -> None:
        super().__init__()
        self.features = encoder(field, FEATURES)
        self.join = layers([FEATURES + width, FEATURES, outputs])

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        return self.join(torch.cat((torch.relu(self.features(x)), seen), 1)).float()
