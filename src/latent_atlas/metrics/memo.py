"""What several metrics compute of the same arrays, computed once."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import numpy as np

Found = TypeVar("Found")


class Memo(Generic[Found]):
    """Results by the contents of the arrays that they were computed from; the least recently used go.

    Args:
        size: results that are kept.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._found: OrderedDict[str, Found] = OrderedDict()

    def get(self, arrays: Sequence[Any], settings: Any, make: Callable[[], Found]) -> Found:
        """The result for these arrays and settings (by their ``repr``), made if it is not known."""
        mark = hashlib.blake2b(repr(settings).encode())
        for array in arrays:
            values = np.ascontiguousarray(array)
            mark.update(f"{values.dtype}{values.shape}".encode())
            mark.update(values.data)
        key = mark.hexdigest()
        if key in self._found:
            self._found.move_to_end(key)
            return self._found[key]
        found = self._found[key] = make()
        while len(self._found) > self.size:
            self._found.popitem(last=False)
        return found
