"""dSprites, drawn from exact geometry: every combination of five factors, once, in the order of the published set."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latent_atlas.data.packing import pack
from latent_atlas.data.reader import Chunk, Contents, DataError, Stored, factor_field
from latent_atlas.data.spec import Field
from latent_atlas.data.splits import Split

NAMES = ("shape", "scale", "orientation", "x", "y")
SHAPES = ("square", "ellipse", "heart")
SIZES = (3, 6, 40, 32, 32)
REACH = 0.25  # no shape leaves the circle of this radius around its centre; the frame is the unit square
TURNS = 10  # orientations in a chunk: 10 · 1024 images, 42 MB unpacked at 64×64

Array = NDArray[np.float32]


def square(u: Array, v: Array) -> NDArray[np.bool_]:
    """|u|, |v| ≤ 0.17, whose corner lies at 0.24."""
    return np.maximum(np.abs(u), np.abs(v)) <= np.float32(0.17)


def ellipse(u: Array, v: Array) -> NDArray[np.bool_]:
    """Half-axes 0.24 and 0.14."""
    return u * u * np.float32(0.24**-2) + v * v * np.float32(0.14**-2) <= 1


def heart(u: Array, v: Array) -> NDArray[np.bool_]:
    """(a² + b² - 1)³ ≤ a² b³ with the tip down, its centroid (0, 0.2935) at the origin, its tip at 0.24."""
    a, b = u * np.float32(5.39), np.float32(0.2935) - v * np.float32(5.39)
    a *= a
    square_b = b * b
    b *= square_b
    b *= a
    a += square_b
    a -= 1
    return a * a * a <= b


FORMS = (square, ellipse, heart)


class Dsprites:
    """Binary images (1, R, R) of a shape at a scale, orientation and place: 3 × 6 × 40 × 32 × 32 = 737,280.

    Matthey, Higgins, Hassabis and Lerchner, dSprites, 2017. Scales are linspace(0.5, 1), orientations 40 equal steps of a turn,
    without the published set's repetition of 0 at 2π, positions linspace(0, 1) over the middle half of the frame. A pixel is set
    where its centre lies inside the shape: no antialiasing, as in the original.

    Args:
        resolution: R; 64 is published, 32 is a quarter of the work.
        source: the official ``dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz`` instead of our rendering, checked.
        sizes: of the factors; smaller ones for tests.
    """

    def __init__(self, resolution: int = 32, source: str | None = None, sizes: Sequence[int] = SIZES) -> None:
        if len(sizes) != 5 or not 1 <= sizes[0] <= 3 or min(sizes) < 1:
            raise DataError(f"dsprites: sizes={list(sizes)}; it is five counts, the first of them at most 3 shapes")
        if resolution < 8 or (source and resolution not in (64, 32)):
            raise DataError(f"dsprites: resolution={resolution}; it is at least 8, and 64 or 32 from the official file")
        self.resolution, self.source, self.sizes = resolution, source, tuple(sizes)
        steps = sizes[2]
        self.scale = np.linspace(0.5, 1, sizes[1])
        self.angle = np.arange(steps) * (2 * math.pi / steps)
        self._offsets = [self._offset(size) for size in sizes[3:]]

    def _offset(self, positions: int) -> Array:
        """Pixel centres as seen from each position, (positions, R) in units of the frame."""
        pixels = (np.arange(self.resolution) + 0.5) / self.resolution
        return (pixels - (0.25 + 0.5 * np.linspace(0, 1, positions))[:, None]).astype(np.float32)

    def open(self, split: Split) -> Contents:
        """Describes the set; the images come shape by shape, scale by scale."""
        values: dict[str, list[Any]] = {
            "shape": list(SHAPES[: self.sizes[0]]),
            "scale": self.scale.tolist(),
            "orientation": self.angle.tolist(),
            **{name: np.linspace(0, 1, size).tolist() for name, size in zip("xy", self.sizes[3:], strict=True)},
        }
        fields = {
            "image": Stored(Field("image", (1, self.resolution, self.resolution), size=2), "uint8", packed=True),
            "factors": factor_field(list(NAMES), list(self.sizes)),
        }
        record = {"kind": "image", "size": None, "range": None}
        total = math.prod(self.sizes)
        if self.source:
            from latent_atlas.data.dsprites_file import DspritesFile

            file = DspritesFile(self.source, self.sizes, self.resolution)
            return Contents("image", fields, file.chunks, record, total, factors=file.factor_values())
        return Contents("image", fields, self._chunks, record, total, factors=values)

    def _chunks(self) -> Iterator[Chunk]:
        shapes, scales, turns, *_ = self.sizes
        per_turn = math.prod(self.sizes[3:])
        for shape in range(shapes):
            for scale in range(scales):
                for start in range(0, turns, TURNS):
                    images = self._positions(shape, scale, range(start, min(start + TURNS, turns)))
                    first = ((shape * scales + scale) * turns + start) * per_turn
                    index = np.arange(first, first + len(images))
                    yield {"image": pack(images), "factors": np.stack(np.unravel_index(index, self.sizes), axis=1)}

    def _positions(self, shape: int, scale: int, turns: range) -> NDArray[np.bool_]:
        """All places of a shape: only the window in its reach is computed, for every place at once, then set into the frame."""
        resolution, (nx, ny) = self.resolution, self.sizes[3:]
        wide = min(resolution, math.ceil(2 * REACH * resolution) + 1)
        (left, u), (top, v) = (self._window(offset, wide) for offset in self._offsets)
        images = np.zeros((len(turns), nx, ny, resolution, resolution), bool)
        for k, turn in enumerate(turns):
            inside = self._inside(shape, scale, turn, u[None, None], v[:, :, None, None])  # (ny, wide, nx, wide)
            for x in range(nx):
                for y in range(ny):
                    images[k, x, y, top[y] : top[y] + wide, left[x] : left[x] + wide] = inside[y, :, x]
        return images.reshape(-1, resolution, resolution, 1)

    def _window(self, offset: Array, wide: int) -> tuple[NDArray[Any], Array]:
        """Where the window of each position begins, and the offsets in it."""
        start = np.minimum((offset < -REACH).sum(1), self.resolution - wide)
        return start, np.take_along_axis(offset, start[:, None] + np.arange(wide), 1)

    def _inside(self, shape: int, scale: Any, turn: Any, dx: Array, dy: Array) -> NDArray[np.bool_]:
        """Turns and scales back to the shape's own axes."""
        cos = (np.cos(self.angle) / self.scale[:, None]).astype(np.float32)[scale, turn]
        sin = (np.sin(self.angle) / self.scale[:, None]).astype(np.float32)[scale, turn]
        return FORMS[shape](cos * dx + sin * dy, cos * dy - sin * dx)

    def at(self, factors: Sequence[Sequence[int]] | NDArray[Any]) -> NDArray[np.uint8]:
        """The images (B, R, R, 1) of zeros and ones for any factors (B, 5), bit for bit those of the prepared set."""
        rows = np.asarray(factors, np.int64).reshape(-1, 5)
        if self.source:
            raise DataError("dsprites: the official file is not rendered; take its images from the prepared set (DataModule.at)")
        if ((rows < 0) | (rows >= self.sizes)).any():
            raise DataError(f"dsprites: factors must lie below {list(self.sizes)}, got up to {rows.max(0).tolist()}")
        images = np.zeros((len(rows), self.resolution, self.resolution), bool)
        for shape in range(self.sizes[0]):
            chosen = rows[:, 0] == shape
            _, scale, turn, x, y = rows[chosen].T[:, :, None, None]
            dx, dy = self._offsets[0][x[:, 0, 0], None, :], self._offsets[1][y[:, 0, 0], :, None]
            images[chosen] = self._inside(shape, scale, turn, dx, dy)
        return images[..., None].astype(np.uint8)
