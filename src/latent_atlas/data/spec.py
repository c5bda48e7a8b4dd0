"""What a data set says of itself: everything that models, metrics and pages may ask without looking at the data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

KINDS = ("image", "tokens", "vector", "counts", "points", "sequence", "class", "factors")
SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Field:
    """One named tensor of a batch.

    Args:
        kind: one of ``KINDS``.
        shape: of one item, without the batch: (C, H, W) for an image, (L,) for tokens, (d,) for a vector or counts, (K,) for
            K factors, () for a class.
        dtype: of the tensor in a batch, as a torch name: ``float32``, ``int64``.
        size: how many values an entry can take: 2 for a binary image, 256 for an 8-bit one, the vocabulary of tokens, the number of
            classes, a tuple with the size of each factor; ``None`` where unbounded or continuous. A factor of size 0 is continuous.
        names: of classes, factors or columns, in order; empty where there are none.
        mask: the name of the field that marks the real entries of a padded one.
    """

    kind: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    size: int | tuple[int, ...] | None = None
    names: tuple[str, ...] = ()
    mask: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"Field.kind is {self.kind!r}; it is one of {', '.join(KINDS)}")


@dataclass(frozen=True)
class DataSpec:
    """A data set as models see it: its fields, which of them is observed, and the number of items per split."""

    name: str
    observation: str
    fields: Mapping[str, Field]
    sizes: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(SPLITS, 0))

    def __post_init__(self) -> None:
        if self.observation not in self.fields:
            raise ValueError(f"observation {self.observation!r} is not among the fields {', '.join(self.fields)}")

    @property
    def x(self) -> Field:
        """The observed field."""
        return self.fields[self.observation]

    def first(self, kind: str) -> str | None:
        """The name of the first field of a kind, or ``None``."""
        return next((name for name, entry in self.fields.items() if entry.kind == kind), None)

    def to_dict(self) -> dict[str, Any]:
        """Plain types for JSON and YAML; ``from_dict`` is its inverse."""
        plain = asdict(self)
        plain["fields"] = {
            name: {key: list(value) if isinstance(value, tuple) else value for key, value in entry.items()}
            for name, entry in plain["fields"].items()
        }
        plain["sizes"] = dict(self.sizes)
        return plain

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> DataSpec:
        """The inverse of ``to_dict``."""
        fields = {
            name: Field(**{str(key): tuple(value) if isinstance(value, list) else value for key, value in entry.items()})  # type: ignore[arg-type]
            for name, entry in plain["fields"].items()
        }
        return cls(plain["name"], plain["observation"], fields, dict(plain["sizes"]))
