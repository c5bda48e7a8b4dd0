"""Kernels of squared distances, by which clouds of points are compared: as a score and in training."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)  # Tolstikhin et al. 2018: of the inverse multiquadratics that are summed
Kernel = Callable[[Tensor, float], Tensor]


def imq(squares: Tensor, spread: float) -> Tensor:
    """Mean over s of C / (C + r²) with C = 2 s d σ², d σ² being the prior's total variance (Tolstikhin et al. 2018)."""
    total = torch.zeros_like(squares)
    for scale in SCALES:
        # 1 / (1 + r² / C) in place, as a gradient allows: the matrix is large and there are seven
        total += (squares / (2 * scale * spread)).add_(1.0).reciprocal_()
    return total.div_(len(SCALES))


def rbf(squares: Tensor, spread: float) -> Tensor:
    """exp(−r² / (2 h²)) with h² = d σ², which is half the mean squared distance of two draws of the prior."""
    return torch.exp(-squares / (2 * spread))


def negative_distance(squares: Tensor, spread: float) -> Tensor:
    """−r, with which the distance is the energy distance (Sejdinovic et al. 2013)."""
    return -squares.sqrt()


KERNELS: dict[str, Kernel] = {"imq": imq, "rbf": rbf, "energy": negative_distance}
