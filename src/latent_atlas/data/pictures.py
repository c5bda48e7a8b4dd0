"""One image file as the array that a model sees: any format Pillow reads, made upright, grey or RGB, sized."""

from __future__ import annotations

import unicodedata
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from latent_atlas.data.reader import DataError

GREY = {"1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N", "F"}
DEEP = {"I", "I;16", "I;16B", "I;16L", "I;16N"}
FITS = ("resize", "crop")


class UnreadableError(Exception):
    """Why a file cannot be used, in a few words."""


@dataclass(frozen=True)
class Pictures:
    """How image files become arrays.

    Args:
        size: (height, width), or ``None`` to keep each as it is.
        channels: 1 or 3.
        fit: ``resize`` to the size with antialiasing whatever the proportions, or ``crop``: the shorter side is resized and the
            middle cut out.
        background: behind transparent pixels, a colour that Pillow knows.
        convert: colour becomes grey where ``channels`` is 1; else a coloured image is refused.
    """

    size: tuple[int, int] | None
    channels: int
    fit: str = "resize"
    background: str = "white"
    convert: bool = True

    def __post_init__(self) -> None:
        if self.fit not in FITS:
            raise DataError(f"fit={self.fit!r}; it is one of {', '.join(FITS)}")
        if self.channels not in (1, 3):
            raise DataError(f"channels={self.channels!r}; it is 1, 3 or auto")

    def read(self, path: Path) -> NDArray[np.uint8]:
        """(H, W, channels); raises ``UnreadableError``."""
        picture = flat(load(path), self.background)
        if self.channels == 1 and not self.convert and coloured(picture):
            raise UnreadableError("coloured, the others are grey")
        if self.size is not None and picture.size != self.size[::-1]:
            picture = self._fitted(picture)
        picture = picture.convert("L" if self.channels == 1 else "RGB")
        return np.asarray(picture).reshape(picture.height, picture.width, self.channels)

    def _fitted(self, picture: Image.Image) -> Image.Image:
        assert self.size is not None
        if self.fit == "crop":
            return ImageOps.fit(picture, self.size[::-1], Image.Resampling.LANCZOS)
        return picture.resize(self.size[::-1], Image.Resampling.LANCZOS)

    def record(self) -> dict[str, Any]:
        """For the preprocessing in the data card; ``from_record`` is its inverse."""
        return {
            "kind": "image",
            "size": None if self.size is None else list(self.size),
            "channels": self.channels,
            "fit": self.fit,
            "background": self.background,
            "convert": self.convert,
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any], channels: int) -> Pictures:
        """Of a data set; one that was not made of files takes images of its very size and colour."""
        size = record.get("size")
        return cls(
            size=None if size is None else (size[0], size[1]),
            channels=record.get("channels", channels),
            fit=record.get("fit", "resize"),
            background=record.get("background", "white"),
            convert=record.get("convert", False),
        )


def sized(size: Any) -> tuple[int, int] | None:
    """A configuration's size: nothing, one number, or [height, width]."""
    if size is None:
        return None
    pair = (size, size) if isinstance(size, int) else tuple(size) if isinstance(size, Sequence) else ()
    if len(pair) != 2 or not all(isinstance(side, int) and side > 0 for side in pair):
        raise DataError(f"size={size!r}; it is a number of pixels, [height, width] or null")
    return (int(pair[0]), int(pair[1]))


def load(path: Path) -> Image.Image:
    """The first frame, decoded and upright; raises ``UnreadableError``."""
    if path.stat().st_size == 0:
        raise UnreadableError("empty file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path) as picture:
                picture.load()
                return ImageOps.exif_transpose(picture)
    except Image.UnidentifiedImageError:
        raise UnreadableError("not an image that Pillow reads") from None
    except Exception as error:  # Pillow's decoders raise whatever their format makes them
        raise UnreadableError(f"broken image ({str(error) or type(error).__name__})") from None


def header(path: Path) -> tuple[str, tuple[int, int]]:
    """Mode and upright (height, width) without decoding; raises ``UnreadableError``."""
    if path.stat().st_size == 0:
        raise UnreadableError("empty file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path) as picture:
                # getexif would decode a whole PNG to look for metadata behind the pixels.
                tagged = picture.format in ("JPEG", "MPO", "TIFF", "WEBP") or "exif" in picture.info
                turned = tagged and picture.getexif().get(0x0112, 1) in (5, 6, 7, 8)
                width, height = picture.size[::-1] if turned else picture.size
                return picture.mode, (height, width)
    except Image.UnidentifiedImageError:
        raise UnreadableError("not an image that Pillow reads") from None
    except Exception as error:
        raise UnreadableError(f"broken image ({str(error) or type(error).__name__})") from None


def flat(picture: Image.Image, background: str = "white") -> Image.Image:
    """Without palette, transparency or depth beyond 8 bits: mode L or RGB."""
    if picture.mode in DEEP or picture.mode == "F":
        return _eight_bits(picture)
    if picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info:
        above = picture.convert("RGBA")
        below = Image.new("RGBA", above.size, background)
        merged = Image.alpha_composite(below, above).convert("RGB")
        return merged.convert("L") if picture.mode in GREY and not coloured(merged) else merged
    return picture.convert("L" if picture.mode in GREY else "RGB")


def _eight_bits(picture: Image.Image) -> Image.Image:
    """16 bits by division by 257, floats as [0, 1]."""
    values = np.asarray(picture).astype(np.float64)
    top = 1.0 if picture.mode == "F" else 65535.0
    if not np.isfinite(values).all() or values.min() < 0 or values.max() > top:
        raise UnreadableError(f"values {values.min():g} to {values.max():g} lie outside 0 to {top:g}")
    return Image.fromarray(np.rint(values * (255 / top)).astype(np.uint8))


def coloured(picture: Image.Image) -> bool:
    """Whether any pixel of a flat picture is not grey."""
    if picture.mode == "L":
        return False
    red, green, blue = np.moveaxis(np.asarray(picture), -1, 0)
    return bool((red != green).any() or (green != blue).any())


def walk(folder: Path) -> Iterator[tuple[str, Path]]:
    """Every file below a folder, hidden ones left out, sorted: (path relative to the folder with /, path)."""
    found = []
    for path in folder.rglob("*"):
        parts = path.relative_to(folder).parts
        if not any(part.startswith(".") for part in parts) and path.is_file():
            found.append(("/".join(parts), path))
    yield from sorted(found, key=lambda entry: normal(entry[0]))


def normal(name: str) -> str:
    """One spelling for an umlaut, whichever way the file system or the table writes it."""
    return unicodedata.normalize("NFC", name)
