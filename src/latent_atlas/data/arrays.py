"""The user's own arrays: images or vectors (measurements, embeddings of any other model) in an ``.npz`` or ``.npy`` file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latent_atlas.data.array_file import ArrayFile, finite, open_arrays, to_bytes, unit_range
from latent_atlas.data.coding import Coded, code_factors, code_labels
from latent_atlas.data.packing import pack
from latent_atlas.data.reader import HASH, Chunk, Contents, DataError, Stored
from latent_atlas.data.scaling import Moments, Scaling
from latent_atlas.data.spec import Field
from latent_atlas.data.splits import Split, digests

KINDS = ("vector", "counts", "tokens")


class Arrays:
    """``images`` (N, H, W[, C]) or ``x`` (N, d), optionally ``labels`` (N,) and ``factors`` (N, K), their names in
    ``class_names``, ``factor_names``, ``column_names``; a file with one array needs no names.

    Args:
        path: of the file; ``~`` is the home.
        range: [black, white] of images whose type does not tell.
        kind: of ``x``: ``vector``, ``counts`` (whole numbers from 0) or ``tokens`` (indices from 0).
        scaling: of vectors: ``standard`` (zero mean, unit deviation per column over the training items) or ``none``.
    """

    def __init__(self, path: str, range: list[float] | None = None, kind: str = "vector", scaling: str = "standard") -> None:
        self.path, self.range, self.kind, self.scaling = Path(path).expanduser(), range, kind, scaling
        if range is not None and (len(range) != 2 or not range[0] < range[1]):
            raise DataError(f"arrays: range={range}; it is [black, white] with black < white")
        if kind not in KINDS or scaling not in ("standard", "none"):
            raise DataError(f"arrays: kind={kind!r}, scaling={scaling!r}; they are one of {', '.join(KINDS)} and standard or none")

    def open(self, split: Split) -> Contents:
        """Reads the observed array once, to check it and to fit what is fitted."""
        file = open_arrays(self.path)
        coded = annotations_of(file)
        name, stored, record, convert = self._images(file) if file.image else self._vectors(file, split, coded)
        fields = {name: stored} | {key: entry.stored for key, entry in coded.items()}

        def chunks() -> Iterator[Chunk]:
            start = 0
            for block in file.blocks():
                rows = slice(start, start + len(block))
                yield convert(block) | {key: entry.array[rows] for key, entry in coded.items()}
                start += len(block)

        excluded = [(key, "an array of this name means nothing here") for key in file.unused]
        values = coded["factors"].values if "factors" in coded else None
        return Contents(name, fields, chunks, record, file.shape[0], None, excluded, values)

    def _images(self, file: ArrayFile) -> tuple[str, Stored, dict[str, Any], Any]:
        low, high, start = np.inf, -np.inf, 0
        black = self.range[0] if self.range else 0
        two_levels = dict.fromkeys([self.range[1]] if self.range else [1, 255, 65535], True)  # by what may be white
        for block in file.blocks():
            finite(block, file.where, start)
            low, high, start = min(low, float(block.min())), max(high, float(block.max())), start + len(block)
            for white, so_far in two_levels.items():
                two_levels[white] = so_far and bool(((block == black) | (block == white)).all())
        span = self.range or unit_range(file.dtype, low, high, file.where)
        if low < span[0] or high > span[1]:
            raise DataError(f"{file.where}: values run from {low:g} to {high:g}, outside range={span}")
        binary = two_levels.get(span[1], False) and [low, high] == list(span)
        h, w, c = file.item
        stored = Stored(Field("image", (c, h, w), size=2 if binary else 256), "uint8", packed=binary)

        def convert(block: NDArray[Any]) -> dict[str, NDArray[Any]]:
            return {"image": pack(block == high) if binary else to_bytes(block, span)}

        return "image", stored, {"kind": "image", "size": None, "range": list(span)}, convert

    def _vectors(self, file: ArrayFile, split: Split, coded: Mapping[str, Coded]) -> tuple[str, Stored, dict[str, Any], Any]:
        d = file.shape[1]
        names = tuple(str(name) for name in file.beside.get("column_names", ()))
        if names and len(names) != d:
            raise DataError(f"{file.path}: {len(names)} column_names for {d} columns")
        if self.kind != "vector":
            return "x", *_whole_numbers(file, self.kind, names)
        moments, hashes, start = Moments(d), list[NDArray[np.uint64]](), 0
        for block in file.blocks():
            finite(block, file.where, start)
            hashes.append(_digests(block))
            start += len(block)
        train, start = self._train(np.concatenate(hashes), split, coded), 0
        for block in file.blocks():
            moments.add(block[train[start : start + len(block)]])
            start += len(block)
        scaling = Scaling(moments.columns(names or [f"x{k + 1}" for k in range(d)], self.scaling))
        mean, scale = (np.array([getattr(column, key) for column in scaling.columns]) for key in ("mean", "scale"))

        def convert(block: NDArray[Any]) -> dict[str, NDArray[Any]]:
            return {"x": ((block - mean) / scale).astype(np.float32), HASH: _digests(block)}

        record = {"kind": "vector", "named": bool(names), "columns": scaling.to_dict()}
        return "x", Stored(Field("vector", (d,), names=scaling.names), "float32"), record, convert

    def _train(self, hashes: NDArray[np.uint64], split: Split, coded: Mapping[str, Coded]) -> NDArray[np.bool_]:
        """Which items are training items: all are needed to know, since combinations are of the whole set."""
        try:
            return split.assign(hashes, coded["factors"].table() if "factors" in coded else None) == 0
        except ValueError as error:
            raise DataError(f"{self.path}: split: {error}") from error


def _digests(block: NDArray[Any]) -> NDArray[np.uint64]:
    # Of the raw numbers, not of the scaled ones: they would all change with the mean of a set that grows. + 0.0 makes -0.0 zero.
    return digests(block.astype(np.float64) + 0.0)


def _whole_numbers(file: ArrayFile, kind: str, names: tuple[str, ...]) -> tuple[Stored, dict[str, Any], Any]:
    top = 0
    for block in file.blocks():
        finite(block, file.where, 0)
        if (block < 0).any() or (block != np.rint(block)).any():
            raise DataError(
                f"{file.where}: {kind} are whole numbers from 0; there is {block[(block < 0) | (block != np.rint(block))][0]}"
            )
        top = max(top, int(block.max()))
    length = (file.shape[1],)
    field = Field("tokens", length, "int64", top + 1) if kind == "tokens" else Field("counts", length, names=names)
    stored = Stored(field, "int32")
    return stored, {"kind": kind}, lambda block: {"x": block.astype(np.int32)}


def annotations_of(file: ArrayFile) -> dict[str, Coded]:
    """The labels and factors beside the observed array."""
    coded: dict[str, Coded] = {}
    if "labels" in file.beside:
        names = file.beside.get("class_names")
        coded["labels"] = code_labels(file.beside["labels"], f"{file.path}: labels", None if names is None else names.tolist())
    if "factors" in file.beside:
        factors = file.beside["factors"].reshape(file.shape[0], -1)
        names = file.beside.get("factor_names", np.array([f"factor {k + 1}" for k in range(factors.shape[1])]))
        if len(names) != factors.shape[1]:
            raise DataError(f"{file.path}: {len(names)} factor_names for {factors.shape[1]} factors")
        coded["factors"] = code_factors({str(name): factors[:, k] for k, name in enumerate(names)}, str(file.path))
    return coded
