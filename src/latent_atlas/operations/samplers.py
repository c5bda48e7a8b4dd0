"""Samplers fitted to the codes of training items after training: new items from any model that encodes and decodes.

A model's prior says where codes should lie, these say where they do lie (ex-post density estimation, Ghosh et al. 2020,
arXiv:1903.12436). Codes are coordinates (N, d); a draw is brought onto the space by its ``project``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import torch
from torch import Generator, Tensor

from latent_atlas.metrics.memo import Memo
from latent_atlas.metrics.result import NotApplicable, TooFewSamples
from latent_atlas.threads import torch_threads

if TYPE_CHECKING:
    from latent_atlas.models.base import LatentModel

LEAST = 10  # codes
RIDGE = 1e-6  # added to variances, of their mean: a dead dimension has none
WIDEST = 128  # dimensions of a covariance for each component
_FITTED: Memo[Any] = Memo(8)  # a score and a picture ask for the same ones


class Sampler(ABC):
    """A distribution over coordinates (d,), fitted to training codes."""

    @abstractmethod
    def sample(self, n: int, generator: Generator | None = None) -> Tensor:
        """n draws, (n, d)."""


def fit(name: str, codes: Tensor, seed: int = 0, variances: Tensor | None = None, **options: Any) -> Sampler:
    """The sampler of that name: gaussian, mixture, knn, flow or riemannian.

    Args:
        name: of ``SAMPLERS``.
        codes: (N, d) of training items.
        seed: of what is drawn while fitting.
        variances: (N, d) of the posteriors whose modes the codes are; only ``riemannian`` needs them.
        options: of the sampler.

    Raises:
        NotApplicable: codes that the sampler cannot be fitted to, with the reason.
    """
    if name not in SAMPLERS:
        raise ValueError(f"sampler={name}: it is one of {', '.join(SAMPLERS)}")
    if len(codes) < LEAST:
        raise TooFewSamples(f"{len(codes)} training codes are too few to fit a sampler")
    if not bool(codes.isfinite().all()):
        raise NotApplicable("some training codes are not finite")
    rows, more = codes.detach().cpu(), {"variances": variances} if name == "riemannian" else {}
    arrays = [rows] if variances is None or not more else [rows, variances]
    found: Sampler = _FITTED.get(arrays, (name, seed, options), lambda: SAMPLERS[name](rows, seed=seed, **more, **options))
    return found


@torch.no_grad()
def decoded(model: LatentModel, sampler: Sampler, n: int, generator: Generator | None = None, batch_size: int = 256) -> Tensor:
    """n new items in the observation's own units, (n, *x.shape): draws of the sampler, brought onto the space and decoded."""
    space, device = model.space, model.step.device
    z = space.project(space.from_coordinates(sampler.sample(n, generator).to(device)))
    return torch.cat([model.decode(part).mean for part in z.split(batch_size)])  # type: ignore[operator]


class Gaussian(Sampler):
    """N(m, S) with the codes' mean and covariance."""

    def __init__(self, codes: Tensor, seed: int = 0) -> None:
        scale = spread(codes)
        rows = codes.double() / scale
        self.weights = torch.ones(1, dtype=torch.float64)
        self.means = rows.mean(0, keepdim=True) * scale
        covariance = torch.cov(rows.T, correction=0).reshape(1, codes.shape[1], -1) + RIDGE * torch.eye(codes.shape[1])
        self.roots = torch.linalg.cholesky(covariance) * scale

    def sample(self, n: int, generator: Generator | None = None) -> Tensor:
        """m_k + L_k ε of a component k drawn by its weight."""
        component = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        noise = torch.randn(n, self.means.shape[1], generator=generator, dtype=torch.float64)
        return (self.means[component] + torch.einsum("nij,nj->ni", self.roots[component], noise)).float()


class Mixture(Gaussian):
    """Σ_k w_k N(m_k, S_k) by expectation maximization, full covariances (Ghosh et al. 2020, arXiv:1903.12436, use ten).

    Args:
        codes: (N, d), d at most 128.
        seed: of the starting clusters.
        components: at most as many as leave two codes for each.
    """

    def __init__(self, codes: Tensor, seed: int = 0, components: int = 10) -> None:
        from sklearn.mixture import GaussianMixture

        if codes.shape[1] > WIDEST:
            raise NotApplicable(f"a mixture's covariances of {codes.shape[1]} dimensions are too many numbers; {WIDEST} at most")
        scale = spread(codes)
        count = max(1, min(components, len(codes) // 2))
        found = GaussianMixture(count, reg_covar=RIDGE, random_state=seed, max_iter=100)
        with _quiet():  # no convergence within the steps is no fault: the likelihood has risen at each
            found.fit((codes.double() / scale).numpy())
        self.weights = torch.from_numpy(found.weights_)
        self.means = torch.from_numpy(found.means_) * scale
        self.roots = torch.linalg.cholesky(torch.from_numpy(found.covariances_)) * scale


class Neighbours(Sampler):
    """z_i + t (z_j - z_i), t ~ U(0, 1): a random point between a random code and one of its k nearest (Chawla et al. 2002,
    arXiv:1106.1813). It leaves no gap of the codes' cloud open and adds no noise across it; every draw lies near training items.

    Args:
        codes: (N, d).
        seed: of nothing; all is drawn by ``sample``.
        k: neighbours.
        limit: the most codes.
    """

    def __init__(self, codes: Tensor, seed: int = 0, k: int = 5, limit: int = 10_000) -> None:
        from latent_atlas.metrics.neighbours import nearest

        self.codes = codes[:limit].float()
        self.near = nearest(self.codes, min(k, len(self.codes) - 1))

    def sample(self, n: int, generator: Generator | None = None) -> Tensor:
        """Points on random edges of the neighbour graph."""
        first = torch.randint(len(self.codes), (n,), generator=generator)
        other = self.near[first, torch.randint(self.near.shape[1], (n,), generator=generator)]
        return torch.lerp(self.codes[first], self.codes[other], torch.rand(n, 1, generator=generator))


class Flow(Sampler):
    """A neural spline flow in coupling layers (Durkan et al. 2019, arXiv:1906.04032) fitted to standardized codes.

    Args:
        codes: (N, d).
        seed: of weights and batches.
        steps: of Adam at 256 codes, in one cycle of a high learning rate: a third of the steps that a low one needs.
        transforms, hidden, bins: of the flow.
    """

    def __init__(
        self, codes: Tensor, seed: int = 0, steps: int = 100, transforms: int = 3, hidden: int = 64, bins: int = 8
    ) -> None:
        from zuko.flows import NSF

        self.mean, self.scale = codes.mean(0), codes.std(0).clamp(min=RIDGE**0.5 * spread(codes))
        rows = ((codes - self.mean) / self.scale).float()
        with torch.random.fork_rng(devices=[]), torch.enable_grad(), torch_threads(1):
            torch.manual_seed(seed)
            self.flow = NSF(rows.shape[1], transforms=transforms, hidden_features=(hidden, hidden), bins=bins, passes=2)
            optimizer = torch.optim.Adam(self.flow.parameters(), lr=2e-2, fused=True)
            schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-2, total_steps=steps)
            for _ in range(steps):
                batch = rows[torch.randint(len(rows), (min(256, len(rows)),))]
                optimizer.zero_grad()
                (-self.flow().log_prob(batch).mean()).backward()
                torch.nn.utils.clip_grad_norm_(self.flow.parameters(), 5.0)
                optimizer.step()
                schedule.step()
        self.flow.eval()

    @torch.no_grad()
    def sample(self, n: int, generator: Generator | None = None) -> Tensor:
        """The inverse of the flow at draws of N(0, I)."""
        noise = torch.randn(n, len(self.mean), generator=generator)
        found: Tensor = self.flow().transform.inv(noise) * self.scale + self.mean
        return found


class Riemannian(Sampler):
    """Density in proportion to the volume sqrt(det G(z)) of the metric that the posteriors N(c_i, S_i) of training items span:

        G(z) = Σ_i S_i⁻¹ exp(-(z - c_i)ᵀ S_i⁻¹ (z - c_i) / ρ²) + λ exp(-τ |z|²) I

    (Chadebec & Allassonnière 2022, arXiv:2209.07370), by Hamiltonian Monte Carlo from random codes, all chains at once. ρ is the
    largest distance of a centroid to its nearest other, in the centroids' own metric, so that neighbours' weights overlap.

    Args:
        codes: (N, d), d at most 16: the volume's range grows with d.
        seed: of the choice of centroids.
        variances: (N, d), the diagonals of S_i.
        centroids: how many codes carry the metric; spread out over all of them.
        steps: of each chain, of ``leaps`` leapfrog steps each.
        floor: λ, of the median precision.
    """

    WIDEST = 16

    def __init__(
        self,
        codes: Tensor,
        seed: int = 0,
        variances: Tensor | None = None,
        centroids: int = 100,
        steps: int = 50,
        leaps: int = 10,
        floor: float = 1e-3,
    ) -> None:
        d = codes.shape[1]
        if d > self.WIDEST:
            raise NotApplicable(f"Riemannian sampling has no meaning in {d} dimensions; {self.WIDEST} at most")
        if variances is None:
            raise NotApplicable("the posteriors have no variances: there is no metric")
        self.steps, self.leaps = steps, leaps
        self.unit = variances.double().median(0).values.sqrt().clamp(min=1e-6)  # chains see all dimensions at one scale
        self.starts = codes.double() / self.unit
        rows = spread_out(self.starts, centroids, seed)
        self.centres, self.precision = self.starts[rows], (self.unit**2 / variances.double().clamp(min=1e-12))[rows]
        apart = self._distances(self.centres).fill_diagonal_(torch.inf)
        self.rho = float(apart.min(1).values.max().sqrt().clamp(min=1.0))
        self.floor = floor * float(self.precision.median())
        self.origin = self.starts.mean(0)
        self.tau = 1 / float((self.starts - self.origin).square().sum(1).max().clamp(min=1e-12))
        self.accepted = 0.0

    def _distances(self, z: Tensor) -> Tensor:
        """(z - c_i)ᵀ S_i⁻¹ (z - c_i), (B, K), by products of matrices."""
        p, c = self.precision, self.centres
        found: Tensor = z.square() @ p.T - 2 * z @ (p * c).T + (p * c.square()).sum(1)
        return found.clamp(min=0)

    def log_volume(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """log sqrt(det G) (B,) and its gradient (B, d), in units of ``unit``."""
        weight = torch.exp(-self._distances(z) / self.rho**2)
        away = z - self.origin
        rest = self.floor * torch.exp(-self.tau * away.square().sum(1, keepdim=True))
        metric = weight @ self.precision + rest
        inner = (1 / metric) @ self.precision.T * weight  # (B, K): Σ_j p_ij / G_jj, weighted
        pull = inner @ (self.precision * self.centres) - z * (inner @ self.precision)
        fall = (rest / metric).sum(1, keepdim=True) * away
        return 0.5 * metric.log().sum(1), pull / self.rho**2 - self.tau * fall

    def sample(self, n: int, generator: Generator | None = None) -> Tensor:
        """The last state of n chains."""
        z = self.starts[torch.randint(len(self.starts), (n,), generator=generator)]
        step = 0.6 * self.rho / z.shape[1] ** 0.5
        log_density, slope = self.log_volume(z)
        taken = 0.0
        for _ in range(self.steps):
            momentum = torch.randn(z.shape, generator=generator, dtype=torch.float64)
            energy = log_density - 0.5 * momentum.square().sum(1)
            there, gradient = z, slope
            for _ in range(self.leaps):
                momentum = momentum + 0.5 * step * gradient
                there = there + step * momentum
                density, gradient = self.log_volume(there)
                momentum = momentum + 0.5 * step * gradient
            gain = density - 0.5 * momentum.square().sum(1) - energy
            move = torch.rand(n, generator=generator, dtype=torch.float64).log() < gain
            z, slope = torch.where(move[:, None], there, z), torch.where(move[:, None], gradient, slope)
            log_density = torch.where(move, density, log_density)
            taken += float(move.double().mean())
        self.accepted = taken / self.steps
        return (z * self.unit).float()


SAMPLERS: dict[str, Any] = {
    "gaussian": Gaussian, "mixture": Mixture, "knn": Neighbours, "flow": Flow, "riemannian": Riemannian,
}  # fmt: skip


def spread(codes: Tensor) -> float:
    """The root of the mean variance over dimensions; 1 where all codes are the same."""
    found = float(codes.double().var(0, correction=0).mean().sqrt())
    return found if found > 0 else 1.0


def spread_out(rows: Tensor, count: int, seed: int) -> Tensor:
    """Indices of about ``count`` rows that stand for all: the nearest to each centre of k-means, each once."""
    from sklearn.cluster import KMeans

    if len(rows) <= count:
        return torch.arange(len(rows))
    with _quiet():  # fewer distinct codes than clusters
        centres = torch.from_numpy(KMeans(count, n_init=1, random_state=seed).fit(rows.numpy()).cluster_centers_)
    return torch.cdist(centres.to(rows), rows).argmin(1).unique()


def _quiet() -> Any:
    import warnings

    return warnings.catch_warnings(action="ignore")
