"""Binary items as rows of bits: an eighth of the disk and of the memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def pack(items: NDArray[Any]) -> NDArray[np.uint8]:
    """(n, ...) of zeros and ones to (n, ceil(size / 8)) uint8."""
    return np.packbits(items.reshape(len(items), -1), axis=1)


def unpack(rows: NDArray[np.uint8], shape: Sequence[int]) -> NDArray[np.uint8]:
    """The inverse of ``pack``: (n, *shape) of zeros and ones."""
    return np.unpackbits(rows, axis=1, count=int(np.prod(shape))).reshape(len(rows), *shape)
