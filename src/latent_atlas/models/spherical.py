"""Posteriors on spheres and products of spheres, Power Spherical and von Mises-Fisher: z is (B, *shape), unit along its last axis.

All densities are with respect to the surface measure, and everything is computed in float64: in float32 the normalizer of a
Power Spherical errs by 4e-3 nats at κ = 1e4, and a von Mises-Fisher by more. κ = 1 + softplus, at most ``LIMIT``.
"""

from __future__ import annotations

import math
from abc import abstractmethod

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from latent_atlas.models.bessel import bessel_ratio, log_bessel
from latent_atlas.models.posteriors import PosteriorHead, Stochastic
from latent_atlas.spaces.base import LatentSpace
from latent_atlas.spaces.sphere import unit

LIMIT = 1e4  # of κ: codes within about 0.6° of their mean
TINY = 1e-12
NODES, WEIGHTS = 64, 60.0  # of the quadrature, and the exponent at which a tail ends


class Directed(Stochastic):
    """Rotations of one law about the mean direction: x = t μ + √(1 - t²) v, v uniform among the unit vectors orthogonal to μ.

    Args:
        mode: μ (B, *shape), unit along the last axis, of D ambient entries.
        concentration: κ (B, *shape[:-1]).
    """

    def __init__(self, mode: Tensor, concentration: Tensor) -> None:
        self.mode = mode.float()
        self.mean, self.kappa = mode.double(), concentration.double()
        self.ambient = mode.shape[-1]

    @abstractmethod
    def along(self, generator: Generator | None) -> tuple[Tensor, Tensor]:
        """Draws of t, and of √(1 - t²) without its loss of digits near 1, (B, *shape[:-1]) both, reparameterized in κ."""

    @abstractmethod
    def log_density(self, t: Tensor) -> Tensor:
        """log q at a point whose product with μ is t, (B, *shape[:-1])."""

    @abstractmethod
    def entropies(self) -> Tensor:
        """Entropy in nats of each factor, (B, *shape[:-1])."""

    def sample(self, generator: Generator | None = None) -> Tensor:
        t, level = self.along(generator)
        rest = self.mean[..., 1:]
        v = unit(torch.empty_like(rest).normal_(generator=generator))
        # Householder's reflection takes the pole to μ; from the pole that lies farther off, so that 1 / |pole - μ| stays bounded.
        sign = torch.where(self.mean[..., :1] > 0, -1.0, 1.0)
        drawn = torch.cat((sign * t[..., None], level[..., None] * v), -1)
        pole = torch.cat((sign, torch.zeros_like(rest)), -1)
        mirror = unit(pole - self.mean)
        return unit(drawn - 2 * (drawn * mirror).sum(-1, keepdim=True) * mirror).float()

    def log_prob(self, z: Tensor) -> Tensor:
        t = (self.mean * z.double()).sum(-1).clamp(-1, 1)
        return self.log_density(t).reshape(len(t), -1).sum(1).float()

    def entropy(self) -> Tensor:
        """In nats, (B,)."""
        return self.entropies().reshape(len(self.kappa), -1).sum(1).float()

    def kl(self, prior: LatentSpace, generator: Generator | None = None, z: Tensor | None = None) -> Tensor:
        """-H(q) - log p in closed form for a uniform prior, else as in ``Stochastic``."""
        if getattr(prior, "uniform", False):
            return -self.entropy() - prior.log_prob(self.mode)
        return super().kl(prior, generator, z)

    def kl_of_parts(self, prior: LatentSpace, generator: Generator | None = None) -> Tensor | None:
        """Of each of several spheres, for a uniform prior."""
        entropies = self.entropies().reshape(len(self.kappa), -1)
        if not getattr(prior, "uniform", False) or entropies.shape[1] == 1:
            return None
        # All spheres of a space have the same size, hence the same density.
        return (-entropies - prior.log_prob(self.mode)[:, None].double() / entropies.shape[1]).float()


class PowerSpherical(Directed):
    """q(x) ∝ (1 + μ·x)^κ (De Cao & Aziz 2020, arXiv 2006.04437): t = 2 y - 1, y ~ Beta((D-1)/2 + κ, (D-1)/2)."""

    @property
    def alpha_beta(self) -> tuple[Tensor, float]:
        """The two parameters of the Beta law of (1 + t) / 2."""
        beta = (self.ambient - 1) / 2
        return beta + self.kappa, beta

    @property
    def log_normalizer(self) -> Tensor:
        """log ∫ (1 + μ·x)^κ dx."""
        alpha, beta = self.alpha_beta
        return (alpha + beta) * math.log(2) + beta * math.log(math.pi) + torch.lgamma(alpha) - torch.lgamma(alpha + beta)

    def along(self, generator: Generator | None) -> tuple[Tensor, Tensor]:
        alpha, beta = self.alpha_beta
        # a Beta as two gammas: 1 - y needs no difference, and gamma's derivative is the implicit one
        a = torch._standard_gamma(alpha, generator=generator)
        b = torch._standard_gamma(torch.full_like(alpha, beta), generator=generator)
        y = a / (a + b)
        return 2 * y - 1, 2 * (y * b / (a + b)).clamp(min=TINY).sqrt()

    def log_density(self, t: Tensor) -> Tensor:
        return self.kappa * torch.log1p(t.clamp(min=-1 + 1e-6)) - self.log_normalizer

    def entropies(self) -> Tensor:
        alpha, beta = self.alpha_beta
        return self.log_normalizer - self.kappa * (math.log(2) + torch.digamma(alpha) - torch.digamma(alpha + beta))


class VonMisesFisher(Directed):
    """q(x) = C(κ) exp(κ μ·x), C = κ^(D/2-1) / ((2π)^(D/2) I_(D/2-1)(κ)) (Davidson et al. 2018, arXiv 1804.00891).

    t is drawn by Wood's rejection (1994), exact in every D. Its derivative in κ is the implicit one, -∂F/∂κ / f(t) at the draw:
    one through the proposal alone is biased for D ≠ 3.
    """

    def along(self, generator: Generator | None) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            gap = self._gap(generator)
            angle = 2 * torch.asin((gap / 2).clamp(0, 1).sqrt()).clamp(min=TINY, max=math.pi - 1e-9)
            speed = speed_of_angle(angle, self.kappa, self.ambient)
        # worth the angle itself, with the derivative of the implicit function
        angle = angle + speed * (self.kappa - self.kappa.detach())
        return torch.cos(angle), torch.sin(angle)

    def _gap(self, generator: Generator | None) -> Tensor:
        """1 - t by rejection; the gap itself, because t has lost its digits near 1."""
        kappa, m = self.kappa, self.ambient - 1
        b = m / (2 * kappa + torch.sqrt(4 * kappa**2 + m**2))
        centre = (1 - b) / (1 + b)
        top = kappa * centre + m * torch.log(4 * b / (1 + b) ** 2)  # 1 - centre² without a difference
        gap, waiting = torch.empty_like(kappa), torch.ones_like(kappa, dtype=torch.bool)
        shape = torch.full_like(kappa, m / 2)
        while bool(waiting.any()):
            first, second = (torch._standard_gamma(shape, generator=generator) for _ in range(2))
            y = first / (first + second)
            proposed = 2 * b * y / (1 - (1 - b) * y)
            height = kappa * (1 - proposed) + m * torch.log1p(-centre * (1 - proposed)) - top
            level = torch.empty_like(kappa).uniform_(generator=generator).clamp(min=1e-300).log()
            accepted = waiting & (height >= level)
            gap, waiting = torch.where(accepted, proposed, gap), waiting & ~accepted
        return gap

    @property
    def log_normalizer(self) -> Tensor:
        """log ∫ exp(κ (μ·x - 1)) dx: scaled, so that nothing overflows."""
        v = self.ambient / 2 - 1
        return (self.ambient / 2) * math.log(2 * math.pi) - v * torch.log(self.kappa) + log_bessel(v, self.kappa)

    def log_density(self, t: Tensor) -> Tensor:
        return self.kappa * (t - 1) - self.log_normalizer

    def entropies(self) -> Tensor:
        return self.log_normalizer + self.kappa * (1 - bessel_ratio(self.ambient / 2 - 1, self.kappa))


def speed_of_angle(angle: Tensor, kappa: Tensor, ambient: int) -> Tensor:
    """dθ/dκ = -1/g(θ) ∫_0^θ (cos φ - A) g(φ) dφ at a fixed quantile of g(θ) ∝ exp(κ cos θ) sin^(D-2) θ, A = E cos θ.

    The integral over (0, π) is 0, so the side without a change of sign is taken, by Gauss and Legendre.
    """
    places, weights = (torch.as_tensor(entry).to(angle) for entry in np.polynomial.legendre.leggauss(NODES))
    mean = bessel_ratio(ambient / 2 - 1, kappa)
    before = torch.cos(angle) > mean
    # Beyond the mean the density falls at least like exp(-κ (cos θ - cos φ)) times a power that its mode has paid for.
    last = torch.acos((torch.cos(angle) - (WEIGHTS + ambient) / kappa).clamp(min=-1))
    start, stop = torch.where(before, 0.0, angle), torch.where(before, angle, last)
    phi = (start + stop)[..., None] / 2 + (stop - start)[..., None] / 2 * places
    # cos φ - cos θ as a product: their difference is lost for narrow laws
    fall = 2 * torch.sin((angle[..., None] + phi) / 2) * torch.sin((angle[..., None] - phi) / 2)
    ratio = kappa[..., None] * fall + (ambient - 2) * (torch.sin(phi) / torch.sin(angle)[..., None]).clamp(min=1e-300).log()
    inner = ((torch.cos(phi) - mean[..., None]) * ratio.exp() * weights).sum(-1) * (stop - start) / 2
    return torch.where(before, -inner, inner)


class DirectedHead(PosteriorHead):
    """A direction and a concentration for each sphere of the space: shape (D,), or (K, D) for K of them."""

    def __init__(self, space: LatentSpace) -> None:
        super().__init__(space)
        self.spheres = math.prod(self.shape[:-1])
        self.outputs = self.spheres * (self.shape[-1] + 1)

    @abstractmethod
    def forward(self, raw: Tensor) -> Directed: ...

    def parameters_of(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        """(B, outputs) to μ (B, *shape) and κ (B, *shape[:-1]) in [1, LIMIT]."""
        raw = raw.double().reshape(-1, *self.shape[:-1], self.shape[-1] + 1)
        return unit(raw[..., :-1]), (1 + F.softplus(raw[..., -1])).clamp(max=LIMIT)


class PowerSphericalHead(DirectedHead):
    """A ``PowerSpherical``."""

    def forward(self, raw: Tensor) -> PowerSpherical:
        return PowerSpherical(*self.parameters_of(raw))


class VonMisesFisherHead(DirectedHead):
    """A ``VonMisesFisher``."""

    def forward(self, raw: Tensor) -> VonMisesFisher:
        return VonMisesFisher(*self.parameters_of(raw))
