"""Modified Bessel functions of the first kind with derivatives, in float64: SciPy's, and where these underflow an expansion."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

UNIFORM = 50.0  # orders above it use the expansion in 1 / v (DLMF 10.41.3), whose first terms then give 9 digits


def log_ive(v: float, x: Tensor) -> Tensor:
    """log(exp(-x) I_v(x)) for x > 0 and v ≥ 0, without a gradient."""
    if v <= UNIFORM:
        from scipy.special import ive

        return torch.as_tensor(np.log(ive(v, x.detach().cpu().double().numpy()))).to(x)
    z = x / v
    root = torch.sqrt(1 + z**2)
    eta = root + torch.log(z / (1 + root))
    p = 1 / root
    terms = 1 + (3 * p - 5 * p**3) / (24 * v) + (81 * p**2 - 462 * p**4 + 385 * p**6) / (1152 * v**2)
    terms = terms + (30375 * p**3 - 369603 * p**5 + 765765 * p**7 - 425425 * p**9) / (414720 * v**3)
    return v * eta - x - 0.5 * math.log(2 * math.pi * v) - 0.25 * torch.log1p(z**2) + torch.log(terms)


def slope(v: float, x: Tensor, ratio: Tensor) -> Tensor:
    """The derivative of I_(v+1) / I_v: 1 - A² - (2v + 1) A / x (Banerjee et al. 2005)."""
    return 1 - ratio**2 - (2 * v + 1) * ratio / x


class Ratio(torch.autograd.Function):
    """A = I_(v+1)(x) / I_v(x)."""

    @staticmethod
    def forward(ctx: Any, v: float, x: Tensor) -> Tensor:
        found = torch.exp(log_ive(v + 1, x) - log_ive(v, x))
        ctx.v = v
        ctx.save_for_backward(x, found)
        return found

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor]:
        x, found = ctx.saved_tensors
        return None, gradients[0] * slope(ctx.v, x, found)


class LogBessel(torch.autograd.Function):
    """log(exp(-x) I_v(x)), whose derivative is A + v / x - 1."""

    @staticmethod
    def forward(ctx: Any, v: float, x: Tensor) -> Tensor:
        ctx.v = v
        ctx.save_for_backward(x)
        return log_ive(v, x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor]:
        (x,) = ctx.saved_tensors
        ratio = torch.exp(log_ive(ctx.v + 1, x) - log_ive(ctx.v, x))
        return None, gradients[0] * (ratio + ctx.v / x - 1)


def bessel_ratio(v: float, x: Tensor) -> Tensor:
    """I_(v+1)(x) / I_v(x), the mean of t under a von Mises-Fisher law with v = D/2 - 1."""
    found: Tensor = Ratio.apply(v, x)
    return found


def log_bessel(v: float, x: Tensor) -> Tensor:
    """log I_v(x) - x."""
    found: Tensor = LogBessel.apply(v, x)
    return found
