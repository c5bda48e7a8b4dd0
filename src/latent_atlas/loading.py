"""Getting a trained model back: from a run's name, its folder or MLflow. Imports no Hydra, Lightning or DVC."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from latent_atlas import workspace
from latent_atlas.building import instantiate
from latent_atlas.data.spec import DataSpec

if TYPE_CHECKING:
    from latent_atlas.models.base import LatentModel

MLFLOW_SCHEMES = ("runs:/", "models:/", "mlflow-artifacts:/")


class LoadError(ValueError):
    """A model that is not there or cannot be trusted; the message says where and what to do."""


def load(ref: str | Path) -> LatentModel:
    """The trained model of a run, in eval mode.

    Args:
        ref: a run's name (``digits-vae``: looked up under ``models/``), its folder, or an MLflow URI (``runs:/<id>/run``).

    Returns:
        the model with ``spec``, ``space`` and the verbs that it has: ``encode``, ``decode``, ``sample``.

    Raises:
        LoadError: no such run, or a ``model.pt`` that is not the one its ``train.json`` was written with.
    """
    return load_folder(find(ref))


def find(ref: str | Path) -> Path:
    """The folder (``model.pt``, ``config.yaml``, ``train.json``) that a reference means."""
    if str(ref).startswith(MLFLOW_SCHEMES):
        from latent_atlas.training.tracking import download

        try:
            return download(str(ref))
        except FileNotFoundError as error:
            raise LoadError(str(error)) from error
    here = Path(ref).expanduser()
    tried = [here, Path.cwd() / "models" / here, workspace.checkout() / "models" / here, workspace.home() / "models" / here]
    for folder in tried:
        if (folder / "model.pt").is_file():
            return folder
    raise LoadError(
        f"no trained model {str(ref)!r}: looked for model.pt in {', '.join(sorted({str(path) for path in tried}))}. "
        f"`dvc repro train@{ref}` trains a run of conf/pipeline.yaml"
    )


def load_folder(folder: str | Path) -> LatentModel:
    """The model of one folder, its weights checked against the hash that training wrote."""
    import torch

    folder = Path(folder)
    config = read_config(folder)
    weights = folder / "model.pt"
    verify(weights, json.loads((folder / "train.json").read_text(encoding="utf-8"))["sha256"])
    model = build_model(config)
    model.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    return model.eval()


def read_config(folder: Path) -> dict[str, Any]:
    """``config.yaml`` of a model's folder."""
    path = folder / "config.yaml"
    if not path.is_file():
        raise LoadError(f"{path} is missing: the folder of a run holds model.pt, config.yaml and train.json")
    found: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return found


def verify(path: Path, expected: str) -> None:
    """Refuses a file whose sha256 is another than the one recorded: DVC trusts its read-only cache files unseen."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected:
        raise LoadError(
            f"{path} is corrupt: its sha256 is {found[:16]}..., training recorded {expected[:16]}.... "
            f"Remove it (and its copy in DVC's cache) and train it again: `dvc repro -f train@{path.parent.name}`"
        )


def build_model(config: Mapping[str, Any]) -> LatentModel:
    """The untrained model of a ``config.yaml``; a second stage is built around its first stage's configuration."""
    spec = DataSpec.from_dict(config["spec"])
    first = config.get("first_stage")
    extra = {"first_stage": build_model(first)} if first else {}
    model: LatentModel = instantiate(config["model"]["net"], spec=spec, **extra)
    return model
