"""Kernel principal component analysis."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from latent_atlas.data.spec import DataSpec
from latent_atlas.models.base import Batch, LatentModel, Losses
from latent_atlas.models.likelihoods import Gaussian
from latent_atlas.models.posteriors import Point
from latent_atlas.spaces.euclidean import Euclidean


def gathered(rows: Iterable[Tensor], items: int) -> Tensor:
    """At most ``items`` rows (N, D) of the batches, in their order."""
    found: list[Tensor] = []
    for block in rows:
        found.append(block[: items - sum(map(len, found))].cpu())
        if sum(map(len, found)) >= items:
            break
    if not found or not len(found[0]):
        raise ValueError("no training items to fit; the training split is empty")
    return torch.cat(found)


class KernelPCA(LatentModel):
    """z = coefficients of φ(x) on the leading eigenvectors of the centred kernel matrix, k(x, y) = exp(-γ |x - y|²) (Schölkopf et
    al. 1998, doi:10.1162/089976698300017467); back by ridge regression with the kernel of codes (Bakir et al. 2004).

    ``prepare`` fits with scikit-learn, nobody plays; what it found are buffers. Each coordinate is scaled to variance 1, so that
    N(0, I) is about where codes lie.

    Args:
        spec: of the data; images or vectors.
        latent_size: d, at most the number of items.
        items: the most training items that are read: the kernel matrix has their square.
        gamma: γ times the median squared distance of items.
        ridge: of the way back.
    """

    rows: Tensor
    vectors: Tensor
    centre: Tensor
    scale: Tensor
    codes: Tensor
    back: Tensor
    widths: Tensor
    noise: Tensor

    def __init__(self, spec: DataSpec, latent_size: int = 10, items: int = 1000, gamma: float = 1.0, ridge: float = 1e-3) -> None:
        entries = math.prod(spec.x.shape)
        items = max(1, min(items, spec.sizes.get("train") or items))
        size = min(latent_size, items)
        super().__init__(spec, {"z": Euclidean(size)})
        self.gamma, self.ridge = gamma, ridge
        self.limits = (0.0, 1.0) if spec.x.kind == "image" else None
        self.register_buffer("rows", torch.zeros(items, entries))
        self.register_buffer("vectors", torch.zeros(items, size))
        self.register_buffer("centre", torch.zeros(items + 1))  # mean of each column of the kernel matrix, and of all of it
        self.register_buffer("scale", torch.ones(size))
        self.register_buffer("codes", torch.zeros(items, size))
        self.register_buffer("back", torch.zeros(items, entries))
        self.register_buffer("widths", torch.ones(2))  # γ of items, γ of codes
        self.register_buffer("noise", torch.tensor(0.5))

    @torch.no_grad()
    def prepare(self, batches: Iterable[Batch]) -> None:
        """Fits to the first training items; where there are fewer than planned, the last stands again in the unused places."""
        from sklearn.decomposition import KernelPCA as Fitted

        count, size = self.vectors.shape
        rows = gathered((self.observed(batch).flatten(1) for batch in batches), count)
        squared = torch.pdist(rows).square()
        gamma = self.gamma / max(float(squared.median()) if len(squared) else 1.0, 1e-12)
        found = Fitted(size, kernel="rbf", gamma=gamma, eigen_solver="dense").fit(rows.double().numpy())
        values = torch.from_numpy(found.eigenvalues_[:size].copy()).clamp(min=0)
        alive = values > 1e-9 * values.max().clamp(min=1e-12)
        vectors = torch.from_numpy(found.eigenvectors_[:, :size].copy()) / values.sqrt().where(alive, torch.inf)
        kernel = torch.exp(-gamma * torch.cdist(rows.double(), rows.double()).square())
        n = len(rows)
        self.rows[:n], self.rows[n:] = rows, rows[-1]
        self.vectors.zero_()[:n, : vectors.shape[1]] = vectors
        self.centre.zero_()[:n] = kernel.mean(0)
        self.centre[-1] = kernel.mean()
        self.scale.fill_(1.0)[: len(values)] = (values / n).sqrt().where(alive, torch.ones_like(values))
        self.widths[0] = gamma
        self._regress(rows)

    def _regress(self, rows: Tensor) -> None:
        """(K + ridge I) back = x in the kernel of codes, as scikit-learn's inverse transform."""
        n = len(rows)
        codes = self.encode(rows.reshape(-1, *self.spec.x.shape)).mode
        self.codes.zero_()[:n] = codes
        self.widths[1] = 1 / (2 * max(codes.shape[1], 1))  # codes have variance 1: their median squared distance is about 2 d
        kernel = torch.exp(-self.widths[1].double() * torch.cdist(codes.double(), codes.double()).square())
        kernel.diagonal().add_(self.ridge)
        self.back.zero_()[:n] = torch.linalg.solve(kernel, rows.double())
        left = self.decode(codes).mean.flatten(1) - rows
        self.noise.copy_(left.square().mean().clamp(min=1e-6))

    def encode(self, x: Tensor, condition: Batch | None = None) -> Point:
        flat = x.float().flatten(1)
        kernel = torch.exp(-self.widths[0] * torch.cdist(flat, self.rows).square())
        used = (self.centre[:-1] > 0).float()
        mean = (kernel * used).sum(1, keepdim=True) / used.sum().clamp(min=1)
        centred = (kernel - mean - self.centre[:-1] + self.centre[-1]) * used
        return Point(centred @ self.vectors / self.scale)

    def decode(self, z: Tensor, condition: Batch | None = None) -> Gaussian:
        kernel = torch.exp(-self.widths[1] * torch.cdist(z, self.codes).square())
        return Gaussian((kernel @ self.back).reshape(-1, *self.spec.x.shape), 0.5 * torch.log(self.noise), self.limits)

    def loss(self, batch: Batch, player: str) -> Losses:
        x = self.observed(batch)
        distortion = -self.decode(self.encode(x).mode).log_prob(x).mean()
        return Losses(distortion, {"distortion": distortion.detach()})
