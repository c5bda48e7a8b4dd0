"""A hierarchy as vectors: data whose right latent space grows exponentially outwards."""

from __future__ import annotations

import numpy as np

from latent_atlas.data.reader import Contents, DataError, Stored, blocks, class_field, factor_field
from latent_atlas.data.scaling import Column, Scaling
from latent_atlas.data.spec import Field
from latent_atlas.data.splits import Split


class Tree:
    """Noisy codes of the nodes of a binary tree: x_j = 1 for each node j on the way from the root to the item's node, else 0,
    plus N(0, noise²) (the synthetic tree of Nagano et al. 2019, arXiv 1902.02992, with Gaussian noise for its flips).

    Squared distances between codes are distances in the tree. Nodes are numbered as in a heap, from 0: the children of j are
    2 j + 1 and 2 j + 2. Factors are the depth and the node, labels the branch at depth 2, ``trunk`` above it.

    Args:
        depth: of the leaves; the root has depth 0. There are 2^(depth + 1) - 1 nodes and as many entries.
        copies: noisy items of each node.
        noise: their standard deviation.
        seed: of it.
    """

    def __init__(self, depth: int = 5, copies: int = 40, noise: float = 0.2, seed: int = 0) -> None:
        if depth < 2 or depth > 10 or copies < 1 or noise < 0:
            raise DataError(f"tree: depth={depth}, copies={copies}, noise={noise}; they are 2 to 10, at least 1, at least 0")
        self.depth, self.copies, self.noise, self.seed = depth, copies, noise, seed
        self.nodes = 2 ** (depth + 1) - 1

    def codes(self) -> np.ndarray:
        """(nodes, nodes) of zeros and ones: row j has the ancestors of j, and j."""
        found = np.eye(self.nodes, dtype=np.float32)
        for node in range(1, self.nodes):
            found[node] += found[(node - 1) // 2]
        return found

    def open(self, split: Split) -> Contents:
        """Draws the set at once."""
        node = np.tile(np.arange(self.nodes), self.copies)
        noise = np.random.default_rng(self.seed).normal(size=(len(node), self.nodes))
        x = (self.codes()[node] + self.noise * noise).astype(np.float32)
        depth = np.floor(np.log2(node + 1)).astype(np.int64)
        branch = np.where(depth < 2, 0, ((node + 1) >> np.maximum(depth - 2, 0)) - 3)
        names = tuple(f"node {k}" for k in range(self.nodes))
        fields = {
            "x": Stored(Field("vector", (self.nodes,), names=names), "float32"),
            "labels": class_field(["trunk", *(f"branch {k}" for k in range(1, 5))]),
            "factors": factor_field(["depth", "node"], [self.depth + 1, self.nodes]),
        }
        arrays = {"x": x, "labels": branch, "factors": np.stack([depth, node], axis=1)}
        record = {"kind": "vector", "named": False, "columns": Scaling(tuple(Column(name) for name in names)).to_dict()}
        return Contents("x", fields, lambda: blocks(arrays), record, len(node))
