"""A dial whose hands are turned: data whose factors are angles, so that the right latent space is a circle or a torus."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latent_atlas.data.reader import Contents, DataError, Stored, blocks, factor_field
from latent_atlas.data.spec import Field
from latent_atlas.data.splits import Split

Array = NDArray[np.float32]
# (length, half width, grey), lengths in units of the frame: hands differ, so that no two combinations of angles look alike
HANDS = ((0.44, 0.06, 1.0), (0.28, 0.16, 1.0))
NAMES = ("angle", "angle of the short hand")
# px over which an edge fades: a turn by less than a pixel is seen, and pictures of near angles are near. With sharp, thin hands
# 2,000 pictures lie so far apart that persistent homology cannot tell their torus from noise.
SOFT = 4.0


class Hands:
    """Grey images (1, R, R) of one hand or two on a dark dial, all angles equally often: a circle or a torus of pictures.

    A hand is a segment from the centre with a round end; its edge fades over ``SOFT`` pixels by the exact distance from it, and the
    longer hand lies on top. Angles are 2π k / steps: clockwise from three o'clock, as images count rows downwards. Every
    combination comes once, in order; k is the factor, whose last value is the neighbour of the first.

    Args:
        hands: 1 (a ring) or 2 (a torus).
        steps: of a full turn, for each hand.
        resolution: R.
    """

    def __init__(self, hands: int = 1, steps: int = 2048, resolution: int = 28) -> None:
        if hands not in (1, 2) or steps < 3 or resolution < 8:
            raise DataError(f"hands={hands}, steps={steps}, resolution={resolution}; they are 1 or 2, at least 3, at least 8")
        self.hands, self.steps, self.resolution = hands, steps, resolution
        self.sizes = (steps,) * hands

    def open(self, split: Split) -> Contents:
        """Draws the set at once: a few thousand images."""
        grid = np.stack(np.unravel_index(np.arange(self.steps**self.hands), self.sizes), axis=1)
        names = list(NAMES[: self.hands])
        turn = (np.arange(self.steps) * (2 * math.pi / self.steps)).tolist()
        fields = {
            "image": Stored(Field("image", (1, self.resolution, self.resolution), size=256), "uint8"),
            "factors": factor_field(names, list(self.sizes)),
        }
        arrays: dict[str, NDArray[Any]] = {"image": self.at(grid), "factors": grid}
        record = {"kind": "image", "size": None, "range": None}
        return Contents("image", fields, lambda: blocks(arrays), record, len(grid), factors=dict.fromkeys(names, turn))

    def at(self, factors: Sequence[Sequence[int]] | NDArray[np.int64]) -> NDArray[np.uint8]:
        """The images (B, R, R, 1) of steps (B, hands), bit for bit those of the prepared set."""
        angles = np.asarray(factors, np.float64).reshape(-1, self.hands) * (2 * math.pi / self.steps)
        whole = np.zeros((len(angles), self.resolution, self.resolution))
        for hand in reversed(range(self.hands)):
            cover, grey = self._cover(angles[:, hand], *HANDS[hand][:2]), HANDS[hand][2]
            whole = whole * (1 - cover) + grey * cover
        return np.rint(255 * whole).astype(np.uint8)[..., None]

    def _cover(self, angle: NDArray[np.float64], length: float, half: float) -> NDArray[np.float64]:
        """How much of each pixel a hand covers, (B, R, R) in [0, 1]."""
        centres = (np.arange(self.resolution) + 0.5) / self.resolution - 0.5
        x, y = centres[None, None, :], centres[None, :, None]
        cos, sin = np.cos(angle)[:, None, None], np.sin(angle)[:, None, None]
        along = np.clip(x * cos + y * sin, 0, length - half)
        distance = np.hypot(x - along * cos, y - along * sin)
        return np.clip((half - distance) * self.resolution / SOFT + 0.5, 0, 1)
