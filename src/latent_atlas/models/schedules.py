"""Numbers that change with ``model.step``, which counts batches."""

from __future__ import annotations


def ramp(step: int, start: float, end: float, warmup: int, cycles: int = 1) -> float:
    """Rises linearly from ``start`` to ``end`` over ``warmup`` batches, holds, and stays there after the last cycle.

    With several cycles each rises over ``warmup`` batches and holds for as many before the next begins anew (Fu et al. 2019, arXiv
    1903.10145, with their R = 1/2). Without a warm-up it is ``end`` from the first batch.
    """
    if not warmup or step >= 2 * warmup * cycles:
        return end
    return start + (end - start) * min(1.0, step % (2 * warmup) / warmup)
