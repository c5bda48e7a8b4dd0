"""The user's own images: a folder, nested as it likes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latent_atlas.data import pictures
from latent_atlas.data.coding import Coded, code_factors, code_labels
from latent_atlas.data.pictures import Pictures, UnreadableError
from latent_atlas.data.reader import Chunk, Contents, DataError, Stored
from latent_atlas.data.spec import Field
from latent_atlas.data.splits import Split

PARTS = {"train", "training", "val", "valid", "validation", "test", "testing"}
NAME_COLUMNS = ("file", "filename", "name", "image", "path", "item")
LABEL_COLUMNS = ("label", "labels", "class")
BLOCK = 256


class ImageFolder:
    """Images (C, H, W) of every file below a folder, in the order of their names.

    Args:
        path: of the folder; ``~`` is the home.
        size: pixels, one number or [height, width]; ``null`` keeps them as they are and asks that all agree.
        fit: ``resize`` (antialiased) or ``crop`` (shorter side resized, the middle cut out).
        channels: 1, 3, or ``auto``: grey if every image is grey.
        labels: ``auto`` takes the names of the first level of folders if there are two or more (below train, val and test where
            these are the first level), ``folders`` insists on them, ``null`` ignores them.
        table: a CSV of labels or factors: a column ``file`` (or its first column) of names below the folder, ``label``, and
            factors in all others.
        strict: a file that cannot be used is fatal instead of listed in the card.
        background: behind transparent pixels.
    """

    def __init__(
        self,
        path: str,
        size: Any = None,
        fit: str = "resize",
        channels: int | str = "auto",
        labels: str | None = "auto",
        table: str | None = None,
        strict: bool = False,
        background: str = "white",
    ) -> None:
        self.path, self.table, self.strict = Path(path).expanduser(), table and Path(table).expanduser(), strict
        self.size, self.fit, self.channels, self.labels, self.background = pictures.sized(size), fit, channels, labels, background
        if labels not in ("auto", "folders", None):
            raise DataError(f"image_folder: labels={labels!r}; it is auto, folders or null")

    def open(self, split: Split) -> Contents:
        """Looks at every header, at pixels only as far as needed to know whether there is colour."""
        found, excluded = scan(self.path, {self.table} if self.table else set())
        self._complain(excluded, len(found))
        size = self.size or self._common_size(found)
        reader = Pictures(size, self._channels(found), self.fit, self.background, convert=self.channels != "auto")
        coded = self._annotations(found, excluded)
        fields = {"image": Stored(Field("image", (reader.channels, *size), size=256), "uint8")}
        fields |= {name: entry.stored for name, entry in coded.items()}
        values = coded["factors"].values if "factors" in coded else None
        # Where sizes were asked to agree, new images must have that size too, so nothing is resized.
        record = reader.record() | ({} if self.size else {"size": None})
        contents = Contents("image", fields, lambda: iter(()), record, len(found), [], excluded, values)
        contents.chunks = lambda: self._chunks(found, reader, coded, contents)
        return contents

    def _chunks(
        self, found: Mapping[str, Any], reader: Pictures, coded: Mapping[str, Coded], contents: Contents
    ) -> Iterator[Chunk]:
        names = list(found)
        for start in range(0, len(names), BLOCK):
            images, rows, broken = [], [], []
            for row in range(start, min(start + BLOCK, len(names))):
                try:
                    images.append(reader.read(self.path / names[row]))
                    rows.append(row)
                except UnreadableError as error:
                    broken.append((names[row], str(error)))
            self._complain(broken, len(names))
            contents.excluded.extend(broken)
            assert contents.ids is not None
            contents.ids.extend(pictures.normal(names[row]) for row in rows)
            if rows:
                yield {"image": np.stack(images)} | {name: entry.array[rows] for name, entry in coded.items()}
        if not contents.ids:
            raise DataError(f"{self.path}: no image could be decoded; {_first(contents.excluded)}")

    def _complain(self, excluded: list[tuple[str, str]], rest: int) -> None:
        if self.strict and excluded:
            raise DataError(
                f"{self.path}: {len(excluded)} of {rest + len(excluded)} files cannot be used, {_first(excluded)}; strict=true"
            )
        if not rest:
            raise DataError(f"{self.path}: no images in this folder" + (f"; {_first(excluded)}" if excluded else ""))

    def _common_size(self, found: Mapping[str, tuple[str, tuple[int, int]]]) -> tuple[int, int]:
        (first, (_, size)), *rest = found.items()
        for name, (_, other) in rest:
            if other != size:
                a, b = (f"{s[1]}×{s[0]}" for s in (size, other))
                raise DataError(f"{self.path}: sizes differ, {first} is {a} and {name} is {b}; set reader.size to resize them")
        return size

    def _channels(self, found: Mapping[str, tuple[str, tuple[int, int]]]) -> int:
        if self.channels != "auto":
            if self.channels not in (1, 3):
                raise DataError(f"image_folder: channels={self.channels!r}; it is 1, 3 or auto")
            return int(self.channels)
        return 3 if any(is_coloured(self.path / name, mode) for name, (mode, _) in found.items()) else 1

    def _annotations(self, found: dict[str, Any], excluded: list[tuple[str, str]]) -> dict[str, Coded]:
        if self.table:
            return self._from_table(self.table, found, excluded)
        if self.labels is None:
            return {}
        names = folder_labels(list(found))
        if names is None:
            if self.labels == "folders":
                raise DataError(f"{self.path}: labels=folders, but the images do not all lie in two or more folders")
            return {}
        return {"labels": code_labels(np.asarray(names), str(self.path))}

    def _from_table(self, path: Path, found: dict[str, Any], excluded: list[tuple[str, str]]) -> dict[str, Coded]:
        columns, rows = match(path, list(found))
        lost = [(name, f"named in {path.name}, but no such image") for name in rows if name not in found]
        lost += [(name, f"not in {path.name}") for name in found if name not in rows]
        if len(lost) == len(rows) + len(found):
            raise DataError(f"{path}: none of its {len(rows)} names is an image in {self.path} (such as {next(iter(rows))!r})")
        self._complain(lost, len(found))
        excluded.extend(lost)
        for name in [name for name in found if name not in rows]:
            del found[name]
        order = [rows[name] for name in found]
        coded: dict[str, Coded] = {}
        label = next((name for name in columns if name.lower() in LABEL_COLUMNS), None)
        if label is not None:
            coded["labels"] = code_labels(columns.pop(label)[order], f"{path}, column {label!r}")
        if columns:
            coded["factors"] = code_factors({name: column[order] for name, column in columns.items()}, str(path))
        return coded


def scan(folder: Path, beside: set[Path] | None = None) -> tuple[dict[str, tuple[str, tuple[int, int]]], list[tuple[str, str]]]:
    """Every image's (mode, (height, width)) by its name below the folder, and what is none; ``DataError`` without a folder."""
    if not folder.exists():
        raise DataError(f"{folder} does not exist")
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder")
    found, excluded = {}, []
    for name, path in pictures.walk(folder):
        if beside and any(path.samefile(other) for other in beside if other.exists()):
            continue
        try:
            found[name] = pictures.header(path)
        except UnreadableError as error:
            excluded.append((name, str(error)))
    return found, excluded


def is_coloured(path: Path, mode: str) -> bool:
    """Whether an image has a pixel that is not grey; a broken one says no, it is set aside later."""
    if mode in pictures.GREY:
        return False
    try:
        return pictures.coloured(pictures.flat(pictures.load(path)))
    except UnreadableError:
        return False


def folder_labels(names: list[str]) -> list[str] | None:
    """The name of each item's first folder, or of the second below train, val and test; ``None`` where it is not a labelling."""
    parts = [name.split("/")[:-1] for name in names]
    if all(part and part[0].lower() in PARTS for part in parts):
        parts = [part[1:] for part in parts]
    if not all(parts) or not 2 <= len({part[0] for part in parts}) <= max(2, len(parts) // 2):
        return None
    return [pictures.normal(part[0]) for part in parts]


def match(path: Path, names: list[str]) -> tuple[dict[str, NDArray[Any]], dict[str, int]]:
    """The columns of a CSV of annotations, and the row of each item by the item's own name (or by the table's, if no item has it).

    A table may name items by their path below the folder, by the file name alone or without its ending, where that is unambiguous.
    """
    import pandas as pd

    if not path.is_file():
        raise DataError(f"{path} does not exist")
    try:
        head = [str(column) for column in pd.read_csv(path, nrows=0)]
        key = next((column for column in head if column.lower() in NAME_COLUMNS), head[0])
        frame = pd.read_csv(path, dtype={key: str})  # 007 is a name, not a number
    except (ValueError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a CSV table ({error})") from error
    if len(head) < 2:
        raise DataError(f"{path}: needs a column of file names and at least one of labels or factors")
    if frame.empty:
        raise DataError(f"{path}: no rows")
    known: dict[str, str] = {}
    for spelling in (lambda n: n, lambda n: n.rsplit("/", 1)[-1], lambda n: n.rsplit("/", 1)[-1].rsplit(".", 1)[0]):
        short = [spelling(pictures.normal(name)) for name in names]
        repeated = {text for text, n in zip(*np.unique(short, return_counts=True), strict=True) if n > 1}
        known = {text: name for text, name in zip(short, names, strict=True) if text not in repeated} | known
    rows: dict[str, int] = {}
    for row, text in enumerate(frame[key].astype(str)):
        name = known.get(pictures.normal(text.strip().removeprefix("./")), text)
        if name in rows:
            raise DataError(f"{path}: rows {rows[name] + 1} and {row + 1} both name {name}")
        rows[name] = row
    columns = {str(column): _whole(frame[column], path) for column in frame if column != key}
    return columns, rows


def _whole(series: Any, path: Path) -> NDArray[Any]:
    if series.isna().any():
        row = int(np.flatnonzero(series.isna())[0])
        raise DataError(f"{path}: row {row + 1}, column {series.name!r} is empty ({int(series.isna().sum())} in all)")
    array = series.to_numpy()
    return array if array.dtype.kind in "biuf" else array.astype(str)


def _first(excluded: list[tuple[str, str]]) -> str:
    item, reason = excluded[0]
    return f"the first: {item}: {reason}"
