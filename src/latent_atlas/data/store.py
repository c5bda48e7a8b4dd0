"""A data set on disk: one directory of arrays and a card, written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import psutil
from numpy.lib import format as npy
from numpy.typing import NDArray

from latent_atlas.data import contact
from latent_atlas.data.combinations import FactorTable
from latent_atlas.data.packing import pack
from latent_atlas.data.reader import HASH, Contents, DataError, Stored
from latent_atlas.data.spec import DataSpec
from latent_atlas.data.splits import Split, digests, sizes

HEADER = 128  # bytes of a .npy header, the least that NumPy writes and room for any shape here
WITNESSES = 64  # how many held-out items the card names


class Appender:
    """A ``.npy`` file that grows by blocks, so that nobody needs to know N beforehand."""

    def __init__(self, path: Path, stored: Stored) -> None:
        self.path, self.stored, self.n = path, stored, 0
        self.hash = hashlib.sha256()
        self.low, self.high = np.inf, -np.inf
        self._file: BinaryIO = path.open("wb")
        self._file.write(b"\0" * HEADER)

    def append(self, block: NDArray[Any]) -> NDArray[Any]:
        """Writes (n, *row) and gives it back as it lies on disk."""
        if block.shape[1:] != self.stored.row:
            raise DataError(f"{self.path.stem}: items of shape {block.shape[1:]} do not fit the declared {self.stored.row}")
        rows = np.ascontiguousarray(block, dtype=self.stored.dtype)
        self.hash.update(rows.data)
        self._file.write(rows.data)
        if rows.size and not self.stored.packed:
            self.low, self.high = min(self.low, rows.min().item()), max(self.high, rows.max().item())
        self.n += len(rows)
        return rows

    def close(self) -> None:
        """Puts the header with the final N in front."""
        shape = (self.n, *self.stored.row)
        text = f"{{'descr': {npy.dtype_to_descr(np.dtype(self.stored.dtype))!r}, 'fortran_order': False, 'shape': {shape!r}, }}"
        magic = npy.magic(1, 0)
        body = text.encode().ljust(HEADER - len(magic) - 3) + b"\n"
        self._file.seek(0)
        self._file.write(magic + (HEADER - len(magic) - 2).to_bytes(2, "little") + body)
        self._file.close()

    def range(self) -> list[float]:
        """Least and greatest value in a batch's units."""
        divisor = self.stored.layout()["divisor"] or 1
        return [0, 1] if self.stored.packed else [self.low / divisor, self.high / divisor]


@contextmanager
def replacing(out: Path) -> Iterator[Path]:
    """A fresh directory beside ``out`` that takes its place when the block ends well and vanishes when it does not."""
    out.parent.mkdir(parents=True, exist_ok=True)
    _sweep(out)
    fresh, old = (out.with_name(f".{out.name}.{os.getpid()}.{part}") for part in ("new", "old"))
    fresh.mkdir()
    try:
        yield fresh
        if out.exists():
            out.rename(old)
        fresh.rename(out)
    finally:
        if old.exists() and not out.exists():
            old.rename(out)
        for leftover in (fresh, old):
            shutil.rmtree(leftover, ignore_errors=True)


def _sweep(out: Path) -> None:
    """Removes what killed processes left beside ``out``, and puts an ``out`` back that one of them had moved away."""
    for leftover in sorted(out.parent.glob(f".{out.name}.*.*")):
        *_, pid, part = leftover.name.split(".")
        if part not in ("new", "old") or not pid.isdigit() or (psutil.pid_exists(int(pid)) and int(pid) != os.getpid()):
            continue
        if part == "old" and not out.exists():
            leftover.rename(out)
        shutil.rmtree(leftover, ignore_errors=True)


def progress(name: str, total: int | None) -> Callable[[int], None]:
    """Prints how far it is every five seconds, nothing for short work."""
    start = last = time.monotonic()

    def show(n: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= 5:
            last = now
            share = f" of {total:,} ({100 * n / total:.0f} %)" if total else ""
            print(f"{name}: {n:,}{share} items, {n / (now - start):,.0f} a second", file=sys.stderr, flush=True)

    return show


def item_digests(stored: Stored, rows: NDArray[Any]) -> NDArray[np.uint64]:
    """Of rows as they lie on disk; a binary image has the same digest packed or not."""
    return digests(pack(rows) if stored.field.size == 2 and not (stored.packed or stored.drawn) else rows)


def stream(contents: Contents, folder: Path, name: str) -> tuple[dict[str, Appender], NDArray[np.uint64]]:
    """Writes all chunks; the fields' appenders, closed, and every item's digest."""
    files = {key: Appender(folder / f"{key}.npy", stored) for key, stored in contents.fields.items()}
    parts: list[NDArray[np.uint64]] = []
    show, n = progress(name, contents.total), 0
    try:
        for chunk in contents.chunks():
            rows = {key: file.append(chunk[key]) for key, file in files.items()}
            observed = contents.observation
            parts.append(chunk[HASH] if HASH in chunk else item_digests(files[observed].stored, rows[observed]))
            n += len(parts[-1])
            if any(file.n != n for file in files.values()):
                raise DataError(f"{name}: fields of unequal length: " + ", ".join(f"{k} {f.n}" for k, f in files.items()))
            show(n)
    finally:
        for file in files.values():
            file.close()
    if n == 0:
        raise DataError(f"{name}: no items")
    return files, np.concatenate(parts)


def write(
    contents: Contents,
    out: Path,
    *,
    name: str,
    split: Split,
    reference_size: int,
    title: str = "",
    about: str = "",
    assigned: NDArray[np.uint8] | None = None,
    describe: Callable[[Path], dict[str, Any] | None] | None = None,
) -> dict[str, Any]:
    """Writes the directory ``out`` and returns its card; the same contents give the same bytes.

    ``assigned`` overrules the split by content (for tests of tiny sets); ``describe`` sees the written directory and returns what
    the card says under ``shape``. Raises ``DataError``; ``out`` is then as it was.
    """
    with replacing(out) as folder:
        files, hashes = stream(contents, folder, name)
        parts = assign(split, hashes, contents, folder, name) if assigned is None else np.asarray(assigned, np.uint8)
        counts = sizes(parts)
        for needed in ("train", "test"):
            if not counts[needed]:
                raise DataError(f"{name}: of {len(parts)} items the split leaves none for {needed}; add items or change split")
        np.save(folder / "split.npy", parts)
        spec = DataSpec(name, contents.observation, {key: stored.field for key, stored in contents.fields.items()}, counts)
        card = {
            "name": name,
            "title": title or name,
            "about": about,
            "spec": spec.to_dict(),
            "ranges": {key: file.range() for key, file in files.items()},
            "factors": _factors(spec, contents),
            "classes": _classes(spec),
            "content_hash": _content_hash(spec, files),
            "split": {"val": split.val, "test": split.test}
            | ({"combinations": list(split.combinations)} if split.combinations else {}),
            "storage": {key: {"file": f"{key}.npy", **stored.layout()} for key, stored in contents.fields.items()},
            "preprocessing": dict(contents.preprocessing),
            "excluded": [{"item": item, "reason": reason} for item, reason in contents.excluded],
            "reference_size": reference_size,
            "witnesses": _witnesses(parts, hashes),
            "items": None if contents.ids is None else "ids.json",
        }
        if contents.ids is not None:
            _dump(contents.ids, folder / "ids.json")
        _dump(card, folder / "card.json")
        contact.draw(folder, card).save(folder / "contact.png")
        if describe is not None and (shape := describe(folder)) is not None:
            card["shape"] = shape
            _dump(card, folder / "card.json")
    return card


def assign(split: Split, hashes: NDArray[np.uint64], contents: Contents, folder: Path, name: str) -> NDArray[np.uint8]:
    """The split of every item, from its content, or its factors as they lie in ``folder`` where the split asks for combinations."""
    found = [(key, stored.field) for key, stored in contents.fields.items() if stored.field.kind == "factors"]
    table = None
    if split.combinations and found:
        key, entry = found[0]
        rows = np.load(folder / f"{key}.npy")
        table = FactorTable(entry.names, entry.size, rows, contents.factors or {})  # type: ignore[arg-type]
    try:
        return split.assign(hashes, table)
    except ValueError as error:
        raise DataError(f"{name}: split: {error}") from error


def read_card(folder: Path) -> dict[str, Any]:
    """The card of a data directory; raises ``DataError`` where there is none."""
    path = Path(folder) / "card.json"
    if not path.exists():
        raise DataError(f"{path} does not exist: prepare the data set first (python pipelines/prepare.py data={Path(folder).name})")
    card: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return card


def load_arrays(folder: Path, card: Mapping[str, Any], resident: bool) -> dict[str, NDArray[Any]]:
    """Every field's array, in memory or mapped, and its length checked against the card."""
    arrays = {key: np.load(folder / entry["file"], mmap_mode=None if resident else "r") for key, entry in card["storage"].items()}
    n = sum(card["spec"]["sizes"].values())
    for key, array in arrays.items():
        if len(array) != n:
            raise DataError(f"{folder}: {key} has {len(array)} items, the card says {n}; prepare the data set again")
    return arrays


def _factors(spec: DataSpec, contents: Contents) -> dict[str, Any] | None:
    key = spec.first("factors")
    if key is None:
        return None
    field = spec.fields[key]
    return {"names": list(field.names), "sizes": list(field.size or ()), "values": contents.factors}  # type: ignore[arg-type]


def _classes(spec: DataSpec) -> list[str] | None:
    key = spec.first("class")
    return None if key is None else list(spec.fields[key].names)


def _content_hash(spec: DataSpec, files: Mapping[str, Appender]) -> str:
    described = {"spec": spec.to_dict() | {"name": ""}, "files": {key: file.hash.hexdigest() for key, file in files.items()}}
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()


def _witnesses(parts: NDArray[np.uint8], hashes: NDArray[np.uint64]) -> list[int]:
    """Held-out items in the order of their digests, each content once: a choice by content that new items hardly change."""
    rows = np.flatnonzero(parts == 2)
    _, first = np.unique(hashes[rows], return_index=True)
    return [int(row) for row in rows[first][:WITNESSES]]


def _dump(value: Any, path: Path) -> None:
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
