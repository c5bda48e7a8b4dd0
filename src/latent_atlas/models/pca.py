"""Probabilistic principal component analysis: the linear baseline."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor

from latent_atlas.data.spec import DataSpec
from latent_atlas.models.base import Batch, LatentModel, Losses
from latent_atlas.models.likelihoods import Gaussian
from latent_atlas.models.posteriors import DiagonalNormal
from latent_atlas.spaces.euclidean import Euclidean

LARGEST = 8192  # beyond it a covariance (D, D) in float64 is above half a gigabyte


def principal(rows: Iterable[Tensor], components: int, items: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Mean (D,), eigenvalues (k,), eigenvectors (k, D) of the covariance, and its trace, in float64, of at most ``items`` rows.

    Up to ``LARGEST`` columns the covariance is summed over blocks (B, D), about the mean of the first block, which loses no digits
    to a large common offset. Beyond it at most ``LARGEST`` rows are kept and the products of rows decomposed instead: the same
    eigenvalues. Fewer rows than columns or components do no harm: the eigenvalues beyond them are 0.
    """
    count, shift, blocks, total, product = 0, torch.empty(0), [], torch.empty(0), torch.empty(0)
    for block in rows:
        wide = block.shape[1] > LARGEST
        block = block[: (min(items, LARGEST) if wide else items) - count].double()
        if count == 0:
            shift = block.mean(0)
            total, product = torch.zeros_like(shift), torch.zeros(0 if wide else len(shift), 0 if wide else len(shift)).double()
        if len(block) == 0:
            break
        count += len(block)
        total += (block - shift).sum(0)
        if wide:
            blocks.append((block - shift).float())
        else:
            product.addmm_((block - shift).T, block - shift)
    if count == 0:
        raise ValueError("pca: no training items to fit; the training split is empty")
    offset = total / count
    if blocks:
        return shift + offset, *from_rows(torch.cat(blocks).double() - offset, components)
    covariance = product / count - torch.outer(offset, offset)
    values, vectors = leading(covariance, components)
    return shift + offset, values, vectors, covariance.trace()


def from_rows(centred: Tensor, components: int) -> tuple[Tensor, Tensor, Tensor]:
    """As ``leading``, with the trace, from the centred rows (N, D) by way of their products (N, N)."""
    gram = centred @ centred.T / len(centred)
    values, left = leading(gram, components)
    vectors = left @ centred
    vectors = vectors / torch.linalg.vector_norm(vectors, dim=1, keepdim=True).clamp(min=1e-12)
    lacking = components - len(values)
    return F.pad(values, (0, lacking)), F.pad(upright(vectors), (0, 0, 0, lacking)), gram.trace()


def leading(covariance: Tensor, components: int) -> tuple[Tensor, Tensor]:
    """The largest eigenvalues (k,), descending and not negative, and their eigenvectors (k, D)."""
    if len(covariance) > 1024 and components < len(covariance) // 8:
        from scipy.sparse.linalg import eigsh  # Lanczos: 10 of 4,096 in seconds, where all of them take a minute

        # a fixed start, since the default is drawn; not a constant one, which is an eigenvector of some symmetric data
        start = torch.linspace(1, 2, len(covariance), dtype=torch.float64)
        found = eigsh(covariance.numpy(), k=components, v0=start.numpy())
        values, vectors = torch.from_numpy(found[0].copy()), torch.from_numpy(found[1].copy())
    else:
        values, vectors = torch.linalg.eigh(covariance)
    order = values.argsort(descending=True)[:components]
    return values[order].clamp(min=0), upright(vectors[:, order].T)


def upright(vectors: Tensor) -> Tensor:
    """Rows (k, D) with the sign that makes the entry of largest size positive: eigenvectors come with either."""
    return vectors * torch.sign(vectors.gather(1, vectors.abs().argmax(1, keepdim=True)))


class PCA(LatentModel):
    """x = mean + W z + noise, z ~ N(0, I), noise ~ N(0, σ² I) (Tipping & Bishop 1999), fitted in closed form.

    With eigenvalues λ and eigenvectors u of the covariance: W_k = u_k sqrt(λ_k - σ²), σ² = the mean of the other eigenvalues. The
    posterior N(sqrt(λ_k - σ²)/λ_k · u_kᵀ(x - mean), σ²/λ_k) is exact, so the negative ELBO is -log p(x) itself. ``prepare`` fits;
    nobody plays. Means of images are clamped to [0, 1], their density is not.

    Args:
        spec: of the data; images or vectors.
        latent_size: k, at most the number of entries of x.
        items: the most training items that are read.
    """

    FLOOR = 1e-6  # of σ²: about the variance of rounding to 8 bits, where fewer items than components leave no residual
    mean: Tensor
    vectors: Tensor
    values: Tensor
    noise: Tensor

    def __init__(self, spec: DataSpec, latent_size: int = 10, items: int = 100_000) -> None:
        entries = math.prod(spec.x.shape)
        size = min(latent_size, entries)
        super().__init__(spec, {"z": Euclidean(size)})
        self.items = items
        self.limits = (0.0, 1.0) if spec.x.kind == "image" else None
        self.register_buffer("mean", torch.zeros(entries))
        self.register_buffer("vectors", torch.eye(size, entries))
        self.register_buffer("values", torch.ones(size))
        self.register_buffer("noise", torch.tensor(0.5))

    @torch.no_grad()
    def prepare(self, batches: Iterable[Batch]) -> None:
        """Fits mean, eigenvectors, eigenvalues and σ² to training batches."""
        size, entries = self.vectors.shape
        rows = (self.observed(batch).flatten(1).cpu() for batch in batches)
        mean, values, vectors, trace = principal(rows, size, self.items)
        noise = ((trace - values.sum()) / max(entries - size, 1)).clamp(min=self.FLOOR)
        self.mean.copy_(mean)
        self.vectors.copy_(vectors)
        self.values.copy_(values.clamp(min=noise))
        self.noise.copy_(noise)

    @property
    def loadings(self) -> Tensor:
        """Length of each column of W, (k,)."""
        return torch.sqrt((self.values - self.noise).clamp(min=0))

    def encode(self, x: Tensor, condition: Batch | None = None) -> DiagonalNormal:
        scores = (x.float().flatten(1) - self.mean) @ self.vectors.T
        return DiagonalNormal(scores * self.loadings / self.values, torch.log(self.noise / self.values).expand_as(scores))

    def decode(self, z: Tensor, condition: Batch | None = None) -> Gaussian:
        location = self.mean + (z * self.loadings) @ self.vectors
        return Gaussian(location.reshape(-1, *self.spec.x.shape), 0.5 * torch.log(self.noise), self.limits)

    def loss(self, batch: Batch, player: str) -> Losses:
        x = self.observed(batch)
        q = self.encode(x)
        distortion = -self.decode(q.sample()).log_prob(x).mean()
        rate = q.kl(self.space).mean()
        return Losses(distortion + rate, {"distortion": distortion, "rate": rate, "nelbo": distortion + rate})
