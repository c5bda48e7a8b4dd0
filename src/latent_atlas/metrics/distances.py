"""What distances between rows cost no digits by: a module of its own, since the data card's shape needs it and no metric."""

from __future__ import annotations

from torch import Tensor

PRODUCTS = "use_mm_for_euclid_dist"  # |a|² + |b|² − 2ab by a matrix product: 20 times faster, and exact enough for ``centred`` rows


def centred(rows: Tensor) -> Tensor:
    """In float64 around their mean, so that a large common offset costs distances no digits."""
    found = rows.double()
    return found - found.mean(0)
