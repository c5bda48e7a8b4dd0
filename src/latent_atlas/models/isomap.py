"""Isomap."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable

import torch
from torch import Tensor

from latent_atlas.data.spec import DataSpec
from latent_atlas.models.base import Batch, LatentModel, Losses
from latent_atlas.models.kernel_pca import gathered
from latent_atlas.models.posteriors import Point
from latent_atlas.spaces.euclidean import Euclidean


class Isomap(LatentModel):
    """Classical scaling of geodesic distances: the leading eigenvectors of -½ H D² H, D the shortest paths in the graph of the k
    nearest neighbours (Tenenbaum et al. 2000, doi:10.1126/science.290.5500.2319).

    A new item reaches each training item through its k nearest ones, and is projected as they are (the out-of-sample rule of
    scikit-learn). ``prepare`` fits with scikit-learn, nobody plays; there is no way back. Codes keep the units of the geodesics,
    over the root mean square of the first coordinate.

    Args:
        spec: of the data; images or vectors.
        latent_size: d, at most the number of items.
        items: the most training items that are read: all their distances are kept.
        neighbours: k.
    """

    rows: Tensor
    paths: Tensor
    vectors: Tensor
    centre: Tensor
    scale: Tensor
    count: Tensor

    def __init__(self, spec: DataSpec, latent_size: int = 10, items: int = 1000, neighbours: int = 10) -> None:
        items = max(1, min(items, spec.sizes.get("train") or items))
        size = min(latent_size, items)
        super().__init__(spec, {"z": Euclidean(size)})
        self.neighbours = neighbours
        self.register_buffer("rows", torch.zeros(items, math.prod(spec.x.shape)))
        self.register_buffer("paths", torch.zeros(items, items))
        self.register_buffer("vectors", torch.zeros(items, size))
        self.register_buffer("centre", torch.zeros(items + 1))  # mean of each column of -½ D², and of all of it
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("count", torch.ones((), dtype=torch.int64))

    @torch.no_grad()
    def prepare(self, batches: Iterable[Batch]) -> None:
        """Fits to the first training items; pieces of the graph that do not touch are joined where they are nearest."""
        from sklearn.manifold import Isomap as Fitted

        items, size = self.vectors.shape
        rows = gathered((self.observed(batch).flatten(1) for batch in batches), items)
        n = len(rows)
        self.rows[:n] = rows
        self.count.fill_(n)
        if n < 3:  # a graph needs more; the code is 0
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a graph in pieces
            found = Fitted(n_neighbors=min(self.neighbours, n - 1), n_components=min(size, n), eigen_solver="dense")
            found.fit(rows.double().numpy())
        values = torch.from_numpy(found.kernel_pca_.eigenvalues_.copy()).clamp(min=0)
        alive = values > 1e-9 * values.max().clamp(min=1e-12)
        vectors = torch.from_numpy(found.kernel_pca_.eigenvectors_.copy()) / values.sqrt().where(alive, torch.inf)
        paths = torch.from_numpy(found.dist_matrix_.copy()).double()
        kernel = -0.5 * paths.square()
        self.paths.zero_()[:n, :n] = paths
        self.vectors.zero_()[:n, : vectors.shape[1]] = vectors
        self.centre.zero_()[:n] = kernel.mean(0)
        self.centre[-1] = kernel.mean()
        self.scale.fill_(math.sqrt(float(values.max()) / n) if bool(alive.any()) else 1.0)

    def encode(self, x: Tensor, condition: Batch | None = None) -> Point:
        n = int(self.count)
        away = torch.cdist(x.float().flatten(1), self.rows[:n])
        near = away.topk(min(self.neighbours, max(1, n - 1)), largest=False)
        paths = torch.full_like(away, torch.inf)
        for place in range(near.indices.shape[1]):  # one neighbour at a time: all at once would be (B, k, N)
            paths = torch.minimum(paths, self.paths[near.indices[:, place], :n] + near.values[:, place : place + 1])
        kernel = -0.5 * paths.square()
        centred = kernel - kernel.mean(1, keepdim=True) - self.centre[:n] + self.centre[-1]
        return Point(centred @ self.vectors[:n] / self.scale)

    def loss(self, batch: Batch, player: str) -> Losses:
        raise NotImplementedError("isomap is fitted by prepare: nobody plays")
