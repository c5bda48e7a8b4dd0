"""From items to vectors that a continuous density can be put on, and back."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Generator, Tensor, nn

from latent_atlas.data.spec import Field


class Dequantizer(nn.Module):
    """An image of S levels is k = round((S - 1) x), and v = k + u with u ~ U[0, 1) (Theis et al. 2016, arXiv 1511.01844).

    Then E log p(v) bounds log P(x) from below and the log of the mean of p(v) over draws of u tends to it. ``inward`` takes v to
    logit(α + (1 - 2α) v / S) (Dinh et al. 2017) and to mean 0 and variance 1 of each entry, as ``start`` measured them. Entries of
    vectors are continuous: they are their own levels without noise, and take no logit.

    Args:
        field: the observed field, an image or a vector.
        levels: S; by default the field's size, 256 where it has none.
        alpha: keeps the logit off its poles.
    """

    SLACK = 0.05  # of a level, or of an entry's standard deviation: what float32 may lose on the way to a code and back
    shift: Tensor
    scale: Tensor

    def __init__(self, field: Field, levels: int | None = None, alpha: float = 0.05) -> None:
        super().__init__()
        self.shape, self.discrete, self.alpha = field.shape, field.kind == "image", alpha
        held = field.size if isinstance(field.size, int) else 256
        self.size, self.grid = levels or held, held - 1
        self.register_buffer("shift", torch.zeros(math.prod(field.shape)))
        self.register_buffer("scale", torch.ones(math.prod(field.shape)))

    def levels(self, x: Tensor) -> Tensor:
        """x (B, *shape) to k (B, d)."""
        x = x.float().flatten(1)
        return torch.round(x * (self.size - 1)) if self.discrete else x

    def noise(self, levels: Tensor, generator: Generator | None = None) -> Tensor:
        """u (B, d)."""
        return torch.rand(levels.shape, generator=generator, device=levels.device) if self.discrete else torch.zeros_like(levels)

    def item(self, v: Tensor) -> Tensor:
        """v (B, d) to x (B, *shape)."""
        if self.discrete:
            k = v.floor().clamp(0, self.size - 1)
            v = torch.round(k * (self.grid / (self.size - 1))) / self.grid  # fewer levels are stored on the field's grid, too
        return v.reshape(-1, *self.shape)

    def holds(self, v: Tensor, levels: Tensor) -> Tensor:
        """Whether v lies in the cell of these levels, within rounding, (B,)."""
        off = v - levels if self.discrete else (v - levels) / self.scale
        return ((off >= -self.SLACK) & (off <= self.discrete + self.SLACK)).all(1)

    def spread(self, v: Tensor) -> tuple[Tensor, Tensor]:
        """The logit of images, and its log determinant (B,)."""
        if not self.discrete:
            return v, v.new_zeros(len(v))
        p = self.alpha + (1 - 2 * self.alpha) * v / self.size
        log_det = math.log((1 - 2 * self.alpha) / self.size) - torch.log(p) - torch.log1p(-p)
        return torch.logit(p), log_det.sum(1)

    def inward(self, v: Tensor) -> tuple[Tensor, Tensor]:
        """v to w, both (B, d), and log |det ∂w/∂v| (B,)."""
        w, log_det = self.spread(v)
        return (w - self.shift) / self.scale, log_det - torch.log(self.scale).sum()

    def outward(self, w: Tensor) -> Tensor:
        """The inverse of ``inward``."""
        w = w * self.scale + self.shift
        return (torch.sigmoid(w) - self.alpha) / (1 - 2 * self.alpha) * self.size if self.discrete else w

    @torch.no_grad()
    def start(self, observations: Iterable[Tensor], items: int) -> None:
        """Measures mean and standard deviation of each entry over at most ``items`` items."""
        rows: list[Tensor] = []
        for x in observations:
            rows.append(self.levels(x))
            if sum(map(len, rows)) >= items:
                break
        levels = torch.cat(rows)[:items]
        w, _ = self.spread(levels + self.noise(levels))
        self.shift.copy_(w.mean(0))
        self.scale.copy_(w.std(0, correction=0).clamp(min=1e-3))  # a constant entry has no width
