"""The IDX format of MNIST and its kin: two zero bytes, the type, the number of axes, their lengths, the entries."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

BYTES = 8  # the code of unsigned bytes, the only type that these data sets use


def parse(data: bytes) -> NDArray[np.uint8]:
    """The array of bytes of a whole file; raises ``ValueError`` with what is wrong."""
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] != BYTES:
        raise ValueError("is no IDX file of bytes: it does not start with 0, 0, 8")
    head = 4 + 4 * data[3]
    if len(data) < head:
        raise ValueError("ends within its header")
    shape = np.frombuffer(data, ">i4", count=data[3], offset=4)
    expected = math.prod(int(length) for length in shape)
    if len(data) - head != expected:
        raise ValueError(f"has {len(data) - head:,} entries, its header says {' × '.join(map(str, shape))} = {expected:,}")
    return np.frombuffer(data, np.uint8, offset=head).reshape(shape)
