"""Whole combinations of factors held out: can a model make what it has seen the parts of, and never together?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class FactorTable:
    """The factors of all items.

    Args:
        names: K names.
        sizes: K numbers of values; 0 is a continuous factor.
        rows: (N, K) codes.
        values: for a factor what its codes stand for, where it is known: codes may shift as a set grows, values do not.
    """

    names: Sequence[str]
    sizes: Sequence[int]
    rows: NDArray[Any]
    values: Mapping[str, list[Any]] = field(default_factory=dict)


def combination_digests(table: FactorTable, chosen: Sequence[str], contents: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """One digest per item (N,), the same for all items that share the values of the ``chosen`` factors.

    Combinations that share an item's content (a square is the same after a quarter turn) have one digest together, so that
    duplicates do not fall on both sides.

    Args:
        table: the factors of all items.
        chosen: names of discrete factors.
        contents: (N,) digests of the items.

    Raises:
        ValueError: an unknown factor, or a continuous one.
    """
    for name in chosen:
        if name not in table.names:
            raise ValueError(f"combinations: no factor {name!r}; there are {', '.join(table.names) or 'none'}")
        if not table.sizes[list(table.names).index(name)]:
            raise ValueError(f"combinations: factor {name!r} is continuous, so hardly two items share its value; leave it out")
    columns = [list(table.names).index(name) for name in chosen]
    distinct, index = np.unique(table.rows[:, columns].astype(np.int64), axis=0, return_inverse=True)
    own = np.array([_digest(_spelled(table, chosen, row)) for row in distinct.tolist()], np.uint64)
    group = _together(index.reshape(-1), contents, len(distinct))
    # A digest of the group's smallest: the smallest itself would put large groups into test more often.
    smallest = np.full(int(group.max()) + 1, np.iinfo(np.uint64).max, np.uint64)
    np.minimum.at(smallest, group, own)
    shared = np.array([_digest(str(value)) for value in smallest.tolist()], np.uint64)
    found: NDArray[np.uint64] = shared[group][index.reshape(-1)]
    return found


def _spelled(table: FactorTable, chosen: Sequence[str], row: Sequence[int]) -> str:
    values = [table.values[name][code] if name in table.values else code for name, code in zip(chosen, row, strict=True)]
    return ", ".join(f"{name}={value!r}" for name, value in sorted(zip(chosen, values, strict=True)))


def _digest(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")


def _together(combination: NDArray[np.int64], contents: NDArray[np.uint64], count: int) -> NDArray[np.int64]:
    """The group of each combination (count,): those that are linked by items of equal content."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    order = np.lexsort((combination, contents))
    same = contents[order][1:] == contents[order][:-1]
    a, b = combination[order][:-1][same], combination[order][1:][same]
    graph = coo_array((np.ones(len(a), np.int8), (a, b)), shape=(count, count))
    found: NDArray[np.int64] = connected_components(graph.tocsr(), directed=False)[1].astype(np.int64)
    return found
