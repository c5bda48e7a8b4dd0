"""Columns as vectors: numbers standardized, categories one-hot, and the way back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Columns = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Column:
    """One column: a number, (value - mean) / scale, or one of ``categories``."""

    name: str
    mean: float = 0.0
    scale: float = 1.0
    categories: tuple[str, ...] = ()

    @property
    def width(self) -> int:
        """Entries of the vector."""
        return len(self.categories) or 1


@dataclass(frozen=True)
class Scaling:
    """From named columns (N,) to x (N, d) and back.

    Args:
        columns: in the order of their entries.
    """

    columns: tuple[Column, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Of the d entries: a number's column, ``column=category`` for each category."""
        return tuple(text for c in self.columns for text in ([f"{c.name}={k}" for k in c.categories] or [c.name]))

    def apply(self, columns: Columns) -> NDArray[np.float32]:
        """(N, d) float32. A category that is not known has no entry set: see ``unknown``."""
        n = len(columns[self.columns[0].name])
        parts = []
        for column in self.columns:
            values = columns[column.name]
            if column.categories:
                parts.append((values[:, None].astype(str) == np.asarray(column.categories)).astype(np.float64))
            else:
                parts.append((values.reshape(n, 1).astype(np.float64) - column.mean) / column.scale)
        return np.concatenate(parts, axis=1).astype(np.float32)

    def inverse(self, x: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Named columns from x (N, d): numbers in their own units, of one-hot entries the category of the greatest."""
        columns: dict[str, NDArray[Any]] = {}
        start = 0
        for column in self.columns:
            part = np.asarray(x, np.float64)[:, start : start + column.width]
            start += column.width
            columns[column.name] = (
                np.asarray(column.categories)[part.argmax(1)] if column.categories else part[:, 0] * column.scale + column.mean
            )
        return columns

    def unknown(self, columns: Columns) -> list[tuple[int, str]]:
        """(row, reason) of each row with a value that the training data's columns cannot take."""
        found: dict[int, str] = {}
        for column in self.columns:
            values = columns[column.name]
            texts = bool(column.categories)
            bad = ~np.isin(values.astype(str), column.categories) if texts else ~np.isfinite(values.astype(np.float64))
            for row in np.flatnonzero(bad).tolist():
                what = "is not a category of the training data" if texts else "is not a finite number"
                found.setdefault(row, f"column {column.name!r}: {values[row]} {what}")
        return sorted(found.items())

    def to_dict(self) -> list[dict[str, Any]]:
        """Plain types for the data card."""
        return [asdict(column) | {"categories": list(column.categories)} for column in self.columns]

    @classmethod
    def from_dict(cls, plain: Sequence[Mapping[str, Any]]) -> Scaling:
        """The inverse of ``to_dict``."""
        return cls(tuple(Column(**{**entry, "categories": tuple(entry["categories"])}) for entry in plain))


class Moments:
    """Mean and deviation of columns in float64, block by block (Chan, Golub and LeVeque, 1979)."""

    def __init__(self, d: int) -> None:
        self.n, self.mean, self.squares = 0, np.zeros(d), np.zeros(d)

    def add(self, block: NDArray[Any]) -> None:
        """Takes (n, d) in."""
        if not len(block):
            return
        block = block.astype(np.float64)
        n, mean = len(block), block.mean(0)
        shift, total = mean - self.mean, self.n + n
        self.squares += ((block - mean) ** 2).sum(0) + shift**2 * (self.n * n / total)
        self.mean = self.mean + shift * (n / total)
        self.n = total

    def columns(self, names: Sequence[str], kind: str = "standard") -> tuple[Column, ...]:
        """Standardized columns; one that does not vary is only centred. ``kind`` none leaves the numbers as they are."""
        if kind == "none":
            return tuple(Column(name) for name in names)
        deviation = np.sqrt(self.squares / max(self.n, 1))
        tiny = deviation <= 1e-12 * np.maximum(np.abs(self.mean), 1e-300)
        scale = np.where(tiny, 1.0, deviation)
        return tuple(Column(name, float(m), float(s)) for name, m, s in zip(names, self.mean, scale, strict=True))
