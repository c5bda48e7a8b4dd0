"""How many dimensions are needed: the error when only the strongest are kept, beside that of PCA at every width."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from latent_atlas.metrics.intervals import bootstrap
from latent_atlas.metrics.likelihood import PosteriorArrays
from latent_atlas.metrics.probes import principal_axes
from latent_atlas.metrics.reconstruction import squared_errors
from latent_atlas.metrics.result import Measured, NotApplicable

SHOWN = 10  # widths of the model that are decoded
PARTS = 512


@torch.no_grad()
def error_by_width(
    x: Tensor,
    codes: Tensor,
    decode: Callable[[Tensor], Tensor],
    x_train: Tensor,
    posterior: PosteriorArrays | None = None,
    tolerance: float = 0.05,
    limit: int = 300,
    pca_items: int = 5000,
    resamples: int = 0,
    seed: int = 0,
) -> Measured:
    """The fewest dimensions with which the error is within ``tolerance`` of what the whole code gains over none.

    Dimensions are ranked by their KL, or by the variance of the codes where there is none; the others are set to their mean before
    decoding. The parts hold two curves of mean squared error over width, of the model and of PCA fitted to training items, and
    ``pca_same_error``, how many principal components reach the model's error; ``data``, how many hold 95 % of the variance of
    held-out items (``None``: more than were fitted). At width 0 PCA's is the error of the mean item.

    Args:
        x: (N, *shape) held-out items.
        codes: (N, d).
        decode: coordinates to means.
        x_train: (M, *shape) training items.
        posterior: for the KL per dimension.
        tolerance: of the error gained.
        limit: items that are decoded at each width.
        pca_items: the most training items PCA is fitted to.
        resamples: of items, for the interval.
        seed: of the resamples.

    Raises:
        NotApplicable: keeping all dimensions is no better than keeping none.
    """
    order, d = strength(codes, posterior).argsort(descending=True, stable=True), codes.shape[1]
    widths, shown = shown_widths(d), x[:limit]
    each = torch.stack([squared_errors(shown, _kept(codes, order[:k], decode, limit).reshape(shown.shape)) for k in widths])
    model = each.mean(1).tolist()
    axes_shown, pca, spread = pca_errors(shown, x_train[:pca_items], d)
    if not model[0] > model[-1]:
        raise NotApplicable(f"all {d} dimensions give no less error ({model[-1]:.3g}) than none ({model[0]:.3g})")

    def needed(rows: Any) -> float:
        errors = each[:, rows].mean(1)
        return float(widths[int((errors <= errors[-1] + tolerance * (errors[0] - errors[-1]).clamp(min=0)).nonzero()[0])])

    need = needed(slice(None))
    interval = bootstrap(need, needed, len(shown), resamples, seed)
    parts: dict[str, Any] = {
        "widths": widths,
        "errors": model,
        "pca_widths": axes_shown,
        "pca_errors": pca,
        "pca_same_error": next((k for k, error in zip(axes_shown, pca, strict=True) if error <= model[-1]), None),
        "data": next((k for k, error in zip(axes_shown, pca, strict=True) if error <= 0.05 * spread), None),
        "order": order.tolist(),
    }
    provenance = {
        "n": min(limit, len(x)),
        "tolerance": tolerance,
        "ranked_by": "KL" if _kl(codes, posterior) is not None else "variance",
    }
    return Measured(need, interval, 0.0, float(d), provenance, parts)


def _kl(codes: Tensor, posterior: PosteriorArrays | None) -> Tensor | None:
    found = posterior.kl_per_dimension if posterior is not None else None
    return found if found is not None and len(found) == codes.shape[1] else None


def strength(codes: Tensor, posterior: PosteriorArrays | None) -> Tensor:
    """What each dimension carries, (d,): its KL, or the variance of its codes where there is none."""
    found = _kl(codes, posterior)
    return found if found is not None else codes.double().var(0, correction=0)


def shown_widths(d: int) -> list[int]:
    """0 to d, all where they are few, else at growing steps."""
    if d < SHOWN:
        return list(range(d + 1))
    steps = torch.logspace(0, torch.log10(torch.tensor(float(d))).item(), SHOWN - 1).round().int().tolist()
    return sorted({0, d, *steps})


def _kept(codes: Tensor, kept: Tensor, decode: Callable[[Tensor], Tensor], limit: int) -> Tensor:
    shown = codes.mean(0).expand(min(limit, len(codes)), -1).clone()
    shown[:, kept] = codes[:limit][:, kept]
    return torch.cat([decode(part) for part in shown.split(PARTS)])


def pca_errors(x: Tensor, x_train: Tensor, d: int) -> tuple[list[int], list[float], float]:
    """Widths 0 to max(d, 64), PCA's error on x at each (unclamped), and the variance of x per entry about the training mean."""
    rows, train = x.flatten(1).float(), x_train.flatten(1).float()
    mean = train.mean(0)
    axes = principal_axes(train - mean, max(d, 64))
    centred = rows - mean
    total = centred.double().square().mean()
    explained = (centred @ axes).double().square().mean(0) / rows.shape[1]
    errors = total - torch.cat([torch.zeros(1, dtype=torch.float64), explained.cumsum(0)])
    return list(range(len(errors))), errors.clamp(min=0).tolist(), float(total)
