"""Labels and factors as people write them, as codes: what counts as a class, a discrete factor, a continuous one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latent_atlas.data.combinations import FactorTable
from latent_atlas.data.reader import DataError, Stored, class_field, factor_field

MOST = 256  # values of a discrete factor


@dataclass(frozen=True)
class Coded:
    """An array on disk, its field, and what its codes stand for."""

    array: NDArray[Any]
    stored: Stored
    values: Mapping[str, list[Any]] | None = None

    def table(self) -> FactorTable:
        """Factors as ``Split.assign`` takes them."""
        return FactorTable(self.stored.field.names, self.stored.field.size, self.array, self.values or {})  # type: ignore[arg-type]


def _distinct(column: NDArray[Any], where: str) -> tuple[list[Any], NDArray[np.int64]]:
    if column.dtype.kind == "f":
        if bad := np.flatnonzero(~np.isfinite(column)).tolist():
            raise DataError(f"{where}: row {bad[0] + 1} is {column[bad[0]]} ({len(bad)} in all); every item needs a value")
        if (column == np.rint(column)).all():
            column = column.astype(np.int64)
    if column.dtype.kind == "O":
        column = column.astype(str)
    if column.dtype.kind not in "biufUS":
        raise DataError(f"{where}: values of type {column.dtype} are neither numbers nor texts")
    values, codes = np.unique(column, return_inverse=True)
    plain = [value.decode() if isinstance(value, bytes) else value for value in values.tolist()]
    return plain, codes.reshape(-1).astype(np.int64)


def code_labels(column: NDArray[Any], where: str, names: Sequence[str] | None = None) -> Coded:
    """Classes in sorted order, numbers by value; ``names`` of the classes 0, 1, ... if given."""
    if column.ndim != 1:
        raise DataError(f"{where}: labels have shape {column.shape}; they are one per item")
    values, codes = _distinct(column, where)
    if column.dtype.kind == "f" and any(isinstance(value, float) for value in values):
        raise DataError(
            f"{where}: labels such as {next(v for v in values if isinstance(v, float))} are not classes; give them as factors"
        )
    if len(values) > 2 and len(values) > len(column) / 2:
        raise DataError(f"{where}: {len(values)} different labels for {len(column)} items look like identifiers, not classes")
    if names is not None:
        if not all(isinstance(value, int) and 0 <= value < len(names) for value in values):
            raise DataError(f"{where}: labels run to {values[-1]}, but {len(names)} class names are given")
        return Coded(column.astype(np.int64), class_field([str(name) for name in names]))
    return Coded(codes, class_field([str(value) for value in values]))


def code_factors(columns: Mapping[str, NDArray[Any]], where: str) -> Coded:
    """Texts, flags and whole numbers of at most ``MOST`` values are discrete, in sorted order; other numbers are continuous."""
    parts, sizes, known = [], [], {}
    for name, column in columns.items():
        values, codes = _distinct(column, f"{where}, factor {name!r}")
        few = len(values) <= MOST and (len(values) <= max(2, len(column) // 2) or not isinstance(values[0], (int, float)))
        if any(isinstance(value, float) for value in values) or (not few and isinstance(values[0], int)):
            parts.append(column.astype(np.float64))
            sizes.append(0)
        elif few:
            parts.append(codes.astype(np.float64))
            sizes.append(len(values))
            known[name] = values
        else:
            raise DataError(f"{where}, factor {name!r}: {len(values)} different texts look like identifiers; leave the column out")
    stored = factor_field(list(columns), sizes)
    return Coded(np.stack(parts, axis=1).astype(stored.dtype), stored, known)
