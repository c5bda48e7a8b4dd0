"""The stage ``plan``: one file per run, data set and page, with one section per stage that depends on it."""

from __future__ import annotations

import gc
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from latent_atlas.planning.compose import LOADER, Composer, PlanError, Section, Sources, digest, sections

DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
REQUIRED = {"data": ("source",), "runs": ("data", "model", "needs", "tier", "overrides"), "reports": ("scores",)}


def write_plans(root: Path, out: Path) -> list[str]:
    """Composes everything of ``conf/pipeline.yaml`` and then writes ``out``; returns the names of the files."""
    files = plans(root)
    if out.exists():
        shutil.rmtree(out)
    for name, content in files.items():
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.dump(content, Dumper=DUMPER, sort_keys=True, allow_unicode=True), encoding="utf-8")
    return list(files)


def plans(root: Path) -> dict[str, Section]:
    """File name below ``plan/`` -> its sections.

    DVC copies the sections of a stage into its lock file and reads that, slowly, at each command, so they hold digests where a text
    is long: ``code/<digest>.yaml`` lists the source files, ``metrics/<digest>.yaml`` the metrics' configuration, and ``evaluate``
    has a digest of ``train``, which it depends on too.
    """
    pipeline = read_pipeline(root)
    files: dict[str, Section] = {}
    sources = Sources(root)
    budget = _budget(root, pipeline["trainer"])
    asked = {f"runs.{run}": _overrides(run, entry) + budget for run, entry in pipeline["runs"].items()}
    # Any model serves a data set: its own sections do not depend on it.
    asked |= {f"data.{name}": [f"data={name}", "model=pca", *budget] for name in pipeline["data"]}
    configs = composed(root, asked)
    for run, entry in pipeline["runs"].items():
        cut = sections(root, configs[f"runs.{run}"], entry["tier"], sources)
        metrics = cut["evaluate"]["evaluation"].pop("metrics")
        cut["evaluate"] |= {"metrics_file": f"metrics/{digest(metrics)}.yaml", "train": digest(cut["train"])}
        files[cut["evaluate"]["metrics_file"]] = metrics
        files[f"{run}.yaml"] = {"train": cut["train"], "evaluate": cut["evaluate"], "overrides": entry["overrides"]}
    for name in pipeline["data"]:
        cut = sections(root, configs[f"data.{name}"] | {"run": name, "needs": f"data/{name}"}, sources=sources)
        files[f"data/{name}.yaml"] = {"prepare": cut["prepare"], "features": cut["features"]}
    for page, entry in pipeline["reports"].items():
        runs = [
            _row(run, row, files[f"{run}.yaml"])
            for run, row in pipeline["runs"].items()
            if f"metrics/{row['tier']}/{row['data']}/".startswith(entry["scores"].rstrip("/") + "/")
        ]
        if not runs:
            raise PlanError(f"conf/pipeline.yaml: reports.{page}: no run has its scores under {entry['scores']}")
        code = sources.code("report")
        files[f"pages/{page}.yaml"] = {"report": {"page": page, "scores": entry["scores"], "runs": runs, "code": code}}
    return files | {f"code/{mark}.yaml": listed for mark, listed in sources.listed.items()}


def composed(root: Path, asked: Mapping[str, list[str]]) -> dict[str, Section]:
    """The resolved configuration of each list of overrides, by its place in ``conf/pipeline.yaml``."""
    found = {}
    collecting = gc.isenabled()
    gc.disable()  # OmegaConf's nodes know their parents: each collection would walk through all of them again
    try:
        with Composer(root) as composer:
            for place, overrides in asked.items():
                try:
                    found[place] = composer.compose(overrides)
                except PlanError:
                    raise
                except Exception as error:  # Hydra's and OmegaConf's errors share no base class
                    raise PlanError(f"conf/pipeline.yaml: {place}: {str(error).splitlines()[0]}") from error
    finally:
        if collecting:
            gc.enable()
    return found


def _overrides(run: str, entry: Section) -> list[str]:
    named = [f"data={entry['data']}", f"model={entry['model']}", f"run={run}", f"needs={entry['needs']}"]
    return [*named, *entry["overrides"]]


def _budget(root: Path, trainer: str) -> list[str]:
    """``trainer: smoke`` is for trying the pipeline out: its budget wins over those of the entries and of the extractor."""
    if trainer != "smoke":
        return [f"trainer={trainer}"]
    found: Section = yaml.load((root / "conf/trainer/smoke.yaml").read_text(encoding="utf-8"), LOADER)
    own = [f"trainer.{key}={found[key]}" for key in ("steps", "batch_size", "threads")]
    return ["trainer=smoke", *own, "evaluation.extractor.steps=20", "evaluation.threads=1"]


def read_pipeline(root: Path) -> Section:
    """``conf/pipeline.yaml``, checked: every key of every entry is there, and names can be folders and MLflow runs.

    ``overrides: [*those, and=more]`` is a list in a list for YAML, and one list here.
    """
    path = root / "conf/pipeline.yaml"
    pipeline: Section = yaml.load(path.read_text(encoding="utf-8"), LOADER)
    for group, keys in REQUIRED.items():
        for name, entry in (pipeline.get(group) or {}).items():
            where = f"conf/pipeline.yaml: {group}.{name}"
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", str(name)):
                raise PlanError(f"{where}: a name has letters, digits, _ and - only")
            missing = [key for key in keys if key not in (entry or {})]
            if missing:
                raise PlanError(f"{where}: missing {', '.join(missing)}")
            if group == "runs":
                entry["overrides"] = list(_flat(entry["overrides"]))
            if group == "runs" and entry["data"] not in pipeline["data"]:
                raise PlanError(f"{where}: data {entry['data']!r} is not under data: ({', '.join(pipeline['data'])})")
    return pipeline


def _flat(words: Iterable[Any]) -> Iterator[Any]:
    for word in words:
        if isinstance(word, list):
            yield from _flat(word)
        else:
            yield word


def _row(run: str, entry: Section, plan: Section) -> Section:
    """What a page knows of a run; the digest changes when its evaluation would draw other pictures."""
    head = f"{entry['data']}-{entry['model']}"
    return {
        "run": run,
        "data": entry["data"],
        "model": entry["model"],
        "family": plan["train"]["model"].get("family", "other"),
        "tag": run.removeprefix(head).lstrip("-"),
        "tier": entry["tier"],
        "seed": plan["train"]["seed"],
        # Another training shows in the scores, which a page depends on anyway.
        "evaluate_digest": digest({key: value for key, value in plan["evaluate"].items() if key != "train"}),
    }
