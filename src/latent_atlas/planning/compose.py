"""Composes a run with Hydra and cuts it into the sections that stages read. Imports no torch."""

from __future__ import annotations

import functools
import hashlib
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf

from latent_atlas.planning.closure import closure, targets

Section = dict[str, Any]

# The function behind each stage, and its script: their import closures are hashed into the plan.
STAGES = {
    "prepare": "latent_atlas.data.prepare",
    "features": "latent_atlas.evaluation.features",
    "train": "latent_atlas.training.fit",
    "evaluate": "latent_atlas.evaluation.evaluate",
    "report": "latent_atlas.report.build",
}
# Another version of these may give other weights: then the run is another run.
VERSIONS = ("torch", "pytorch-lightning", "numpy")


class PlanError(ValueError):
    """A run that cannot work; the message names the run, what it asks and what it was given."""


def compose(root: Path, overrides: list[str]) -> DictConfig:
    """``conf/config.yaml`` with overrides, and with every file of ``conf/evaluation/metric``."""
    import hydra
    from hydra.core.global_hydra import GlobalHydra

    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str((root / "conf").resolve()), version_base="1.3"):
        return complete(root, hydra.compose("config", overrides))


def complete(root: Path, config: DictConfig) -> DictConfig:
    """Adds every metric of ``conf/evaluation/metric``: a new metric is one function and one file, named nowhere else."""
    files = tuple((file, file.stat().st_mtime_ns) for file in sorted((root / "conf/evaluation/metric").glob("*.yaml")))
    OmegaConf.set_struct(config, False)
    given = config.evaluation.get("metrics")
    config.evaluation.metrics = OmegaConf.merge(_metrics(files), given) if given else _metrics(files)
    return config


@functools.cache
def _metrics(files: tuple[tuple[Path, int], ...]) -> DictConfig:
    return OmegaConf.create({file.stem: yaml.safe_load(file.read_text(encoding="utf-8")) for file, _ in files})


def plain(config: DictConfig) -> Section:
    """Resolved, as plain dicts and lists."""
    return OmegaConf.to_container(config, resolve=True, throw_on_missing=True)  # type: ignore[return-value]


def sections(root: Path, config: Section, tier: str = "sweep", sources: dict[str, Section] | None = None) -> dict[str, Section]:
    """The sections ``prepare``, ``features``, ``train`` and ``evaluate`` of one composed run.

    ``code`` is a digest of the source files that a stage would import; ``sources`` takes what each digest stands for.
    """
    check(config)

    def code(stage: str, part: Any) -> str:
        files = closure(root, [STAGES[stage], *targets(part)], [f"pipelines/{stage}.py"])
        mark = digest(files)
        if sources is not None:
            sources[mark] = files
        return mark

    data, model, evaluation = config["data"], config["model"], config["evaluation"]
    train = {
        "run": config["run"],
        "data": data["name"],
        "needs": config["needs"],
        "seed": config["seed"],
        "model": model,
        "trainer": config["trainer"],
        "code": code("train", model),
        "versions": {name: version(name) for name in VERSIONS},
    }
    if "pair" in model.get("requires", {}).get("fields", []) and data.get("pairs"):
        train["pairs"] = data["pairs"]  # how partners are drawn is part of what is trained
    extractor = evaluation.get("extractor", {})
    evaluate = {
        "run": config["run"],
        "tier": tier,
        "tracking": config["tracking"],
        "evaluation": {key: value for key, value in evaluation.items() if key != "extractor"},
        "code": code("evaluate", evaluation),
    }
    return {
        "prepare": {"name": data["name"], "data": data, "code": code("prepare", data)},
        "features": {"name": data["name"], "extractor": extractor, "code": code("features", extractor)},
        "train": train,
        "evaluate": evaluate,
    }


def digest(content: Any) -> str:
    """A short hash of plain data, the same for the same content."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def check(config: Section) -> None:
    """Refuses a model on data that does not provide what it requires."""
    requires, provides = config["model"].get("requires", {}), config["data"]["provides"]
    who = f"run {config['run']}: model {config['model']['name']}"
    wanted = requires.get("observation")
    if wanted and provides["observation"] not in wanted:
        raise PlanError(f"{who} needs {' or '.join(wanted)}, but data {config['data']['name']} provides {provides['observation']}")
    missing = [name for name in requires.get("fields", []) if name not in provides.get("fields", [])]
    if missing:
        raise PlanError(f"{who} needs the fields {', '.join(missing)}, which data {config['data']['name']} does not provide")
    second = bool(requires.get("first_stage"))
    if second != str(config["needs"]).startswith("models/"):
        need = "models/<run> of its first stage" if second else f"data/{config['data']['name']}"
        raise PlanError(f"{who}: needs is {config['needs']!r}; this model takes {need}")
