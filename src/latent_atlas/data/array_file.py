"""The arrays of an ``.npz`` or ``.npy`` file, whatever their names, block by block."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latent_atlas.data.npz import Npz
from latent_atlas.data.reader import DataError

IMAGES, VECTORS, LABELS, FACTORS = ("images", "imgs"), ("x", "X"), ("labels", "y"), ("factors",)
NAMES = {"class_names", "factor_names", "column_names"}
BLOCK = 4096


@dataclass(frozen=True)
class ArrayFile:
    """An opened file: which array is observed, as what, and what comes with it.

    Args:
        path: of the file.
        key: of the observed array, "" in a ``.npy`` file.
        image: whether it is images or vectors.
        shape: of the observed array.
        dtype: of the observed array.
        beside: labels, factors and names by the word for them, whole.
        unused: names of arrays that mean nothing here.
    """

    path: Path
    key: str
    image: bool
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    beside: Mapping[str, NDArray[Any]]
    unused: tuple[str, ...]

    @property
    def where(self) -> str:
        """For messages."""
        return f"{self.path}: {self.key}" if self.key else str(self.path)

    def blocks(self, size: int = BLOCK) -> Iterator[NDArray[Any]]:
        """The observed array; images as (n, H, W, C)."""
        if self.key:
            parts = Npz(self.path).blocks(self.key, size)
        else:
            whole = np.load(self.path, mmap_mode="r")
            parts = (np.asarray(whole[start : start + size]) for start in range(0, len(whole), size))
        yield from (channels_last(part) for part in parts) if self.image else parts

    @property
    def item(self) -> tuple[int, ...]:
        """The shape of one item: (H, W, C) or (d,)."""
        return channels_last(np.empty((0, *self.shape[1:]), np.uint8)).shape[1:] if self.image else self.shape[1:]


def channels_last(block: NDArray[Any]) -> NDArray[Any]:
    """(n, H, W), (n, H, W, C) or (n, C, H, W) with one or three channels to (n, H, W, C)."""
    if block.ndim == 3:
        return block[..., None]
    return block if block.shape[-1] in (1, 3) else block.transpose(0, 2, 3, 1)


def open_arrays(path: Path) -> ArrayFile:
    """Finds the observed array and what belongs to it; raises ``DataError``."""
    if not path.is_file():
        raise DataError(f"{path} does not exist" if not path.exists() else f"{path} is not a file")
    if path.suffix.lower() == ".npy":
        return _npy(path)
    file = Npz(path)
    known = {name: next((key for key in keys if key in file.members), None) for name, keys in _KEYS.items()}
    observed = [key for key in (known["images"], known["x"]) if key is not None]
    rest = [key for key in file.members if key not in known.values() and key not in NAMES]
    if not observed:
        observed = [key for key in rest if len(file.members[key].shape) >= 2]
    if len(observed) != 1:
        raise DataError(
            f"{path}: needs one array 'images' or 'x', optionally 'labels' and 'factors'; it has {', '.join(file.members)}"
        )
    key = observed[0]
    member = file.members[key]
    beside = {name: file.read(found) for name in ("labels", "factors") if (found := known[name]) is not None}
    beside |= {name: file.read(name) for name in NAMES & set(file.members)}
    for name in ("labels", "factors"):
        if name in beside and (not beside[name].ndim or len(beside[name]) != member.shape[0]):
            raise DataError(f"{path}: {name} has shape {beside[name].shape}, but {key} has {member.shape[0]} items")
    image = key == known["images"] or (key != known["x"] and len(member.shape) > 2)
    unused = tuple(name for name in rest if name != key)
    return _checked(ArrayFile(path, key, image, member.shape, member.dtype, beside, unused))


_KEYS = {"images": IMAGES, "x": VECTORS, "labels": LABELS, "factors": FACTORS}


def _npy(path: Path) -> ArrayFile:
    try:
        array = np.load(path, mmap_mode="r")
    except (ValueError, OSError, EOFError) as error:
        raise DataError(f"{path}: not a .npy file of numbers ({error})") from error
    return _checked(ArrayFile(path, "", array.ndim > 2, array.shape, array.dtype, {}, ()))


def _checked(file: ArrayFile) -> ArrayFile:
    shape = file.shape
    if file.dtype.kind not in "biuf":
        raise DataError(f"{file.where} has type {file.dtype}; it must be numbers: bool, integers or floats")
    if not shape or not shape[0]:
        raise DataError(f"{file.where} has shape {shape}: no items")
    if file.image:
        fits = len(shape) == 3 or (len(shape) == 4 and (shape[-1] in (1, 3) or shape[1] in (1, 3)))
        if not fits or not all(shape):
            raise DataError(
                f"{file.where} has shape {shape}; images are (N, H, W), (N, H, W, C) or (N, C, H, W) with 1 or 3 channels"
            )
    elif len(shape) != 2 or not shape[1]:
        raise DataError(f"{file.where} has shape {shape}; vectors are (N, d)")
    return file


def finite(block: NDArray[Any], where: str, start: int) -> None:
    """Raises ``DataError`` with row and column of the first value that is not finite."""
    if block.dtype.kind == "f" and not np.isfinite(block).all():
        row, *column = np.argwhere(~np.isfinite(block))[0].tolist()
        value = block[(row, *column)]
        raise DataError(
            f"{where}: {value} in row {start + row + 1}, column {'/'.join(str(k + 1) for k in column)}; remove or fill it"
        )


def unit_range(dtype: np.dtype[Any], low: float, high: float, where: str) -> list[float]:
    """What is black and what is white, by type and values; raises ``DataError`` where it cannot be known."""
    if dtype.kind == "b" or (low >= 0 and high <= 1):
        return [0, 1]
    if dtype in (np.uint8, np.uint16):
        return [0, 255 if dtype == np.uint8 else 65535]
    if dtype.kind in "iu" and low >= 0 and high <= 255:
        return [0, 255]
    raise DataError(f"{where}: values run from {low:g} to {high:g}; say which are black and white with reader.range=[black, white]")


def to_bytes(block: NDArray[Any], span: list[float]) -> NDArray[np.uint8]:
    """Images with black and white at ``span`` as 0 ... 255."""
    if block.dtype == np.uint8 and span == [0, 255]:
        return block
    return np.rint((block.astype(np.float64) - span[0]) * (255 / (span[1] - span[0]))).astype(np.uint8)
