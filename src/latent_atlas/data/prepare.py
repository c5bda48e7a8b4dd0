"""The stage ``prepare``: from a reader to a data directory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from latent_atlas.building import instantiate
from latent_atlas.data.reader import DataError
from latent_atlas.data.splits import Split
from latent_atlas.data.store import write


def prepare(
    section: Mapping[str, Any], out: Path, describe: Callable[[Path], dict[str, Any] | None] | None = None
) -> dict[str, Any]:
    """Writes the data directory of the plan section ``{"name", "data": conf/data/<name>.yaml, ...}`` and returns its card.

    ``describe`` is given the directory and returns what the card says under ``shape``; it lies on a higher floor. Run twice it
    gives the same bytes. Raises ``DataError`` with one clear line; ``out`` is then as it was.
    """
    data, name = section["data"], section["name"]
    try:
        split = Split(**data["split"])
    except (TypeError, ValueError) as error:
        raise DataError(f"conf/data/{name}.yaml: split: {error}") from error
    contents = instantiate(data["reader"]).open(split)
    return write(
        contents,
        Path(out),
        name=name,
        split=split,
        reference_size=data["reference_size"],
        title=data.get("title", name),
        about=data.get("about", ""),
        describe=describe,
    )
