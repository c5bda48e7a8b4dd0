"""From a resolved configuration to objects: ``_target_`` is the registry.

The same rules as ``hydra.utils.instantiate`` for what this project uses (``_target_``, ``_partial_``, nesting, lists), so that a
trained model loads without Hydra; ``tests/test_building.py`` holds the two equal over every file of ``conf/model``.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Mapping
from typing import Any


class BuildError(ValueError):
    """A configuration that does not name something that can be built."""


def locate(path: str) -> Any:
    """The object that a dotted path names: a module, or an attribute (of an attribute ...) of one."""
    parts = path.split(".")
    for cut in range(len(parts), 0, -1):
        name = ".".join(parts[:cut])
        try:
            found: Any = importlib.import_module(name)
        except ModuleNotFoundError as error:
            # Only "this prefix is no module" goes on; a missing dependency inside a module that exists must be seen.
            if error.name is None or not (name == error.name or name.startswith(error.name + ".")):
                raise
            continue
        for attribute in parts[cut:]:
            if not hasattr(found, attribute):
                raise BuildError(f"_target_: {path!r}: {found!r} has no attribute {attribute!r}")
            found = getattr(found, attribute)
        return found
    raise BuildError(f"_target_: {path!r}: no such module")


def instantiate(config: Any, **extra: Any) -> Any:
    """Builds ``config``; ``extra`` keyword arguments go to the outermost target and win over the configuration's."""
    if isinstance(config, Mapping):
        arguments = {key: instantiate(value) for key, value in config.items() if key not in ("_target_", "_partial_")}
        if "_target_" not in config:
            return arguments
        target = locate(config["_target_"])
        arguments |= extra
        if config.get("_partial_", False):
            return functools.partial(target, **arguments)
        try:
            return target(**arguments)
        except TypeError as error:
            if error.__traceback__ is not None and error.__traceback__.tb_next is None:
                raise BuildError(f"{config['_target_']}: {error}") from error
            raise
    if isinstance(config, (list, tuple)):
        return [instantiate(value) for value in config]
    return config
