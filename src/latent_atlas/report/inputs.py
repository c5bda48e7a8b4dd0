"""What a page is made of: the runs that the plan lists, and what the stages before wrote for each of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from latent_atlas.data.packing import unpack


class ReportError(ValueError):
    """An input of the report that cannot be read: what, where, what to do."""


def read_json(path: Path, remedy: str) -> Any:
    """The content of a JSON file.

    Raises:
        ReportError: naming the file and the command that makes it anew, if it is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ReportError(f"{path}: cannot be read ({error}); make it anew: {remedy}") from error


def read_arrays(path: Path, remedy: str) -> dict[str, np.ndarray]:
    """The arrays of an ``.npz`` file; none if there is no such file."""
    if not path.exists():
        return {}
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, EOFError, KeyError) as error:
        raise ReportError(f"{path}: cannot be read ({error}); make it anew: {remedy}") from error
    except Exception as error:  # zipfile and zlib raise their own
        raise ReportError(f"{path}: damaged ({error}); make it anew: {remedy}") from error


@dataclass(frozen=True)
class Run:
    """One row of the plan's list, with its outputs read when first asked for."""

    name: str
    data: str
    model: str
    family: str
    tag: str
    tier: str
    seed: int
    evaluation_folder: Path
    model_folder: Path
    group: str | None = None
    remedy: str = ""

    @property
    def command(self) -> str:
        """What makes this run's evaluation."""
        return self.remedy or f"dvc repro evaluate@{self.name}"

    @cached_property
    def evaluation(self) -> dict[str, Any] | None:
        """evaluation.json, or ``None`` while it does not exist."""
        path = self.evaluation_folder / "evaluation.json"
        return read_json(path, self.command) if path.exists() else None

    @cached_property
    def pictures(self) -> dict[str, np.ndarray]:
        """Arrays of pictures.npz: witnesses, reconstructions, samples, traversals, interpolations."""
        return read_arrays(self.evaluation_folder / "pictures.npz", self.command)

    @cached_property
    def latents(self) -> dict[str, np.ndarray]:
        """Arrays of latents.npz: codes, index, kl_per_dimension, factors, labels, as far as there are."""
        return read_arrays(self.evaluation_folder / "latents.npz", self.command)

    @cached_property
    def training(self) -> dict[str, Any]:
        """train.json, empty if the model folder has none."""
        path = self.model_folder / "train.json"
        return read_json(path, self.command.replace("evaluate@", "train@")) if path.exists() else {}

    @cached_property
    def config(self) -> dict[str, Any]:
        """config.yaml of the trained model, empty if there is none."""
        path = self.model_folder / "config.yaml"
        if not path.exists():
            return {}
        try:
            return yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        except yaml.YAMLError as error:
            raise ReportError(f"{path}: cannot be read ({error}); make it anew: {self.command}") from error

    @cached_property
    def scores(self) -> dict[str, dict[str, Any]]:
        """Score entries by key; empty while there is no evaluation."""
        found = (self.evaluation or {}).get("scores") or {}
        return {key: entry for key, entry in found.items() if isinstance(entry, dict)}

    @property
    def verbs(self) -> tuple[str, ...]:
        """What the model can do, as its evaluation states it."""
        return tuple((self.evaluation or {}).get("verbs", ()))

    @property
    def label(self) -> str:
        """The model and, where there is one, the variant; seeds are not part of it."""
        return self.model if not self.variant else f"{self.model} · {self.variant}"

    @property
    def variant(self) -> str:
        """The tag without the mark of a seed (s1, s2, ...)."""
        if self.group is not None:
            return self.group
        return "-".join(part for part in str(self.tag or "").split("-") if not (part[:1] == "s" and part[1:].isdigit()))


@dataclass(frozen=True)
class DataSet:
    """A prepared data set as the report needs it: its card, its contact sheet, single items."""

    name: str
    folder: Path
    card: dict[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The name for people."""
        return str(self.card.get("title") or self.name)

    @property
    def observation(self) -> str:
        """The kind of the observed field: image, vector, tokens, ..."""
        spec = self.card.get("spec", {})
        return str(spec.get("fields", {}).get(spec.get("observation"), {}).get("kind", "unknown"))

    @property
    def class_names(self) -> list[str] | None:
        """Names of the classes, if the data has labels."""
        classes = self.card.get("classes")
        if isinstance(classes, Mapping):
            classes = classes.get("names")
        return [str(name) for name in classes] if classes else None

    @property
    def factor_names(self) -> list[str]:
        """Names of the factors, none if the data has none."""
        return [str(name) for name in (self.card.get("factors") or {}).get("names", [])]

    def level_names(self, factor: str, levels: np.ndarray) -> list[str]:
        """What the card calls these levels of a factor, else their numbers."""
        named = ((self.card.get("factors") or {}).get("values") or {}).get(factor)
        if isinstance(named, list) and all(float(level).is_integer() and 0 <= level < len(named) for level in levels):
            return [name if isinstance(name, str) else f"{float(name):.3g}" for name in (named[int(level)] for level in levels)]
        return [f"{float(level):.3g}" for level in levels]

    def items(self, rows: np.ndarray) -> np.ndarray | None:
        """Observations at item indices: (N, H, W, C) uint8 for images, (N, d) for vectors; ``None`` if they are not at hand."""
        spec = self.card.get("spec", {})
        name = spec.get("observation")
        storage = self.card.get("storage", {}).get(name)
        if storage is None or not (self.folder / storage["file"]).exists():
            return None
        found = np.asarray(np.load(self.folder / storage["file"], mmap_mode="r")[rows])
        if storage.get("packed"):
            found = unpack(found, storage["shape"])
        # Binary images are stored as 0 and 1: they have no divisor that brings them to [0, 1].
        return found * np.uint8(255) if self.observation == "image" and not storage.get("divisor") else found


@dataclass(frozen=True)
class Page:
    """Everything under one address: runs in the plan's order and the data sets they are about."""

    name: str
    runs: tuple[Run, ...]
    data: dict[str, DataSet]

    def of(self, data: str) -> list[Run]:
        """The runs of a data set that have been evaluated."""
        return [run for run in self.runs if run.data == data and run.evaluation is not None]

    def missing(self, data: str | None = None) -> list[Run]:
        """The runs in the plan that have no evaluation yet."""
        return [run for run in self.runs if run.evaluation is None and data in (None, run.data)]


def read_page(section: Mapping[str, Any], root: Path) -> Page:
    """The page that a plan section describes.

    Args:
        section: ``{page, runs: [{run, data, model, family, tag, tier, seed}]}``; an entry may name its own ``folders``
            (evaluation, model, data), as a sweep's jobs do.
        root: the directory that holds ``evaluations/``, ``models/`` and ``data/``.

    Raises:
        ReportError: if the section lists no run or an input is damaged.
    """
    if not section.get("runs"):
        raise ReportError(f"page {section.get('page')!r} lists no runs; add some to conf/pipeline.yaml under its scores directory")
    runs, data = [], {}
    for entry in section["runs"]:
        name, folders = str(entry["run"]), entry.get("folders") or {}
        runs.append(
            Run(
                name=name,
                data=entry["data"],
                model=entry["model"],
                family=entry.get("family") or "other",
                tag=entry.get("tag") or "",
                tier=entry.get("tier") or "",
                seed=int(entry.get("seed") or 0),
                evaluation_folder=Path(folders.get("evaluation") or root / "evaluations" / name),
                model_folder=Path(folders.get("model") or root / "models" / name),
                group=entry.get("group"),
                remedy=entry.get("remedy") or "",
            )
        )
        if entry["data"] not in data:
            folder = Path(folders.get("data") or root / "data" / entry["data"])
            card = folder / "card.json"
            content = read_json(card, f"dvc repro prepare@{entry['data']}") if card.exists() else {}
            data[entry["data"]] = DataSet(entry["data"], folder, content)
    return Page(str(section["page"]), tuple(runs), data)
