"""Far codes moved in, so that one item in ten thousand does not set a scale."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

LEAST = 100  # items; of fewer no percentile is known


def drawn_in(codes: NDArray[Any], *others: NDArray[Any]) -> tuple[NDArray[Any], ...]:
    """Each dimension kept within one range beyond the inner 98 % of ``codes`` (N, d); other codes (M, d) within the same bounds.

    Normal and uniform codes stay as they are. So does a dimension with one value in 98 of 100 items: what is rare there is the
    signal.
    """
    if len(codes) < LEAST:
        return codes, *others
    low, high = np.quantile(codes, 0.01, axis=0, method="higher"), np.quantile(codes, 0.99, axis=0, method="lower")
    reach = np.where(high > low, high - low, np.inf)
    low, high = low - reach, high + reach
    return tuple(np.clip(part, low, high).astype(part.dtype, copy=False) for part in (codes, *others))


def varying(codes: NDArray[Any]) -> NDArray[np.bool_]:
    """Dimensions (d,) that differ from a constant by more than rounding: scale plays no part."""
    if not len(codes):
        return np.zeros(codes.shape[1], bool)
    spread = np.ptp(codes, axis=0)
    return spread > 1e-6 * np.abs(codes).max(0)
