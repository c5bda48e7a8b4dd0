"""A training that left the finite numbers: stops it and says where it began."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn


class NotFiniteError(ArithmeticError):
    """A loss, parameter or batch with NaN or infinity; the message names the first bad tensor and the items of the batch."""


def is_finite(tensor: Tensor) -> bool:
    """Whether every entry is a finite number; integers are."""
    return not tensor.is_floating_point() or bool(torch.isfinite(tensor).all())


def first_bad(tensors: Mapping[str, Tensor] | Iterator[tuple[str, Tensor]]) -> str | None:
    """The name of the first tensor that is not finite, or ``None``."""
    pairs = tensors.items() if isinstance(tensors, Mapping) else tensors
    return next((name for name, tensor in pairs if not is_finite(tensor)), None)


def first_bad_output(model: nn.Module, forward: Callable[[], Any]) -> str | None:
    """The first module whose output is not finite while ``forward`` runs once more."""
    found: list[str] = []

    def watch(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            tensors = output if isinstance(output, (tuple, list)) else [output]
            if not found and not all(is_finite(tensor) for tensor in tensors if isinstance(tensor, Tensor)):
                found.append(name)

        return hook

    hooks = [module.register_forward_hook(watch(name)) for name, module in model.named_modules() if name]
    try:
        with torch.no_grad():
            forward()
    finally:
        for hook in hooks:
            hook.remove()
    return found[0] if found else None


def explain(model: nn.Module, batch: Mapping[str, Tensor], parts: Mapping[str, Tensor], forward: Callable[[], Any]) -> str:
    """Where the trouble began: the batch, a weight, a layer, or a part of the loss, in this order."""
    if name := first_bad(batch):
        return f"field {name!r} of the batch"
    if name := first_bad(iter(model.named_parameters())):
        return f"parameter {name}"
    if name := first_bad(iter(model.named_buffers())):
        return f"buffer {name}"
    if name := first_bad_output(model, forward):
        return f"the output of layer {name}"
    if name := first_bad(parts):
        return f"part {name!r} of the loss"
    return "the total of the loss"


def items(batch: Mapping[str, Tensor], most: int = 16) -> str:
    """The item numbers of a batch, cut after ``most``."""
    index = batch["index"].tolist() if "index" in batch else []
    return ", ".join(map(str, index[:most])) + (f" and {len(index) - most} more" if len(index) > most else "")
