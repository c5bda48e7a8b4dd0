"""Priors of K normal components: a learned mixture, and the mixture of the posteriors of learned pseudo-inputs."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from latent_atlas.data.spec import Field
from latent_atlas.spaces.priors import Prior


class Components(Prior):
    """p(z) = Σ_k w_k N(z; μ_k, diag σ_k²).

    KL(q || p) has no closed form: ``Stochastic.kl`` estimates it by log q(z) - log p(z) of the draw.
    """

    @abstractmethod
    def moments(self) -> tuple[Tensor, Tensor, Tensor]:
        """Log weights (K,), means (K, *shape) and log variances (K, *shape)."""

    def log_joint(self, z: Tensor) -> Tensor:
        """log w_k + log N(z; μ_k, σ_k²) in nats, (B, K)."""
        log_weights, mean, log_var = self.moments()
        mean, log_var = mean.flatten(1), log_var.flatten(1)
        squares = ((z.flatten(1).unsqueeze(1) - mean) * torch.exp(-0.5 * log_var)).square().sum(2)
        return log_weights - 0.5 * (squares + log_var.sum(1) + mean.shape[1] * math.log(2 * math.pi))

    def log_prob(self, z: Tensor) -> Tensor:
        return torch.logsumexp(self.log_joint(z), 1)

    def responsibilities(self, z: Tensor) -> Tensor:
        """p(k | z), (B, K): the cluster of a point is its argmax."""
        return torch.softmax(self.log_joint(z), 1)

    def sample(self, n: int, generator: Generator | None = None) -> Tensor:
        log_weights, mean, log_var = self.moments()
        k = torch.multinomial(log_weights.detach().exp(), n, replacement=True, generator=generator)
        noise = torch.empty(n, *self.shape, device=mean.device).normal_(generator=generator)
        return mean[k] + torch.exp(0.5 * log_var[k]) * noise


class Mixture(Components):
    """K normal components with learned weights, means and scales (Jiang et al. 2017, arXiv 1611.05148).

    With q(k | x) = p(k | z), their bound is the one with the marginal p(z) that stands here.

    Args:
        shape: of one point.
        components: K.
        spread: standard deviation of the means at the start; the scales start at 1. Equal means would never part.
    """

    LIMIT = 7.0  # of |log σ|: e^±7 = 1,000 and a thousandth

    def __init__(self, shape: tuple[int, ...], components: int = 10, spread: float = 1.0) -> None:
        super().__init__(shape)
        self.logits = nn.Parameter(torch.zeros(components))
        self.means = nn.Parameter(spread * torch.randn(components, *self.shape))
        self.log_scales = nn.Parameter(torch.zeros(components, *self.shape))

    def moments(self) -> tuple[Tensor, Tensor, Tensor]:
        return torch.log_softmax(self.logits, 0), self.means, 2 * self.log_scales.clamp(-self.LIMIT, self.LIMIT)


class Vamp(Components):
    """p(z) = 1/K Σ_k q(z | u_k), with q the model's own encoder and u_k learned (Tomczak & Welling 2018, arXiv 1705.07120).

    ``attach`` gives it the encoder, which stays the model's: nothing of it is registered here. Pseudo-inputs of images pass a
    sigmoid, those of counts a softplus, those of vectors are free; tokens cannot be learned by gradient.

    Args:
        shape: of one point.
        components: K; each batch costs an encoding of K more items.
        noise: standard deviation of what is added to the K training items that ``start`` takes, in the observation's units.
    """

    MARGIN = 0.01  # how far from 0 and 1 (counts: 0) a pseudo-input starts: at the rim it would hardly move
    KINDS = ("image", "vector", "counts", "points", "sequence")

    def __init__(self, shape: tuple[int, ...], components: int = 100, noise: float = 0.01) -> None:
        super().__init__(shape)
        self.components, self.noise = components, noise
        self.encode: Callable[[Tensor], Any] | None = None
        self.kind = ""

    def attach(self, field: Field, encode: Callable[[Tensor], Any]) -> None:
        if field.kind not in self.KINDS:
            raise ValueError(f"pseudo-inputs are learned for {', '.join(self.KINDS)}; this field is {field.kind}")
        self.encode, self.kind = encode, field.kind
        self.free_inputs = nn.Parameter(torch.randn(self.components, *field.shape))

    @torch.no_grad()
    def start(self, observations: Iterable[Tensor]) -> None:
        rows: list[Tensor] = []
        for x in observations:
            rows.append(x)
            if sum(map(len, rows)) >= self.components:
                break
        found = torch.cat(rows).to(self.free_inputs)
        found = found[torch.arange(self.components) % len(found)]  # fewer items than K: some twice, apart by their noise
        found = found + self.noise * torch.randn(found.shape).to(found)
        if self.kind == "image":
            found = torch.logit(found, self.MARGIN)
        elif self.kind == "counts":
            found = torch.log(torch.expm1(found.clamp(min=self.MARGIN)))
        self.free_inputs.copy_(found)

    @property
    def inputs(self) -> Tensor:
        """u (K, *x.shape) in the observation's units."""
        if self.kind == "image":
            return torch.sigmoid(self.free_inputs)
        return F.softplus(self.free_inputs) if self.kind == "counts" else self.free_inputs

    def moments(self) -> tuple[Tensor, Tensor, Tensor]:
        if self.encode is None:
            raise ValueError("a Vamp prior needs the encoder of a variational autoencoder: the model must call prior.attach")
        q = self.encode(self.inputs)
        if not hasattr(q, "log_var"):
            raise ValueError(f"a Vamp prior needs normal posteriors, this model's are {type(q).__name__}")
        return q.mode.new_full((self.components,), -math.log(self.components)), q.mode, q.log_var
