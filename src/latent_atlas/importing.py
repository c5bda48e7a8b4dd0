"""Imports of large libraries, in three quarters of the time."""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def quickly() -> Iterator[None]:
    """Garbage collection pauses inside the block, and what was imported is not looked at again afterwards.

    Importing torch, Lightning and MLflow makes more than a million objects, all of which stay: each collection on the way, and
    later ones, would go through them in vain.
    """
    collecting, before = gc.isenabled(), len(sys.modules)
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            if len(sys.modules) > before:  # a second time there is only what a former job left, which may be garbage
                gc.freeze()
            gc.enable()
