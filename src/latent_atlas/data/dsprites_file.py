"""The official dSprites file, streamed: 3 GB of images never lie in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latent_atlas.data.npz import Npz
from latent_atlas.data.packing import pack
from latent_atlas.data.reader import Chunk, DataError

KEYS = ("imgs", "latents_classes", "latents_values")


class DspritesFile:
    """``dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz``: shapes and the order of factors are checked at once, pixels on the way.

    Args:
        path: of the file.
        sizes: of the five factors.
        resolution: 64, or 32 by the majority of 2×2 pixels.
    """

    def __init__(self, path: str, sizes: Sequence[int], resolution: int) -> None:
        self.file, self.sizes, self.resolution = Npz(Path(path).expanduser()), tuple(sizes), resolution
        n = int(np.prod(sizes))
        if missing := [key for key in KEYS if key not in self.file.members]:
            raise DataError(f"{path}: not the official dSprites file: it has no {', '.join(missing)}")
        if self.file.members["imgs"].shape != (n, 64, 64):
            raise DataError(f"{path}: imgs has shape {self.file.members['imgs'].shape}, not {(n, 64, 64)}")
        grid = np.stack(np.unravel_index(np.arange(n), self.sizes), axis=1)
        classes = self.file.read("latents_classes")
        if classes.shape != (n, 6) or classes[:, 0].any() or not np.array_equal(classes[:, 1:], grid):
            raise DataError(f"{path}: latents_classes are not every combination of {self.sizes} in the published order")
        self.values = self.file.read("latents_values")[:, 1:]

    def factor_values(self) -> Mapping[str, list[Any]]:
        """The values of scale, orientation and places as the file has them."""
        steps = [int(np.prod(self.sizes[k + 1 :])) for k in range(5)]
        columns = {
            name: self.values[: self.sizes[k] * steps[k] : steps[k], k].tolist()
            for k, name in enumerate(("shape", "scale", "orientation", "x", "y"))
        }
        return columns | {"shape": ["square", "ellipse", "heart"][: self.sizes[0]]}

    def chunks(self) -> Iterator[Chunk]:
        """Blocks of 8,192 images and their factors."""
        start = 0
        for block in self.file.blocks("imgs", 8192):
            if block.max(initial=0) > 1:
                raise DataError(f"{self.file.path}: imgs holds {block.max()} near image {start}; the official images are 0 and 1")
            index = np.arange(start, start + len(block))
            yield {"image": pack(self._sized(block)), "factors": np.stack(np.unravel_index(index, self.sizes), axis=1)}
            start += len(block)

    def _sized(self, block: NDArray[Any]) -> NDArray[Any]:
        step = 64 // self.resolution
        return (
            block if step == 1 else block.reshape(-1, self.resolution, step, self.resolution, step).sum((2, 4)) * 2 >= step * step
        )
