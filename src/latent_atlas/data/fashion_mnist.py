"""Fashion-MNIST: 70,000 real photographs of clothing, 28×28 grey, ten classes."""

from __future__ import annotations

import gzip
import hashlib
import os
import sys
import urllib.request
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from latent_atlas import workspace
from latent_atlas.data import drawing, idx
from latent_atlas.data.reader import Chunk, Contents, DataError, Stored, class_field
from latent_atlas.data.spec import Field
from latent_atlas.data.splits import Split

CLASSES = ("T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
DEBIAN = Path("/usr/share/datasets/fashion-mnist")
HOME = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"
SHA256 = {  # of what is inside: Debian packed the same bytes anew
    "train-images-idx3-ubyte.gz": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte.gz": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte.gz": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte.gz": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}


class FashionMnist:
    """Xiao, Rasul and Vollgraf, arXiv 1708.07747: the published 60,000 and then the 10,000, split anew by content.

    Looked for in the cache of the workspace, in Debian's package ``dataset-fashion-mnist``, then downloaded; every file is checked.

    Args:
        folder: of the four published ``.gz`` files, instead of looking for them.
        binarize: ``dynamic`` makes black and white pictures of the grey ones, see ``drawing``.
    """

    def __init__(self, folder: str | None = None, binarize: str | None = None) -> None:
        self.folder = None if folder is None else Path(folder).expanduser()
        self.image = picture(binarize)

    def open(self, split: Split) -> Contents:
        """Finds the four files; the pixels are read part by part."""
        folder = self.folder or find()
        fields = {"image": self.image, "labels": class_field(list(CLASSES))}
        return Contents("image", fields, lambda: _chunks(folder), {"kind": "image", "size": None, "range": None}, 70_000)


def picture(binarize: str | None) -> Stored:
    """The field of 28×28 pictures, grey or drawn black and white; raises ``DataError``."""
    if binarize not in (None, *drawing.WAYS):
        raise DataError(f"reader.binarize is {binarize!r}; it is null or one of {', '.join(drawing.WAYS)}")
    drawn = binarize is not None
    return Stored(Field("image", (1, 28, 28), size=2 if drawn else 256), "uint8", drawn=drawn)


def find() -> Path:
    """The folder with the files, downloaded into the cache if nobody has them."""
    cache = workspace.work() / "downloads" / "fashion-mnist"
    for folder in (cache, DEBIAN):
        if all((folder / name).is_file() for name in SHA256):
            return folder
    cache.mkdir(parents=True, exist_ok=True)
    for name in SHA256:
        if not (cache / name).is_file():
            download(f"{HOME}/{name}", cache / name)
    return cache


def download(url: str, path: Path) -> None:
    """Fetches one file, checks it and only then gives it its name; raises ``DataError`` that names the other ways."""
    print(f"fashion_mnist: downloading {url}", file=sys.stderr, flush=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with urllib.request.urlopen(url, timeout=30) as answer, partial.open("wb") as file:
            while block := answer.read(1 << 20):
                file.write(block)
        unpacked(partial, path.name)
        partial.replace(path)
    except OSError as error:
        raise DataError(
            f"fashion_mnist: {url} cannot be had ({error}); install Debian's package dataset-fashion-mnist, "
            f"put the four published .gz files into {path.parent}, or set reader.folder to where they are"
        ) from error
    finally:
        partial.unlink(missing_ok=True)


def unpacked(path: Path, name: str) -> bytes:
    """What is inside a published file; raises ``DataError`` for anything else."""
    if not path.is_file():
        raise DataError(f"fashion_mnist: {path} does not exist")
    try:
        with gzip.open(path) as file:
            data = file.read()
    except (EOFError, OSError, zlib.error):
        data = b""
    if hashlib.sha256(data).hexdigest() != SHA256[name]:
        raise DataError(f"fashion_mnist: {path} does not hold the published {name}; delete it and prepare again")
    return data


def read_idx(path: Path) -> NDArray[np.uint8]:
    """An array of bytes in the IDX format, gzipped."""
    return idx.parse(unpacked(path, path.name))


def _chunks(folder: Path) -> Iterator[Chunk]:
    for part in ("train", "t10k"):
        images = read_idx(folder / f"{part}-images-idx3-ubyte.gz")[..., None]
        yield {"image": images, "labels": read_idx(folder / f"{part}-labels-idx1-ubyte.gz")}
