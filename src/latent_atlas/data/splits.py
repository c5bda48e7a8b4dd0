"""Train, val and test by the content of each item: adding items moves none, and duplicates never straddle."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latent_atlas.data.combinations import FactorTable, combination_digests
from latent_atlas.data.spec import SPLITS


@dataclass(frozen=True)
class Split:
    """The fractions ``val`` and ``test``; the rest is training. An item whose digest is h lies at u = h / 2^64.

    With ``combinations``, names of factors, whole combinations of these are held out: no combination of a test item occurs in
    training or validation. Validation items are still chosen by their own content, among the others.
    """

    val: float
    test: float
    combinations: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        chosen = (self.combinations,) if isinstance(self.combinations, str) else tuple(self.combinations or ())
        object.__setattr__(self, "combinations", chosen)
        if self.val < 0 or self.test < 0 or self.val + self.test >= 1:
            raise ValueError(f"split: val={self.val} and test={self.test} must be at least 0 and leave a part for training")

    def assign(self, digests: NDArray[np.uint64], factors: FactorTable | None = None) -> NDArray[np.uint8]:
        """0 train, 1 val, 2 test for each item of these digests; raises ``ValueError`` where combinations need other factors."""
        u = digests.astype(np.float64) / 2.0**64
        if self.combinations:
            if factors is None:
                raise ValueError("combinations: the data set has no factors")
            held = combination_digests(factors, self.combinations, digests).astype(np.float64) / 2.0**64 < self.test
            return np.select([held, u < self.val / (1 - self.test)], [2, 1], 0).astype(np.uint8)
        return np.select([u < self.test, u < self.test + self.val], [2, 1], 0).astype(np.uint8)


def digests(rows: NDArray[Any]) -> NDArray[np.uint64]:
    """One 64-bit BLAKE2b digest per row (n, ...) of bytes on disk; about a microsecond each."""
    data, width = memoryview(rows.tobytes()), rows.itemsize * math.prod(rows.shape[1:])
    joined = b"".join(blake2b(data[k * width : (k + 1) * width], digest_size=8).digest() for k in range(len(rows)))
    return np.frombuffer(joined, "<u8").astype(np.uint64)


def sizes(assigned: NDArray[np.uint8]) -> Mapping[str, int]:
    """How many items each split has."""
    counts = np.bincount(assigned, minlength=len(SPLITS))
    return {name: int(count) for name, count in zip(SPLITS, counts, strict=True)}
