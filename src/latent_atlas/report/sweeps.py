"""A sweep's job folders as a page: the same report without a pipeline around it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from latent_atlas.report.inputs import ReportError

# Overrides that are columns of their own, or that change no number.
SILENT = ("data", "model", "seed", "run", "needs", "tracking", "trainer.threads", "trainer.log_every")


def section_of(folder: Path, root: Path) -> dict[str, Any]:
    """The page section of ``multirun/<time>``: one run for each job folder, jobs that differ by seed alone under one label.

    Raises:
        ReportError: if there is no such folder or no job in it.
    """
    folder = Path(folder)
    jobs = sorted((path for path in folder.glob("*") if path.is_dir() and path.name.isdigit()), key=lambda path: int(path.name))
    if not jobs:
        raise ReportError(
            f"{folder}: no job folders (0, 1, ...) there; give the folder that the sweep printed, as in runs=multirun/<time>"
        )
    return {"page": folder.name, "runs": [entry_of(job, Path(root)) for job in jobs]}


def entry_of(job: Path, root: Path) -> dict[str, Any]:
    """One job as an entry of a page section: what it wrote of itself (job.yaml), else what it was asked to do (plan.yaml)."""
    entry = read_yaml(job / "job.yaml")
    train = read_yaml(job / "plan.yaml").get("train", {})
    overrides = overrides_of(job, entry)
    model = train.get("model") or {}
    data = entry.get("data") or train.get("data") or overrides.get("data", "unknown")
    name = entry.get("model") or model.get("name") or overrides.get("model", "unknown")
    kept = {
        key: value for key, value in overrides.items() if key not in SILENT and not key.startswith(("data.", "hydra", "tracking."))
    }
    prepared = ", ".join(f"{key}={value}" for key, value in overrides.items() if key.startswith("data."))
    folder = (entry.get("folders") or {}).get("data") or root / "data" / data
    return {
        "run": f"{data}-{name}-{job.name}",
        "data": f"{data} ({prepared})" if prepared else data,
        "model": name,
        "family": entry.get("family") or model.get("family") or "other",
        "group": ", ".join(f"{key.rpartition('.')[2]}={value}" for key, value in kept.items()),
        "tier": "sweep",
        "seed": entry.get("seed", train.get("seed", overrides.get("seed", 0))),
        "folders": {"evaluation": str(job / "evaluation"), "model": str(job / "model"), "data": str(folder)},
        "remedy": " ".join(["python pipelines/train.py -m", *(f"{key}={value}" for key, value in overrides.items())]),
    }


def read_yaml(path: Path) -> Any:
    """The content of a YAML file; an empty mapping if there is none."""
    if not path.exists():
        return {}
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        raise ReportError(f"{path}: cannot be read ({error})") from error


def overrides_of(job: Path, entry: Mapping[str, Any]) -> dict[str, str]:
    """The overrides that made a job, from its own record or Hydra's."""
    words = str(entry.get("tag") or "").split() or read_yaml(job / ".hydra" / "overrides.yaml") or []
    pairs = (str(word).lstrip("+~").partition("=") for word in words)
    return {key: value for key, _, value in pairs}
