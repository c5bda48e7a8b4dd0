"""p(x | z): what ``decode`` returns, and the heads that make it from what a decoder network puts out.

A head is made by a factory ``field -> Head``: it tells the decoder which output shape it needs (``head.shape``) and maps the raw
output (B, *shape) to a ``Density``. All of it is float32, also while the networks run under autocast.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latent_atlas.data.spec import Field


class Likelihood(ABC):
    """A distribution over observations for each item of a batch."""

    @property
    @abstractmethod
    def mean(self) -> Tensor:
        """(B, *x.shape) in the observation's own units; token probabilities (B, L, V)."""


class Implicit(Likelihood):
    """What a generator without a density puts out (a GAN): a mean and no ``log_prob``."""

    def __init__(self, mean: Tensor) -> None:
        self._mean = mean.float()

    @property
    def mean(self) -> Tensor:
        return self._mean


class Density(Likelihood):
    """A likelihood that can be evaluated."""

    @abstractmethod
    def log_prob(self, x: Tensor) -> Tensor:
        """log p(x | z) in nats, summed over all dimensions of an item, (B,)."""


class Bernoulli(Density):
    """Independent binary entries with the given logits (B, *shape)."""

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits.float()

    @property
    def mean(self) -> Tensor:
        return torch.sigmoid(self.logits)

    def log_prob(self, x: Tensor) -> Tensor:
        return -F.binary_cross_entropy_with_logits(self.logits, x.float(), reduction="none").flatten(1).sum(1)


class Gaussian(Density):
    """N(location, scale² I) with one scale for all entries.

    Args:
        location: (B, *shape).
        log_scale: scalar.
        limits: of the observation; ``mean`` is clamped to them, the density is not truncated.
    """

    def __init__(self, location: Tensor, log_scale: Tensor, limits: tuple[float, float] | None = None) -> None:
        self.location = location.float()
        self.log_scale = log_scale.float()
        self.limits = limits

    @property
    def mean(self) -> Tensor:
        return self.location if self.limits is None else self.location.clamp(*self.limits)

    def log_prob(self, x: Tensor) -> Tensor:
        squares = ((x.float() - self.location) ** 2).flatten(1).sum(1)
        entries = math.prod(self.location.shape[1:])
        return -0.5 * squares * torch.exp(-2 * self.log_scale) - entries * (self.log_scale + 0.5 * math.log(2 * math.pi))


class Categorical(Density):
    """Independent tokens; logits (B, L, V), x (B, L) of integers."""

    def __init__(self, logits: Tensor) -> None:
        self.log_probabilities = F.log_softmax(logits.float(), -1)

    @property
    def mean(self) -> Tensor:
        return self.log_probabilities.exp()

    def log_prob(self, x: Tensor) -> Tensor:
        return self.log_probabilities.gather(-1, x.long().unsqueeze(-1)).flatten(1).sum(1)


class Poisson(Density):
    """Independent counts with log rates (B, *shape)."""

    LIMIT = 15.0  # exp(15) = 3.3 million: a start far off must not overflow

    def __init__(self, log_rate: Tensor) -> None:
        self.log_rate = log_rate.float().clamp(-self.LIMIT, self.LIMIT)

    @property
    def mean(self) -> Tensor:
        return self.log_rate.exp()

    def log_prob(self, x: Tensor) -> Tensor:
        x = x.float()
        return (x * self.log_rate - self.log_rate.exp() - torch.lgamma(x + 1)).flatten(1).sum(1)


class Head(nn.Module, ABC):
    """From the raw output of a decoder to a ``Density``.

    Args:
        field: the observed field.
    """

    shape: tuple[int, ...]  # what the decoder must put out, without the batch

    def __init__(self, field: Field) -> None:
        super().__init__()
        self.shape = field.shape

    @abstractmethod
    def forward(self, raw: Tensor) -> Density:
        """(B, *self.shape) to the distribution."""


HeadFactory = Callable[[Field], Head]


class BernoulliHead(Head):
    """Logits of binary entries. Grey values have no Bernoulli likelihood, so the field must be binary (``size`` 2)."""

    def __init__(self, field: Field) -> None:
        super().__init__(field)
        if field.size != 2:
            raise ValueError(
                f"a Bernoulli likelihood needs binary data (size 2), this field has size {field.size}: use GaussianHead"
            )

    def forward(self, raw: Tensor) -> Bernoulli:
        return Bernoulli(raw)


class GaussianHead(Head):
    """A location per entry and one scale for all of them, learned (Rybkin et al. 2021, arXiv 2006.13202) or fixed.

    Locations of images pass a sigmoid and so stay in [0, 1]; all others are free.

    Args:
        field: the observed field.
        scale: the standard deviation, at the start if it is learned; by default 0.25 for images, 1 otherwise (scaled columns).
        learned: whether the scale is a parameter.
    """

    FLOOR = -6.0  # of log scale, soft: exp(-6) = 1/403 is half a grey level, below it the density only models rounding
    SPEED = 10.0  # log scale = SPEED · parameter: one scalar must follow the residual faster than Adam's 1e-3 a step allows

    def __init__(self, field: Field, scale: float | None = None, learned: bool = True) -> None:
        super().__init__(field)
        self.image = field.kind == "image"
        start = math.log(scale or (0.25 if self.image else 1.0))
        if learned:
            # the inverse of the soft floor, so that the first scale is the one asked for
            free = self.FLOOR + math.log(math.expm1(max(start - self.FLOOR, 1e-3)))
            self.raw_log_scale = nn.Parameter(torch.tensor(free / self.SPEED))
        else:
            self.register_buffer("fixed_log_scale", torch.tensor(start))
        self.learned = learned

    @property
    def log_scale(self) -> Tensor:
        """log σ, a scalar."""
        if not self.learned:
            return self.fixed_log_scale  # type: ignore[return-value]
        return self.FLOOR + F.softplus(self.SPEED * self.raw_log_scale.float() - self.FLOOR)

    def forward(self, raw: Tensor) -> Gaussian:
        raw = raw.float()
        return Gaussian(torch.sigmoid(raw) if self.image else raw, self.log_scale)


class CategoricalHead(Head):
    """Logits over the vocabulary for each of L tokens; the decoder puts out (L, V)."""

    def __init__(self, field: Field) -> None:
        super().__init__(field)
        if not isinstance(field.size, int):
            raise ValueError(f"a categorical likelihood needs a vocabulary size, this {field.kind} field has {field.size!r}")
        self.shape = (*field.shape, field.size)

    def forward(self, raw: Tensor) -> Categorical:
        return Categorical(raw)


class PoissonHead(Head):
    """Log rates of counts."""

    def forward(self, raw: Tensor) -> Poisson:
        return Poisson(raw)


KIND_HEADS: dict[str, HeadFactory] = {
    "image": GaussianHead,
    "vector": GaussianHead,
    "points": GaussianHead,
    "sequence": GaussianHead,
    "counts": PoissonHead,
    "tokens": CategoricalHead,
}


def default(field: Field) -> Head:
    """The head that fits a field: binary Bernoulli, counts Poisson, tokens categorical, all else Gaussian with a learned scale."""
    if field.kind not in KIND_HEADS:
        raise ValueError(f"no likelihood for an observation of kind {field.kind!r}; there is one for {', '.join(KIND_HEADS)}")
    if field.kind != "tokens" and field.size == 2:
        return BernoulliHead(field)
    return KIND_HEADS[field.kind](field)
