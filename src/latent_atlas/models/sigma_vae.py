"""σ-VAE's decoder: a Gaussian whose one scale is computed and not learned."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from latent_atlas.data.spec import Field
from latent_atlas.models.likelihoods import Gaussian, GaussianHead, Head


class OptimalGaussian(Gaussian):
    """N(location, σ² I) that asks its head for σ once it sees x."""

    def __init__(self, location: Tensor, head: OptimalGaussianHead) -> None:
        super().__init__(location, head.log_scale)
        self.head = head

    def log_prob(self, x: Tensor) -> Tensor:
        if self.head.training:
            self.log_scale = self.head.follow((x.float() - self.location).detach().square().mean())
        return super().log_prob(x)


class OptimalGaussianHead(Head):
    """A location per entry and the scale of greatest likelihood, σ*² = mean squared error (optimal σ-VAE, Rybkin et al. 2021, arXiv
    2006.13202): the balance of distortion and rate needs no β.

    In training σ* is that of the batch. It is a constant for the gradient, which changes nothing: the derivative in σ is 0 at σ*.
    The decoder then minimizes D log σ* + D / 2 for D entries. In eval mode it is that of training, a running mean of σ*² (over
    all batches at first, over the last hundred or so later): the density of an item must not depend on its neighbours. The
    learned σ of ``likelihoods.GaussianHead``, the default of data that are not binary, is the paper's other variant ("shared").

    Locations of images pass a sigmoid and so stay in [0, 1]; all others are free.

    Args:
        field: the observed field.
        momentum: the least weight of a batch in the running mean.
    """

    FLOOR = GaussianHead.FLOOR

    variance: Tensor
    batches: Tensor

    def __init__(self, field: Field, momentum: float = 0.01) -> None:
        super().__init__(field)
        self.image, self.momentum = field.kind == "image", momentum
        self.register_buffer("variance", torch.tensor(0.0625 if self.image else 1.0))
        self.register_buffer("batches", torch.tensor(0))

    @property
    def log_scale(self) -> Tensor:
        """log σ of the running mean, a scalar."""
        return (0.5 * self.variance.log()).clamp(min=self.FLOOR)

    def follow(self, variance: Tensor) -> Tensor:
        """log σ of a batch with this mean squared error, which enters the running mean."""
        self.batches += 1
        self.variance += (variance - self.variance) * (1 / self.batches).clamp(min=self.momentum)
        return (0.5 * variance.clamp(min=math.exp(2 * self.FLOOR)).log()).float()

    def forward(self, raw: Tensor) -> Gaussian:
        raw = raw.float()
        return OptimalGaussian(torch.sigmoid(raw) if self.image else raw, self)
