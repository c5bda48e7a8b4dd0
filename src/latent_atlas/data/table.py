"""The user's own table: CSV or Parquet, numbers and categories."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from latent_atlas.data.coding import Coded, code_factors, code_labels
from latent_atlas.data.reader import HASH, Contents, DataError, Stored, blocks
from latent_atlas.data.scaling import Column, Moments, Scaling
from latent_atlas.data.spec import Field
from latent_atlas.data.splits import Split, digests

if TYPE_CHECKING:
    import pandas as pd

CATEGORIES = 64  # of one column: each is an entry of the vector


class Table:
    """Rows as vectors x (d,): numbers standardized over the training rows, categories one-hot; ``Scaling`` has the way back.

    Args:
        path: of a ``.csv``, ``.tsv`` or ``.parquet`` file; ``~`` is the home.
        label: the column that holds the class.
        factors: columns that hold factors.
        ignore: columns that are left out.
        missing: ``error``, or ``drop`` rows with an empty or infinite value and list them in the card.
        scaling: ``standard`` or ``none``.
    """

    def __init__(
        self,
        path: str,
        label: str | None = None,
        factors: Sequence[str] = (),
        ignore: Sequence[str] = (),
        missing: str = "error",
        scaling: str = "standard",
    ) -> None:
        self.path, self.label, self.factors, self.ignore = Path(path).expanduser(), label, list(factors), list(ignore)
        self.missing, self.scaling = missing, scaling
        if missing not in ("error", "drop") or scaling not in ("standard", "none"):
            raise DataError(f"table: missing={missing!r}, scaling={scaling!r}; they are error or drop and standard or none")

    def open(self, split: Split) -> Contents:
        """Reads and checks the whole table; it is the one kind of source that must fit into memory."""
        frame = read_frame(self.path)
        for name in [*([self.label] if self.label else []), *self.factors, *self.ignore]:
            if name not in frame:
                raise DataError(f"{self.path}: no column {name!r}; it has {', '.join(map(str, frame.columns))}")
        frame = frame.drop(columns=self.ignore)
        frame, excluded = self._complete(frame)
        beside = {self.label, *self.factors}
        columns = {str(name): values(frame[name], self.path) for name in frame if name not in beside}
        if not columns:
            raise DataError(f"{self.path}: no column is left to be observed")
        hashes = row_digests(columns)
        coded: dict[str, Coded] = {}
        if self.label:
            coded["labels"] = code_labels(values(frame[self.label], self.path), f"{self.path}, column {self.label!r}")
        if self.factors:
            coded["factors"] = code_factors({name: values(frame[name], self.path) for name in self.factors}, str(self.path))
        try:
            train = split.assign(hashes, coded["factors"].table() if "factors" in coded else None) == 0
        except ValueError as error:
            raise DataError(f"{self.path}: split: {error}") from error
        scaling = self._fit(columns, train)
        x = scaling.apply(columns)
        fields = {"x": Stored(Field("vector", (x.shape[1],), names=scaling.names), "float32")}
        fields |= {name: entry.stored for name, entry in coded.items()}
        arrays: dict[str, NDArray[Any]] = {"x": x, HASH: hashes}
        arrays |= {name: entry.array for name, entry in coded.items()}
        record = {"kind": "vector", "named": True, "columns": scaling.to_dict()}
        known = coded["factors"].values if "factors" in coded else None
        return Contents("x", fields, lambda: blocks(arrays), record, len(x), None, excluded, known)

    def _complete(self, frame: pd.DataFrame) -> tuple[pd.DataFrame, list[tuple[str, str]]]:
        bad = [(row + 1, str(frame.columns[k]), frame.iat[row, k]) for row, k in np.argwhere(holes(frame)).tolist()]
        if bad and self.missing == "error":
            row, column, value = bad[0]
            word = "infinite" if isinstance(value, float) and np.isinf(value) else "empty"
            raise DataError(
                f"{self.path}: row {row}, column {column!r} is {word} ({len(bad)} in all); fill it, or set reader.missing=drop"
            )
        reasons: dict[int, str] = {}
        for row, column, _ in bad:
            reasons.setdefault(row, f"column {column!r} is empty or infinite")
        kept = frame.drop(index=frame.index[[row - 1 for row in reasons]])
        if kept.empty:
            raise DataError(f"{self.path}: no row is left: each has an empty or infinite value")
        return kept, [(f"row {row}", reason) for row, reason in sorted(reasons.items())]

    def _fit(self, columns: dict[str, NDArray[Any]], train: NDArray[np.bool_]) -> Scaling:
        fitted: list[Column] = []
        for name, column in columns.items():
            if column.dtype.kind == "U":
                categories = tuple(np.unique(column).tolist())
                if len(categories) > CATEGORIES:
                    raise DataError(
                        f"{self.path}: column {name!r} has {len(categories)} different texts, more than {CATEGORIES} categories; "
                        "name it in reader.ignore, or as label or factor"
                    )
                fitted.append(Column(name, categories=categories))
            else:
                moments = Moments(1)
                moments.add(column[train, None])
                fitted += moments.columns([name], self.scaling)
        return Scaling(tuple(fitted))


def read_frame(path: Path) -> pd.DataFrame:
    """A table with a plain index; raises ``DataError``."""
    import pandas as pd

    if not path.is_file():
        raise DataError(f"{path} does not exist" if not path.exists() else f"{path} is not a file")
    suffix = path.suffix.lower()
    if suffix not in (".csv", ".tsv", ".parquet"):
        raise DataError(f"{path}: a table is a .csv, .tsv or .parquet file")
    try:
        frame = pd.read_parquet(path) if suffix == ".parquet" else pd.read_csv(path, sep="\t" if suffix == ".tsv" else ",")
    except (ValueError, OSError) as error:  # pandas' and pyarrow's own errors are ValueErrors
        raise DataError(f"{path}: not a table that can be read ({str(error).splitlines()[0]})") from error
    if frame.empty:
        raise DataError(f"{path}: no rows")
    frame.columns = [str(name) for name in frame.columns]
    if repeated := [name for name, n in frame.columns.value_counts().items() if n > 1]:
        raise DataError(f"{path}: two columns are called {repeated[0]!r}")
    return frame.reset_index(drop=True)


def holes(frame: pd.DataFrame) -> NDArray[np.bool_]:
    """Where values are missing or infinite, (N, columns)."""
    empty: NDArray[np.bool_] = frame.isna().to_numpy().copy()
    for k, name in enumerate(frame.columns):
        if frame[name].dtype.kind == "f":
            empty[:, k] |= np.isinf(frame[name].to_numpy(dtype=float, na_value=np.nan))
    return empty


def values(series: pd.Series, path: Path) -> NDArray[Any]:
    """A column without holes as float64 (numbers, flags) or as texts; raises ``DataError`` for any other type."""
    import pandas as pd

    if pd.api.types.is_numeric_dtype(series.dtype) and not pd.api.types.is_complex_dtype(series.dtype):
        return series.to_numpy(dtype=np.float64)
    texts = isinstance(series.dtype, pd.CategoricalDtype) or pd.api.types.is_string_dtype(series.dtype)
    if not texts and not all(isinstance(value, (str, bool, int, float)) for value in series):
        raise DataError(
            f"{path}: column {series.name!r} has type {series.dtype}; columns are numbers or texts: convert it or ignore it"
        )
    array = series.astype(str).to_numpy().astype(str)
    numbers = pd.to_numeric(pd.Series(array), errors="coerce")
    if 0.5 < numbers.notna().mean() < 1 and len(np.unique(array)) > CATEGORIES:
        row = int(np.flatnonzero(numbers.isna())[0])
        raise DataError(f"{path}: row {series.index[row] + 1}, column {series.name!r}: {str(array[row])!r} is not a number")
    return array


def row_digests(columns: dict[str, NDArray[Any]]) -> NDArray[np.uint64]:
    """Of the raw values: neither the scaling nor the set of categories, which grow with the data, may move a row."""
    numbers = [column + 0.0 for column in columns.values() if column.dtype.kind != "U"]
    parts = [digests(np.stack(numbers, axis=1))] if numbers else []
    for column in columns.values():
        if column.dtype.kind == "U":
            known, codes = np.unique(column, return_inverse=True)
            parts.append(np.array([digests(np.frombuffer(text.encode() + b"\0", np.uint8)[None])[0] for text in known])[codes])
    return digests(np.stack(parts, axis=1))
