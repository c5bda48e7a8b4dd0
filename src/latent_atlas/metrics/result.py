"""What a metric gives back, and how it says that it has nothing to give."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # a page of seeds has no torch
    from torch import Tensor

Z95 = 1.959964  # the 97.5 % point of the standard normal


class NotApplicable(ValueError):  # noqa: N818 - a state of a score, not a fault
    """The metric has no meaning here; the message is the reason that the report shows."""


class TooFewSamples(NotApplicable):
    """An estimate whose bias at this number of samples would be larger than what it measures."""


@dataclass(frozen=True)
class Measured:
    """A score with what is known about it.

    Args:
        value: the number.
        interval: of 95 %, in the same unit.
        floor: what knowing nothing gives at the same N: the mean image, chance.
        ceiling: the best that the data allows at the same N.
        provenance: what must be equal for two values to be comparable: N, bins, estimator.
        parts: the figures behind the value, by name.
    """

    value: float
    interval: tuple[float, float] | None = None
    floor: float | None = None
    ceiling: float | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    parts: Mapping[str, Any] = field(default_factory=dict)


def mean_of(per_item: Tensor, floor: float | None = None, **provenance: Any) -> Measured:
    """The mean of (N,) values of independent items, with its normal 95 % interval (none for a single item)."""
    values = per_item.double()
    n, mean = len(values), float(values.mean())
    interval = None
    if n > 1:
        half = Z95 * float(values.std(correction=1)) / math.sqrt(n)
        interval = (mean - half, mean + half)
    return Measured(mean, interval, floor, provenance={"n": n, **provenance})
