"""How a data set comes in: the contract of a reader.

Adding a data set is one module with a reader and one file in ``conf/data`` whose ``reader._target_`` names it. A reader is built
from its configuration and has one method, ``open(split) -> Contents``: what the fields are and an iterator over blocks of
consecutive items, so that a set larger than memory streams through. Opening is cheap and checks all
that can be checked without reading everything.

Example::

    class Waves:
        def __init__(self, n: int) -> None:
            self.n = n

        def open(self, split: Split) -> Contents:
            frequency = np.random.default_rng(0).integers(1, 9, self.n)
            x = np.sin(frequency[:, None] * np.linspace(0, 2 * np.pi, 64)).astype(np.float32)
            fields = {"x": Stored(Field("vector", (64,)), "float32"), "factors": factor_field(["frequency"], [8])}
            arrays = {"x": x, "factors": frequency[:, None] - 1}
            return Contents("x", fields, lambda: blocks(arrays), {"kind": "vector"}, self.n)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from latent_atlas.data.spec import Field
from latent_atlas.data.splits import Split

HASH = "hash"  # reserved key of a chunk, see Contents.chunks
Chunk = Mapping[str, NDArray[Any]]


class DataError(ValueError):
    """Something is wrong with the data or with what was said about it: one line with what, where and what to do."""


@dataclass(frozen=True)
class Stored:
    """A field and how its items lie on disk.

    Args:
        field: as models see it.
        dtype: of the array on disk, a NumPy name.
        packed: items are rows of bits (``packing.pack``), for images of size 2.
        drawn: items are grey levels, of which a batch draws black and white (``drawing``), for images of size 2.
    """

    field: Field
    dtype: str
    packed: bool = False
    drawn: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one item before packing: images lie channels last, (H, W, C), everything else as in a batch."""
        shape = self.field.shape
        return (*shape[1:], shape[0]) if self.field.kind == "image" else shape

    @property
    def row(self) -> tuple[int, ...]:
        """Of one item on disk."""
        return (-(-int(np.prod(self.shape)) // 8),) if self.packed else self.shape

    def layout(self) -> dict[str, Any]:
        """What turns rows on disk into a batch, for the data card: ``order`` of axes, ``divisor`` of the values, ``drawn``."""
        image = self.field.kind == "image"
        grey = self.field.size != 2 or self.drawn
        found = {
            "packed": self.packed,
            "shape": list(self.shape),
            "order": [2, 0, 1] if image else None,
            "divisor": 255 if image and self.dtype == "uint8" and grey else None,
        }
        return found | ({"drawn": True} if self.drawn else {})


@dataclass
class Contents:
    """An opened data set.

    Args:
        observation: the name of the main field.
        fields: by name.
        chunks: blocks of consecutive items in source order, a mapping of every field to an array of (n, *Stored.row). The key
            ``hash`` may hold (n,) uint64 from ``splits.digests`` where the stored values depend on other items (a fitted
            scaling): an item's split must depend on the item alone.
        preprocessing: what ``preprocess.read_new`` needs to read new raw data the same way.
        total: about how many items come, for the progress line.
        ids: a name per item; may be filled while the chunks stream.
        excluded: (item, reason) of what was set aside; may be filled while the chunks stream.
        factors: for each factor its values in order, where they are known.
    """

    observation: str
    fields: Mapping[str, Stored]
    chunks: Callable[[], Iterator[Chunk]]
    preprocessing: Mapping[str, Any]
    total: int | None = None
    ids: list[str] | None = None
    excluded: list[tuple[str, str]] = field(default_factory=list)
    factors: Mapping[str, list[Any]] | None = None


class Reader(Protocol):
    """Anything that opens a data set."""

    def open(self, split: Split) -> Contents:
        """Checks the source and describes it; raises ``DataError``."""


def blocks(arrays: Mapping[str, NDArray[Any]], size: int = 8192) -> Iterator[Chunk]:
    """The chunks of arrays that are already in memory."""
    n = len(next(iter(arrays.values())))
    for start in range(0, n, size):
        yield {name: array[start : start + size] for name, array in arrays.items()}


def smallest(n: int) -> str:
    """The smallest integer type on disk that holds 0 ... n - 1."""
    return str(np.min_scalar_type(max(n - 1, 0)))


def class_field(classes: list[str]) -> Stored:
    """The field ``labels`` of named classes."""
    return Stored(Field("class", (), "int64", len(classes), tuple(classes)), smallest(len(classes)))


def factor_field(names: list[str], sizes: list[int]) -> Stored:
    """The field ``factors``; one continuous factor (size 0) makes all of them float32."""
    dtype = "int64" if all(sizes) else "float32"
    return Stored(Field("factors", (len(names),), dtype, tuple(sizes), tuple(names)), dtype)
