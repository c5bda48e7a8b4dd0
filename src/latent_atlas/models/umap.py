"""UMAP."""

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


class UMAP(LatentModel):
    """Codes whose fuzzy neighbour graph has the least cross-entropy to that of the items (McInnes et al. 2018, arXiv:1802.03426).

    ``prepare`` fits with umap-learn, nobody plays; there is no way back. The map is known at the fitted items only: any other
    item gets the mean of the codes of its k nearest fitted items, weighted by 1 / distance, so that a fitted item keeps its own
    code and no code leaves their hull. Codes are centred and over one scale, so that their mean variance is 1.

    Args:
        spec: of the data; images or vectors.
        latent_size: d.
        items: the most training items that are read.
        neighbours: of the graph.
        distance: the least distance of codes that umap-learn aims at.
        epochs: of its optimization.
        k: neighbours of a new item.
        seed: of its noise.
    """

    rows: Tensor
    codes: Tensor
    count: Tensor

    def __init__(
        self,
        spec: DataSpec,
        latent_size: int = 2,
        items: int = 2000,
        neighbours: int = 15,
        distance: float = 0.1,
        epochs: int = 200,
        k: int = 5,
        seed: int = 0,
    ) -> None:
        items = max(1, min(items, spec.sizes.get("train") or items))
        super().__init__(spec, {"z": Euclidean(latent_size)})
        self.neighbours, self.distance, self.epochs, self.k, self.seed = neighbours, distance, epochs, k, seed
        self.register_buffer("rows", torch.zeros(items, math.prod(spec.x.shape)))
        self.register_buffer("codes", torch.zeros(items, latent_size))
        self.register_buffer("count", torch.ones((), dtype=torch.int64))

    @torch.no_grad()
    def prepare(self, batches: Iterable[Batch]) -> None:
        """Fits to the first training items."""
        import umap

        items, size = self.codes.shape
        rows = gathered((self.observed(batch).flatten(1) for batch in batches), items)
        n = len(rows)
        self.rows[:n] = rows
        self.count.fill_(n)
        if n < 3:  # a graph needs more; the code is 0
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # one thread by a seed, small graphs
            found = umap.UMAP(
                n_neighbors=min(self.neighbours, n - 1),
                n_components=size,
                min_dist=self.distance,
                n_epochs=self.epochs,
                init="spectral" if n > 2 * size + 2 else "random",
                random_state=self.seed,
                n_jobs=1,
            ).fit_transform(rows.numpy())
        codes = torch.nan_to_num(torch.from_numpy(found.copy()).float())
        codes = codes - codes.mean(0)
        self.codes.zero_()[:n] = codes / codes.var(0, correction=0).mean().sqrt().clamp(min=1e-6)

    def encode(self, x: Tensor, condition: Batch | None = None) -> Point:
        n = int(self.count)
        flat = x.float().flatten(1)
        near = torch.cdist(flat, self.rows[:n]).topk(min(self.k, n), largest=False).indices
        # distances by products of matrices lose the digits of small ones: those of neighbours are taken anew from differences
        away = torch.linalg.vector_norm(self.rows[near] - flat[:, None], dim=2)
        weight = 1 / away.clamp(min=1e-6)
        return Point((weight[..., None] * self.codes[near]).sum(1) / weight.sum(1, keepdim=True))

    def loss(self, batch: Batch, player: str) -> Losses:
        raise NotImplementedError("umap is fitted by prepare: nobody plays")
