"""The verdict on a figure beside pythae's: smaller is better."""

import pytest
import quality


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        ([1.0, 1.2], [1.1, 1.3], True),  # a smaller mean
        ([1.1, 1.3], [1.0, 1.2], True),  # ranges of two seeds that overlap
        ([1.1, 1.2], [1.0, 1.05], False),
        ([1.0, 1.4, 1.2], [1.1, 1.2, 1.0], True),  # the difference is 0.1 ± 0.3
        ([2.0, 2.1, 2.2], [1.0, 1.1, 1.2], False),
        ([1.3, 1.32, 1.31, 1.2], [1.1, 1.12, 1.21, 1.1], False),  # ranges overlap, but the means are told apart
    ],
)
def test_no_worse(ours, theirs, expected):
    assert quality.no_worse(ours, theirs) is expected
