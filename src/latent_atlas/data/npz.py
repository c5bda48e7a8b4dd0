"""An ``.npz`` file read block by block: NumPy alone would unpack a whole array into memory."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from latent_atlas.data.reader import DataError


@dataclass(frozen=True)
class Member:
    """The header of one array."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool


class Npz:
    """The arrays of an ``.npz`` file by name; raises ``DataError`` for what is no such file and for pickled objects.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.members: dict[str, Member] = {}
        if not path.is_file():
            raise DataError(f"{path} does not exist")
        try:
            with zipfile.ZipFile(path) as archive:
                for entry in archive.namelist():
                    with archive.open(entry) as stream:
                        self.members[entry.removesuffix(".npy")] = header(stream, f"{path}: {entry}")
        except (zipfile.BadZipFile, EOFError, OSError) as error:
            raise DataError(f"{path}: not a whole .npz file ({error})") from error

    def read(self, key: str) -> NDArray[Any]:
        """One whole array."""
        member = self.members[key]
        parts = list(self.blocks(key, max(1, member.shape[0] if member.shape else 1)))
        return parts[0] if parts else np.empty(member.shape, member.dtype)

    def blocks(self, key: str, size: int) -> Iterator[NDArray[Any]]:
        """Blocks of at most ``size`` rows of one array."""
        member = self.members[key]
        try:
            with zipfile.ZipFile(self.path) as archive, archive.open(f"{key}.npy") as stream:
                if member.fortran or not member.shape:
                    whole = np.load(stream, allow_pickle=False)
                    yield from (whole[k : k + size] for k in range(0, len(whole), size)) if whole.ndim else [whole]
                    return
                header(stream, key)
                row = int(np.prod(member.shape[1:])) * member.dtype.itemsize
                for start in range(0, member.shape[0], size):
                    n = min(size, member.shape[0] - start)
                    data = bytearray(stream.read(n * row))
                    yield np.frombuffer(data, member.dtype).reshape(n, *member.shape[1:])
        except (zipfile.BadZipFile, EOFError, OSError, ValueError) as error:
            raise DataError(f"{self.path}: array {key!r} cannot be read ({error})") from error


def header(stream: IO[bytes], where: str) -> Member:
    """Reads the header of a ``.npy`` stream and leaves it at the data."""
    try:
        version = npy.read_magic(stream)
        shape, fortran, dtype = npy.read_array_header_1_0(stream) if version == (1, 0) else npy.read_array_header_2_0(stream)
    except ValueError as error:
        raise DataError(f"{where}: not a NumPy array ({error})") from error
    if dtype.hasobject:
        raise DataError(f"{where}: holds pickled Python objects, which are not read; save it as numbers or strings")
    return Member(shape, dtype, fortran)
