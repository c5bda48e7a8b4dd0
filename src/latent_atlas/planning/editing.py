"""Changes to ``conf/pipeline.yaml`` as edits of its text: the user's comments and order stay."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from latent_atlas.planning.compose import PlanError

Additions = Mapping[str, Mapping[str, Any]]  # group -> name -> entry


def with_entries(text: str, additions: Additions) -> str:
    """``text`` with a line for each new entry at the end of its group.

    Raises:
        PlanError: the file is laid out in a way that a line cannot be added to (a group in braces); says what to add by hand.
    """
    wanted = yaml.safe_load(text)
    for group, entries in additions.items():
        lines = [f"  {name}: {flow(entry)}" for name, entry in entries.items()]
        text = _at_end_of(text, group, lines)
        wanted[group] = {**(wanted.get(group) or {}), **entries}
    try:
        right = yaml.safe_load(text) == wanted
    except yaml.YAMLError:
        right = False
    if not right:
        missing = "\n".join(
            f"{group}:\n" + "\n".join(f"  {k}: {flow(v)}" for k, v in more.items()) for group, more in additions.items()
        )
        raise PlanError(
            f"conf/pipeline.yaml: its layout is not one entry a line, so nothing was changed; add these yourself:\n{missing}"
        )
    return text


def with_trainer(text: str, trainer: str) -> str:
    """``text`` with another value of the key ``trainer``; what stands behind it on the line stays."""
    changed, n = re.subn(r"(?m)^(trainer:[ \t]*)[^\s#]+", lambda found: found[1] + trainer, text)
    if n != 1:
        raise PlanError("conf/pipeline.yaml: there is no one line `trainer: <name>` to change")
    return changed


def write_text(path: Path, text: str) -> None:
    """Writes whole or not at all."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def flow(value: Any) -> str:
    """A value on one line, as the entries of conf/pipeline.yaml are written."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(flow(item) for item in value) + "]"
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_./=-]*", value) and yaml.safe_load(value) == value:
        return value
    return json.dumps(value, ensure_ascii=False)


def _at_end_of(text: str, group: str, lines: list[str]) -> str:
    """Behind the last indented line of a top-level key, before the blank lines and comments of the next."""
    rows = text.splitlines()
    start = next((k for k, row in enumerate(rows) if re.match(rf"{group}:\s*(#.*)?$", row)), None)
    if start is None:
        return text
    end = start
    for k in range(start + 1, len(rows)):
        if re.match(r"[ \t]+\S", rows[k]):
            end = k
        elif rows[k].strip() and not rows[k].startswith("#"):
            break
    return "\n".join([*rows[: end + 1], *lines, *rows[end + 1 :]]) + "\n"
