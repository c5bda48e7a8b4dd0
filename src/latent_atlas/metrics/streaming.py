"""Thin torchmetrics classes over the pure functions, for data that arrives in batches or on several devices."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from latent_atlas.metrics.frechet import Moments, frechet_distance
from latent_atlas.metrics.reconstruction import squared_errors
from latent_atlas.metrics.result import Measured, TooFewSamples


class Streaming(Metric):
    """Any metric of this package over a stream: keeps the arrays that it names, and computes it of all of them at once.

    For what is no sum over items (neighbours, information, trees); on several devices the arrays are gathered. Numbers and names
    that are no arrays (``k``, ``factor_names``, ``seed``) are given at the start.

    Args:
        function: such as ``metrics.disentanglement.mig``.
        arrays: the argument names that come in batches.
        settings: all its other arguments.
    """

    def __init__(
        self, function: Callable[..., Measured], arrays: Sequence[str], settings: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.function, self.arrays, self.settings = function, tuple(arrays), dict(settings or {})
        for name in self.arrays:
            self.add_state(f"rows_{name}", default=[], dist_reduce_fx="cat")

    def update(self, **batch: Tensor) -> None:
        """Adds a batch of each of the arrays."""
        if set(batch) != set(self.arrays):
            raise ValueError(f"a batch of {', '.join(self.arrays)} is needed; there is {', '.join(batch) or 'none'}")
        for name, rows in batch.items():
            getattr(self, f"rows_{name}").append(rows)

    def compute(self) -> Tensor:
        """The metric's value of everything so far."""
        given = {name: dim_zero_cat(getattr(self, f"rows_{name}")) for name in self.arrays}
        return torch.tensor(self.function(**given, **self.settings).value, dtype=torch.float64)


class StreamingMSE(Metric):
    """``metrics.reconstruction.mse`` of a stream of (x, recon)."""

    higher_is_better = False
    total: Tensor
    items: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("items", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, x: Tensor, recon: Tensor) -> None:
        """Adds a batch."""
        errors = squared_errors(x, recon)
        self.total += errors.sum()
        self.items += len(errors)

    def compute(self) -> Tensor:
        """The mean over all items so far."""
        return self.total / self.items


class StreamingFrechet(Metric):
    """``metrics.frechet.frechet`` of two streams of features (B, d), from float64 sums around ``centre`` against cancellation.

    Args:
        dimensions: d.
        centre: (d,) near the features' mean, such as the reference statistics'.
    """

    higher_is_better = False

    def __init__(self, dimensions: int, centre: Tensor | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.centre = torch.zeros(dimensions, dtype=torch.float64) if centre is None else centre.double()
        for side in ("real", "other"):
            self.add_state(f"{side}_sum", torch.zeros(dimensions, dtype=torch.float64), dist_reduce_fx="sum")
            self.add_state(f"{side}_outer", torch.zeros(dimensions, dimensions, dtype=torch.float64), dist_reduce_fx="sum")
            self.add_state(f"{side}_n", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, features: Tensor, real: bool) -> None:
        """Adds a batch to one of the two sides."""
        side = "real" if real else "other"
        shifted = features.double() - self.centre
        getattr(self, f"{side}_sum").add_(shifted.sum(0))
        getattr(self, f"{side}_outer").add_(shifted.T @ shifted)
        getattr(self, f"{side}_n").add_(len(features))

    def compute(self) -> Tensor:
        """The distance of the two sides so far; fewer than 2 d samples on a side raise ``TooFewSamples``."""
        return torch.tensor(frechet_distance(self._moments("real"), self._moments("other")), dtype=torch.float64)

    def _moments(self, side: str) -> Moments:
        total, outer, n = (getattr(self, f"{side}_{part}") for part in ("sum", "outer", "n"))
        if n < 2 * len(total):
            raise TooFewSamples(f"{int(n)} samples are below 2·d = {2 * len(total)} of the extractor")
        mean = total / n
        cov = (outer - n * torch.outer(mean, mean)) / (n - 1)
        return Moments(mean.numpy(), cov.numpy(), int(n))
