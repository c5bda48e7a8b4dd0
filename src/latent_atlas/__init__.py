"""Latent Atlas: which latent space describes my data best, what does each direction mean, where does it lie?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["load"]

if TYPE_CHECKING:
    from latent_atlas.loading import load


def __getattr__(name: str) -> Any:
    # Lazy, so that importing the package alone costs neither torch nor mlflow.
    if name == "load":
        from latent_atlas.loading import load

        return load
    raise AttributeError(f"module 'latent_atlas' has no attribute {name!r}")
