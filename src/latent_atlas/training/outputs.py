"""Files and directories that are there whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
import yaml

from latent_atlas.models.base import LatentModel


def atomic_save(content: Any, path: Path) -> None:
    """``torch.save`` to a file beside ``path``, then a rename: a kill or a full disk leaves the old file."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def atomic_text(text: str, path: Path) -> None:
    """The same for a text."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def whole(out: Path) -> Iterator[Path]:
    """A new directory that takes the name ``out`` when the block ends well, and is removed when it does not."""
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # of a killed process
    partial.mkdir()
    try:
        yield partial
        shutil.rmtree(out, ignore_errors=True)
        os.replace(partial, out)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def write_model(folder: Path, model: LatentModel, config: Mapping[str, Any], record: Mapping[str, Any]) -> dict[str, Any]:
    """``model.pt``, ``config.yaml`` and ``train.json`` in a folder; gives back the record with the hash of the weights."""
    state = {name: tensor.detach().cpu() for name, tensor in model.state_dict().items()}
    # A file object, not a path: the archive's inner name would otherwise follow the path, and equal weights give other bytes.
    with (folder / "model.pt").open("wb") as file:
        torch.save(state, file)
    with (folder / "model.pt").open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    written = {**record, "sha256": digest}
    (folder / "config.yaml").write_text(yaml.safe_dump(dict(config), sort_keys=True, allow_unicode=True), encoding="utf-8")
    (folder / "train.json").write_text(json.dumps(written, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return written
