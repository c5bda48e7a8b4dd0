"""Pure functions of arrays, and streaming ``torchmetrics.Metric`` classes over them (floor 4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__all__ = ["Streaming", "StreamingFrechet", "StreamingMSE"]

if TYPE_CHECKING:
    from latent_atlas.metrics.streaming import Streaming, StreamingFrechet, StreamingMSE


def __getattr__(name: str) -> Any:
    # Lazy: most metrics need no torchmetrics.
    if name in __all__:
        from latent_atlas.metrics import streaming

        return getattr(streaming, name)
    raise AttributeError(f"module 'latent_atlas.metrics' has no attribute {name!r}")
