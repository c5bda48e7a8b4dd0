"""Partners of items in a set that holds every combination of its factors: what a model of pairs learns from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

TRIES = 100
Rows = NDArray[np.int64]


class Pairs:
    """For an item another one of the same split that differs from it in k factors, which ones and by how much at random.

    Where ``TRIES`` draws find none (a split that holds out whole combinations may have none), an item is its own partner.

    Args:
        sizes: of the factors, in whose order the items lie.
        parts: the split of each item (N,).
        differing: k, at most the number of factors that vary.
    """

    def __init__(self, sizes: Sequence[int], parts: NDArray[np.uint8], differing: int) -> None:
        self.sizes, self.parts, self.differing = np.array(sizes), parts, differing
        self.varying = np.flatnonzero(self.sizes > 1)
        if not 1 <= differing <= len(self.varying):
            raise ValueError(f"pairs.differing is {differing}; {len(self.varying)} factors vary")

    def partners(self, rows: Rows, noise: np.random.Generator) -> Rows:
        """The partner of each row (B,): a pure function of the rows and the state of ``noise``."""
        found, left = rows.copy(), np.arange(len(rows))
        for _ in range(TRIES):
            drawn = self._drawn(rows[left], noise)
            good = self.parts[drawn] == self.parts[rows[left]]
            found[left[good]] = drawn[good]
            left = left[~good]
            if not len(left):
                break
        return found

    def _drawn(self, rows: Rows, noise: np.random.Generator) -> Rows:
        factors = np.stack(np.unravel_index(rows, tuple(self.sizes)), axis=1)
        chosen = self.varying[noise.random((len(rows), len(self.varying))).argsort(1)[:, : self.differing]]
        items, sizes = np.arange(len(rows))[:, None], self.sizes[chosen]
        factors[items, chosen] = (factors[items, chosen] + noise.integers(1, sizes)) % sizes  # a step of 0 would be no change
        return np.ravel_multi_index(tuple(factors.T), tuple(self.sizes)).astype(np.int64)
