"""New data for a trained model: read the way its training data were, or refused in one line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latent_atlas.data import pictures
from latent_atlas.data.array_file import ArrayFile, open_arrays
from latent_atlas.data.pictures import Pictures, UnreadableError
from latent_atlas.data.reader import DataError
from latent_atlas.data.scaling import Scaling
from latent_atlas.data.spec import DataSpec, Field

Rejected = list[tuple[str, str]]
Read = tuple[NDArray[Any], list[str], Rejected]
ARRAYS, TABLES = (".npz", ".npy"), (".csv", ".tsv", ".parquet")


def read_new(preprocessing: Mapping[str, Any], spec: DataSpec, path: Path | str) -> Read:
    """The items at ``path`` with the preprocessing of a data card: (x, ids, rejected).

    x is (N, *spec.x.shape) as in a batch: images float32 in [0, 1], vectors float32 with the training data's scaling, tokens int64.
    ids are file names below the folder or row numbers from 0; rejected are (item, reason) of what cannot be read.

    Args:
        preprocessing: of the training data's card.
        spec: of the training data.
        path: a folder of images, one image, an ``.npz`` or ``.npy`` file, a CSV or Parquet table.

    Raises:
        DataError: nothing there, or data of another kind or shape than the training data.
    """
    path, field = Path(path).expanduser(), spec.x
    if not path.exists():
        raise DataError(f"{path} does not exist")
    if path.suffix.lower() in ARRAYS and path.is_file():
        read = _arrays(preprocessing, field, open_arrays(path))
    elif field.kind == "image":
        read = _files(preprocessing, field, path)
    elif path.suffix.lower() in TABLES and path.is_file() and field.kind == "vector":
        read = _table(preprocessing, field, path)
    else:
        raise DataError(
            f"{path}: the model takes {described(field)}; give them as .npz or .npy"
            + (", .csv or .parquet" * (field.kind == "vector"))
        )
    if not read[1]:
        item, reason = read[2][0] if read[2] else ("it", "is empty")
        raise DataError(f"{path}: no item fits {described(field)}; the first: {item}: {reason}")
    return read


def described(field: Field) -> str:
    """What a model takes, in words."""
    if field.kind == "image":
        c, h, w = field.shape
        return f"{w}×{h} {'binary' if field.size == 2 else 'grey' if c == 1 else 'colour'} images"
    return f"{field.kind} of {field.shape[0]} entries"


def _files(record: Mapping[str, Any], field: Field, path: Path) -> Read:
    reader = Pictures.from_record(record, field.shape[0])
    entries = list(pictures.walk(path)) if path.is_dir() else [(path.name, path)]
    images, ids, rejected = [], [], []
    for name, file in entries:
        try:
            image = reader.read(file)
            c, h, w = field.shape
            if image.shape != (h, w, c):
                raise UnreadableError(f"is {image.shape[1]}×{image.shape[0]}, the training images are {w}×{h}")
            if field.size == 2 and not np.isin(image, (0, 255)).all():
                raise UnreadableError("has grey pixels, the training images are black and white")
        except UnreadableError as error:
            rejected.append((pictures.normal(name), str(error)))
        else:
            images.append(image)
            ids.append(pictures.normal(name))
    return _unit(np.stack(images)) if images else np.empty(0, np.float32), ids, rejected


def _unit(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.moveaxis(images, -1, 1).astype(np.float32) / np.float32(255)


def _arrays(record: Mapping[str, Any], field: Field, file: ArrayFile) -> Read:
    c, *hw = field.shape
    wanted = (*hw, c) if field.kind == "image" else field.shape
    if file.image != (field.kind == "image") or file.item != tuple(wanted):
        shape = "×".join(map(str, file.item))
        raise DataError(
            f"{file.where}: items are {'images' if file.image else 'vectors'} of {shape}, the model takes {described(field)}"
        )
    whole = np.concatenate(list(file.blocks()))
    wrong = _wrong_numbers(whole.reshape(len(whole), -1), record, field)
    rejected = [(str(row), reason) for row, reason in wrong]
    kept = np.setdiff1d(np.arange(len(whole)), [row for row, _ in wrong])
    return _as_batch(whole[kept], record, field), [str(row) for row in kept.tolist()], rejected


def _wrong_numbers(rows: NDArray[Any], record: Mapping[str, Any], field: Field) -> list[tuple[int, str]]:
    """(row, reason) of items (N, entries) with values that the training data cannot have."""
    finite = np.isfinite(rows).all(1)
    found = dict.fromkeys(np.flatnonzero(~finite).tolist(), "a value is not finite")
    low, high = rows.min(1), rows.max(1)
    if field.kind == "image":
        black, white = _span(rows, record)
        bad = (low < black) | (high > white)
        text = f"values run outside {black:g} to {white:g}"
        if field.size == 2:
            bad, text = bad | ((rows != black) & (rows != white)).any(1), f"values other than {black:g} and {white:g}"
    elif field.kind in ("counts", "tokens"):
        top = field.size - 1 if isinstance(field.size, int) else np.inf
        bad, text = (low < 0) | (high > top) | (rows != np.rint(rows)).any(1), f"values are not whole numbers from 0 to {top}"
    else:
        bad, text = np.zeros(len(rows), bool), ""
    for row in np.flatnonzero(bad).tolist():
        found.setdefault(row, text)
    return sorted(found.items())


def _span(rows: NDArray[Any], record: Mapping[str, Any]) -> tuple[float, float]:
    """Black and white: the training array's own, and 0 and 255 for bytes where it had none."""
    if record.get("range"):
        return float(record["range"][0]), float(record["range"][1])
    return 0.0, 255.0 if rows.dtype == np.uint8 and rows.max(initial=0) > 1 else 65535.0 if rows.dtype == np.uint16 else 1.0


def _as_batch(rows: NDArray[Any], record: Mapping[str, Any], field: Field) -> NDArray[Any]:
    if field.kind == "image":
        black, white = _span(rows, record)
        levels = np.rint((rows.astype(np.float64) - black) * (255 / (white - black)))
        return _unit(levels.astype(np.uint8))
    if field.kind == "vector" and "columns" in record:
        scaling = Scaling.from_dict(record["columns"])
        mean, scale = (np.array([getattr(column, key) for column in scaling.columns]) for key in ("mean", "scale"))
        if len(mean) != rows.shape[1]:
            raise DataError("the model was trained on a table with categories; give the new data as a table with the same columns")
        return ((rows - mean) / scale).astype(np.float32)
    return rows.astype(field.dtype)


def _table(record: Mapping[str, Any], field: Field, path: Path) -> Read:
    from latent_atlas.data.table import read_frame

    frame = read_frame(path)
    scaling = Scaling.from_dict(record["columns"])
    if not record["named"]:  # trained on an array whose columns have no names: the numbers count, in order
        if len(frame.columns) != len(scaling.columns):
            raise DataError(f"{path}: {len(frame.columns)} columns, the model takes {described(field)}")
        frame.columns = [column.name for column in scaling.columns]
    if missing := [column.name for column in scaling.columns if column.name not in frame]:
        raise DataError(f"{path}: no column {', '.join(map(repr, missing))}; it has {', '.join(frame.columns)}")
    columns = {}
    for column in scaling.columns:
        series = frame[column.name]
        if not column.categories and series.dtype.kind not in "biuf":
            raise DataError(f"{path}: column {column.name!r} holds texts, the model takes numbers there")
        columns[column.name] = series.to_numpy()
    wrong = scaling.unknown(columns)
    kept = np.setdiff1d(np.arange(len(frame)), [row for row, _ in wrong])
    x = scaling.apply({name: values[kept] for name, values in columns.items()})
    return x, [str(row) for row in kept.tolist()], [(str(row), reason) for row, reason in wrong]
