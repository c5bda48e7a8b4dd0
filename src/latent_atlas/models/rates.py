"""Learning rates over the updates of a player, as factories optimizer -> scheduler."""

from __future__ import annotations

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


def cosine_tail(optimizer: Optimizer, steps: int, start: float = 2 / 3, end: float = 0.1) -> LambdaLR:
    """The optimizer's own rate up to the share ``start`` of ``steps`` updates, then half a cosine down to ``end`` times it."""

    def factor(update: int) -> float:
        done = min(1.0, max(0.0, (update / steps - start) / (1 - start)))
        return end + (1 - end) * (1 + math.cos(math.pi * done)) / 2

    return LambdaLR(optimizer, factor)
