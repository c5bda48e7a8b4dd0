"""Thin torchmetrics classes over the pure functions, for data that arrives in batches or on several devices."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat
from torchmetrics.utilities.distributed import gather_all_tensors

from latent_atlas.metrics.frechet import Moments, frechet_distance
from latent_atlas.metrics.reconstruction import squared_errors
from latent_atlas.metrics.result import Measured, TooFewSamples


class Streaming(Metric):
    """Any metric of this package over a stream: keeps the arrays that it asks for, and computes it of all of them at once.

    For what is no sum over items (neighbours, information, trees), so it takes the memory of all rows; on several devices these are
    gathered. Means of errors and Fréchet distances have classes of their own that keep sums alone.

        metric = Streaming(disentanglement.mig)                 # codes and factors, as mig's signature says
        for x, v in loader:
            metric.update(codes=encode(x), factors=v)
        float(metric.compute())

    A metric that draws or takes the first rows depends on their order: gathered rows stand process after process. An array may be
    several at once: ``noisy_codes`` a mapping of each strength to rows, ``posterior`` an object with ``kl`` (B,) and
    ``kl_per_dimension``, (B, d) or the batch's mean (d,). What is the model's (``encode``, ``decode``, ``space``) is a setting.

    Args:
        function: one of ``latent_atlas.metrics``.
        arrays: the argument names that come in batches; those without a default if not given.
        settings: other arguments: ``k``, ``factor_names``, ``seed``.
        higher_is_better: torchmetrics' note of the direction; it decides nothing here.
    """

    def __init__(
        self,
        function: Callable[..., Measured],
        arrays: Sequence[str] | None = None,
        settings: Mapping[str, Any] | None = None,
        higher_is_better: bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.function, self.settings = function, dict(settings or {})
        parameters = inspect.signature(function).parameters
        insisted = [name for name, p in parameters.items() if p.default is p.empty and name not in self.settings]
        self.arrays = tuple(arrays or insisted)
        if unknown := [name for name in (*self.arrays, *self.settings) if name not in parameters]:
            raise TypeError(f"{function.__name__} takes {', '.join(parameters)}; it knows no {', '.join(unknown)}")
        object.__setattr__(self, "higher_is_better", higher_is_better)  # torchmetrics guards it as a fact of the class
        self.parts: dict[str, tuple[str, Any]] = {}  # state -> the array, and the part of it: a strength of noise, an attribute
        for name in self.arrays:
            if name not in COMPOSED:
                self._holds(name)

    def _holds(self, name: str, part: Any = None) -> str:
        """The state of an array, or of a part of one, which is new where it was not known."""
        state = f"rows_{name}" if part is None else f"rows_{name}_{str(part).replace('.', '_')}"
        if state not in self.parts:
            self.parts[state] = (name, part)
            self.add_state(state, default=[], dist_reduce_fx="cat")
        return state

    def update(self, **batch: Any) -> None:
        """Adds a batch of each of the arrays, or of some: samples and real items may come in streams of their own."""
        if not batch or set(batch) - set(self.arrays):
            raise ValueError(f"batches are of {', '.join(self.arrays)}; there is {', '.join(batch) or 'none'}")
        for name, value in batch.items():
            for part, rows in taken_apart(name, value).items():
                getattr(self, self._holds(name, part)).append(torch.as_tensor(rows))

    def compute(self) -> Tensor:
        """The metric's value of everything so far."""
        return torch.tensor(self.measured().value, dtype=torch.float64)

    def measured(self) -> Measured:
        """The value with its interval, floor and parts; of this process's rows unless inside ``sync_context``."""
        found: dict[str, dict[Any, Tensor]] = {name: {} for name in self.arrays}
        for state, (name, part) in self.parts.items():
            if len(rows := getattr(self, state)):
                found[name][part] = dim_zero_cat(rows)
        for name, parts in found.items():
            if not parts:
                raise TooFewSamples(f"no rows of {name} so far")
        return self.function(**{name: COMPOSED.get(name, _whole)(parts) for name, parts in found.items()}, **self.settings)

    def _sync_dist(self, dist_sync_fn: Callable[..., Any] = gather_all_tensors, process_group: Any | None = None) -> None:
        """As torchmetrics, whose gathering breaks where a process has seen no rows; here it sends none, of the right shape."""
        group = process_group or self.process_group
        held = {state: rows for state in self.parts if (rows := getattr(self, state))}
        own = {state: (self.parts[state], rows[0].shape[1:], rows[0].dtype) for state, rows in held.items()}
        everyone: list[dict[str, Any]] = [{}] * dist.get_world_size(group)
        dist.all_gather_object(everyone, own, group=group)
        known = {state: form for found in everyone for state, form in found.items()}
        for state in sorted(known):
            (name, part), shape, dtype = known[state]
            self._holds(name, part)
            if state not in own:
                setattr(self, state, [torch.empty((0, *shape), dtype=dtype, device=self.device)])
        super()._sync_dist(dist_sync_fn, group)


def taken_apart(name: str, value: Any) -> dict[Any, Any]:
    """The parts of a batch of an array, each as rows; an array that is one is its own part, None."""
    if name != "posterior":
        return dict(value) if name in COMPOSED else {None: value}
    kl, each = value.kl, value.kl_per_dimension
    if each is not None and each.ndim == 1:
        if kl is None:
            raise ValueError("kl_per_dimension without kl must be (B, d): nobody knows how many items a mean is of")
        each = each.expand(len(kl), -1)
    return {part: rows for part, rows in (("kl", kl), ("kl_per_dimension", each)) if rows is not None}


def _whole(parts: dict[Any, Tensor]) -> Tensor:
    return parts[None]


def _posterior(parts: dict[Any, Tensor]) -> SimpleNamespace:
    each = parts.get("kl_per_dimension")
    return SimpleNamespace(kl=parts.get("kl"), kl_per_dimension=None if each is None else each.double().mean(0))


COMPOSED: dict[str, Callable[[dict[Any, Tensor]], Any]] = {"posterior": _posterior, "noisy_codes": dict}


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
