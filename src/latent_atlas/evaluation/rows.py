"""Which items evaluation looks at: the same for features and for every model of a data set."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from latent_atlas.data.datamodule import DataModule


def evaluation_rows(data: DataModule, limit: int) -> tuple[str, NDArray[np.int64]]:
    """The split and the items to look at: the first ``limit`` of one fixed shuffle, so that a smaller set lies in a larger.

    Test items; where a tiny set has none, the next split that has, and its name says so.
    """
    split = next(name for name in ("test", "val", "train") if len(data.rows(name)))
    rows = data.rows(split)
    return split, np.random.default_rng(0).permutation(rows)[:limit]
