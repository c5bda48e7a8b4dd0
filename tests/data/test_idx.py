import struct

import numpy as np
import pytest

from latent_atlas.data.idx import parse


def test_an_array_comes_back():
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    np.testing.assert_array_equal(parse(bytes([0, 0, 8, 3]) + struct.pack(">3i", 2, 3, 4) + array.tobytes()), array)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "does not start with 0, 0, 8"),
        (bytes([0, 0, 13, 1]) + struct.pack(">i", 1) + b"\0\0\0\0", "does not start with 0, 0, 8"),
        (bytes([0, 0, 8, 3]) + struct.pack(">i", 2), "ends within its header"),
        (bytes([0, 0, 8, 2]) + struct.pack(">2i", 2, 3) + b"12345", "has 5 entries, its header says 2 × 3 = 6"),
    ],
)
def test_what_is_wrong_is_said(data, says):
    with pytest.raises(ValueError, match=says):
        parse(data)
