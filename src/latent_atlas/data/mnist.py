"""MNIST, or any set in its format, from four IDX files that the user has: nothing is downloaded."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from latent_atlas.data import idx
from latent_atlas.data.fashion_mnist import picture
from latent_atlas.data.reader import Chunk, Contents, DataError, class_field
from latent_atlas.data.splits import Split

PARTS = ("train", "t10k")
CLASSES = tuple(map(str, range(10)))


class Mnist:
    """LeCun et al. 1998: 28×28 grey digits, the published 60,000 and then the 10,000, split anew by content.

    Args:
        folder: of ``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte`` and the same of ``t10k``, plain or ``.gz``.
        binarize: ``dynamic`` makes black and white pictures of the grey ones, see ``drawing``.
    """

    def __init__(self, folder: str | None = None, binarize: str | None = None) -> None:
        self.folder = None if folder is None else Path(folder).expanduser()
        self.image = picture(binarize)

    def open(self, split: Split) -> Contents:
        """Finds the four files; what is in them is checked when they are read."""
        if self.folder is None:
            raise DataError("mnist: say where its four IDX files are: data.reader.folder=<folder>")
        files = [(find(self.folder, f"{part}-images", 3), find(self.folder, f"{part}-labels", 1)) for part in PARTS]
        fields = {"image": self.image, "labels": class_field(list(CLASSES))}
        return Contents("image", fields, lambda: _chunks(files), {"kind": "image", "size": None, "range": None}, 70_000)


def find(folder: Path, stem: str, axes: int) -> Path:
    """The file of that name; the copies that circulate have a dot or a hyphen, and are gzipped or not."""
    names = [f"{stem}{sign}idx{axes}-ubyte{end}" for sign in "-." for end in ("", ".gz")]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise DataError(f"mnist: {folder} has none of {', '.join(names)}: is data.reader.folder right?")


def read(path: Path, axes: tuple[int, ...]) -> NDArray[np.uint8]:
    """A file whose items have these axes; raises ``DataError`` for anything else."""
    try:
        data = path.read_bytes()
        found = idx.parse(gzip.decompress(data) if path.suffix == ".gz" else data)
    except (EOFError, OSError, ValueError, zlib.error) as error:
        raise DataError(f"mnist: {path} cannot be read: {error}") from error
    if found.shape[1:] != axes:
        raise DataError(f"mnist: {path} holds items of {found.shape[1:]}, not {axes}")
    return found


def _chunks(files: list[tuple[Path, Path]]) -> Iterator[Chunk]:
    for at_images, at_labels in files:
        images, labels = read(at_images, (28, 28)), read(at_labels, ())
        if len(images) != len(labels):
            raise DataError(f"mnist: {at_images} has {len(images):,} pictures, {at_labels} {len(labels):,} labels")
        if labels.max(initial=0) >= len(CLASSES):
            raise DataError(f"mnist: {at_labels} has the label {labels.max()}; there are ten, 0 to 9")
        yield {"image": images[..., None], "labels": labels}
