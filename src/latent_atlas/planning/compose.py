"""Composes a run with Hydra and cuts it into the sections that stages read. Imports no torch."""

from __future__ import annotations

import functools
import hashlib
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf, open_dict

from latent_atlas.planning.closure import Closures, targets

Section = dict[str, Any]

# The function behind each stage, and its script: their import closures are hashed into the plan.
STAGES = {
    "prepare": "latent_atlas.data.prepare",
    "features": "latent_atlas.evaluation.features",
    "train": "latent_atlas.training.fit",
    "evaluate": "latent_atlas.evaluation.evaluate",
    "report": "latent_atlas.report.build",
}
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the same rules in C: a tenth of the time
# Another version of these may give other weights: then the run is another run.
VERSIONS = ("torch", "pytorch-lightning", "numpy")


class PlanError(ValueError):
    """A run that cannot work; the message names the run, what it asks and what it was given."""


class Composer:
    """Composes runs of one checkout: Hydra is initialised once, and each file of ``conf`` is parsed once.

    Used as a context.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def __enter__(self) -> Composer:
        import hydra
        from hydra._internal.config_repository import CachingConfigRepository
        from hydra.core.global_hydra import GlobalHydra

        class Parsed(CachingConfigRepository):
            """Hydra caches within one composition, of a copy of its repository; this one is not copied, so it serves them all."""

            def __deepcopy__(self, memo: Any) -> Parsed:
                return self

        GlobalHydra.instance().clear()
        hydra.initialize_config_dir(str((self.root / "conf").resolve()), version_base="1.3")
        loader: Any = GlobalHydra.instance().config_loader()
        loader.repository = Parsed(loader.repository)
        self.loader = loader
        return self

    def __exit__(self, *error: object) -> None:
        from hydra.core.global_hydra import GlobalHydra

        GlobalHydra.instance().clear()

    def compose(self, overrides: list[str]) -> Section:
        """``conf/config.yaml`` with overrides, resolved, and with every file of ``conf/evaluation/metric``.

        The steps of ``hydra.compose`` without Hydra's own node: merging its files takes two thirds of the time, and none of it is
        of a run (test_compose holds one against the other). An experiment may choose a launcher, which is a part of that node.
        """
        from hydra._internal.defaults_list import create_defaults_list
        from hydra.types import RunMode

        loader = self.loader
        parsed, repository = loader._parse_overrides_and_create_caching_repo("config", overrides)
        loader.validate_sweep_overrides_legal(overrides=parsed, run_mode=RunMode.RUN, from_shell=False)
        whole = any(override.key_or_group == "experiment" for override in parsed)
        parts = create_defaults_list(repository, "config", parsed, prepend_hydra=whole, skip_missing=False)
        config = loader._compose_config_from_defaults_list(defaults=parts.defaults, repo=repository)
        OmegaConf.set_struct(config, True)
        loader._apply_overrides_to_config(parts.config_overrides, config)
        with open_dict(config):
            config.pop("hydra", None)
        return plain(self.root, config)


def plain(root: Path, config: DictConfig) -> Section:
    """Resolved, as plain dicts and lists, with every metric: a new one is one function and one file, named nowhere else."""
    found: Section = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)  # type: ignore[assignment]
    # A sweep over models in which one of them takes another weight: only that model has the key.
    found["model"] = merged(found["model"], (found.pop("by_model", None) or {}).get(found["model"]["name"], {}))
    files = tuple((file, file.stat().st_mtime_ns) for file in sorted((root / "conf/evaluation/metric").glob("*.yaml")))
    metrics = {name: dict(conf) for name, conf in _metrics(files).items()}
    for name, given in (found["evaluation"].get("metrics") or {}).items():
        metrics[name] = merged(metrics.get(name, {}), given)
    if (only := found["evaluation"].pop("only", None)) is not None:
        if strangers := sorted(set(only) - set(metrics)):
            raise PlanError(f"evaluation.only names {', '.join(strangers)}; conf/evaluation/metric has no such file")
        metrics = {name: metrics[name] for name in only}
    found["evaluation"]["metrics"] = metrics
    return found


def merged(old: Any, new: Any) -> Any:
    """``new`` over ``old``, dicts by their keys."""
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return new
    return old | {key: merged(old.get(key), value) for key, value in new.items()}


@functools.cache
def _metrics(files: tuple[tuple[Path, int], ...]) -> dict[str, Section]:
    return {file.stem: yaml.load(file.read_text(encoding="utf-8"), LOADER) for file, _ in files}


def sections(root: Path, config: Section, tier: str = "sweep", sources: Sources | None = None) -> dict[str, Section]:
    """The sections ``prepare``, ``features``, ``train`` and ``evaluate`` of one composed run.

    ``code`` is a digest of the source files that a stage would import; ``sources`` remembers what each digest stands for.
    """
    check(config)
    code = (sources or Sources(root)).code
    data, model, evaluation = config["data"], config["model"], config["evaluation"]
    train = {
        "run": config["run"],
        "data": data["name"],
        "needs": config["needs"],
        "seed": config["seed"],
        "model": model,
        "trainer": config["trainer"],
        "code": code("train", model),
        "versions": versions(),
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


@functools.cache
def versions() -> dict[str, str]:
    """The version of each of ``VERSIONS`` that is installed."""
    return {name: version(name) for name in VERSIONS}


class Sources:
    """The source files behind each stage of each run: found once for each set of targets.

    ``listed`` has them by their digest.
    """

    def __init__(self, root: Path) -> None:
        self.closures = Closures(root)
        self.listed: dict[str, Section] = {}
        self._marks: dict[tuple[str, frozenset[str]], str] = {}

    def code(self, stage: str, part: Any = None) -> str:
        """The digest of what a stage imports, with the ``_target_`` of every part of its configuration."""
        key = (stage, frozenset(targets(part)))
        if key not in self._marks:
            files = self.closures.of([STAGES[stage], *sorted(key[1])], [f"pipelines/{stage}.py"])
            self._marks[key] = digest(files)
            self.listed[self._marks[key]] = files
        return self._marks[key]


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
