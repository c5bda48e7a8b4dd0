"""Dynamic binarization: a pixel is white with the probability of its grey level (Burda et al. 2016, arXiv 1509.00519).

In training each step draws anew; outside of it an item has one draw of its own, so that every model is scored on the same pictures.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

WAYS = ("dynamic",)
STREAM = 3  # apart from the order of the data, [seed, lap], and from partners, [seed, step, 1]
Levels = NDArray[np.uint8]


def at_step(levels: Levels, generator: np.random.Generator) -> Levels:
    """Zeros and ones of P(1) = level / 255."""
    # 0 to 254: a level of 255 is always above, one of 0 never.
    return (generator.integers(0, 255, levels.shape, np.uint8) < levels).view(np.uint8)


def of_items(levels: Levels, rows: NDArray[np.int64]) -> Levels:
    """The same, with a draw that depends on the item's number alone."""
    found = np.empty_like(levels)
    for k, row in enumerate(rows):
        found[k] = at_step(levels[k], np.random.default_rng([int(row), STREAM]))
    return found
