"""Sweeps: any number of jobs, each the same two functions as the stages train and evaluate, in a directory of its own."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig

from latent_atlas import workspace
from latent_atlas.importing import quickly
from latent_atlas.planning.compose import digest
from latent_atlas.training.scratch import locked

Section = dict[str, Any]
OWNER = "LATENT_ATLAS_SWEEP"  # the process that lives as long as the sweep: workers inherit it
ASKS = ("--hydra-help", "--cfg", "-c", "--info", "-i")


class SweepError(RuntimeError):
    """A job that cannot start; the message says what to do."""


def app(root: Path) -> None:
    """The command line: one job, or with ``-m`` a sweep under any launcher and sweeper of Hydra."""
    import hydra

    words = sys.argv[1:]
    if {"--help", "-h"} & set(words):
        # Hydra's own help loads every group twice over to list its files.
        print(options(root / "conf"))
        sys.argv[1:] = ["--cfg", "job", *(word for word in words if word not in ("--help", "-h", "-m", "--multirun"))]
        words = sys.argv[1:]
    sweeping = bool({"-m", "--multirun"} & set(words)) and not set(ASKS) & set(words)
    os.environ[OWNER] = str(os.getpid())
    folder = None
    if sweeping:
        folder = _folder(words)
        sys.argv[1:] = [*(word for word in words if not word.startswith("hydra.sweep.dir=")), f"hydra.sweep.dir={folder}"]
        # Workers that share the cores: one thread each. The environment counts where a library is loaded after it is set.
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        end_with_workers()
    try:
        hydra.main(version_base="1.3", config_path=str(root / "conf"), config_name="config")(job)()
    finally:
        if folder is not None and (folder / "mlflow.json").exists():
            from latent_atlas.training.sweep_runs import close_parent

            counts = close_parent(folder)
            print(f"{folder}: " + ", ".join(f"{number} {status.lower()}" for status, number in sorted(counts.items())))


def end_with_workers() -> None:
    """Makes SIGTERM an exception, at which a launcher ends its workers: killed outright, it leaves them to finish their jobs."""

    def stop(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, stop)


def options(conf: Path) -> str:
    """What the command takes, and every choice under ``conf``, above the configuration that these choices make."""
    groups: dict[str, list[str]] = {}
    for path in sorted(conf.rglob("*.yaml")):
        group = path.relative_to(conf).parent.as_posix()
        if group not in (".", "evaluation/metric") and not group.startswith("hydra/"):
            groups.setdefault(group, []).append(path.stem)
    lines = [f"  {group}={','.join(names)}" for group, names in groups.items()]
    head = """python pipelines/train.py run=<run of conf/pipeline.yaml>   train what is planned
python pipelines/train.py [group=choice] [key=value] ...     one job of your own: train and evaluate
python pipelines/train.py -m model=vae,beta_vae seed=0,1,2    a sweep: one job per combination, compared in MLflow
  +experiment=<name> lays a study over the rest; hydra/launcher=joblib works on all cores; --hydra-help for Hydra's own options

Groups and their choices:"""
    return "\n".join([head, *lines, "", "Every key can be set as key=value; with these choices they are:", ""])


def _folder(words: list[str]) -> Path:
    """The sweep's directory, known before Hydra starts, so that its MLflow run can be ended after it stopped."""
    given = [word.split("=", 1)[1] for word in words if word.startswith("hydra.sweep.dir=")]
    return Path(given[-1]) if given else Path("multirun") / time.strftime("%Y-%m-%d_%H-%M-%S")


def job(config: DictConfig) -> dict[str, float]:
    """One job; returns its scores, which a search may ask for."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    from latent_atlas.planning.compose import plain, sections

    root = workspace.checkout()
    hydra = HydraConfig.get()
    sweeping = hydra.mode == RunMode.MULTIRUN
    number = str(hydra.job.num) if sweeping else "0"
    top = Path(hydra.sweep.dir) if sweeping else Path("multirun") / time.strftime("%Y-%m-%d_%H-%M-%S")
    settings = plain(root, config)
    if "joblib" in str(hydra.launcher.get("_target_", "")):
        # Two trainings of one thread each do more than one of two: and cores that are shared otherwise stall.
        settings["trainer"]["threads"] = 1
    overrides = list(hydra.overrides.task)
    tags = {"source": "sweep" if sweeping else "command", "job": number, "overrides": " ".join(overrides)}
    tags |= {"group": f"{settings['data']['name']}-{settings['model']['name']}", "tier": "sweep"}
    name = " ".join([settings["run"], *(word for word in overrides if not word.startswith(("data=", "model=", "run=")))])
    tags["mlflow.runName"] = name
    tracking = settings["tracking"]
    if sweeping and tracking["enabled"]:
        from latent_atlas.training import sweep_runs

        about = {"source": "sweep", "overrides": " ".join(overrides), "directory": str(top)}
        tags[sweep_runs.PARENT] = sweep_runs.parent_run(top, f"sweep {top.name}", about, int(os.environ.get(OWNER, os.getpid())))
    try:
        return run_job(root, sections(root, settings), top / number, tags, tracking)
    except Exception as error:
        if sweeping and tracking["enabled"]:
            sweep_runs.fail_job(tags[sweep_runs.PARENT], name, tags, error)
        raise


def run_job(root: Path, cut: dict[str, Section], folder: Path, tags: dict[str, str], tracking: Section) -> dict[str, float]:
    """Trains and evaluates into ``folder``; what a former start of the same job finished is not done again."""
    with quickly():
        from latent_atlas.evaluation.evaluate import evaluate
        from latent_atlas.training.fit import train

    plan = {"train": cut["train"], "evaluate": cut["evaluate"]}
    scores = folder / "scores.json"
    same = (folder / "plan.yaml").exists() and yaml.safe_load((folder / "plan.yaml").read_text(encoding="utf-8")) == plan
    if same and scores.exists():
        return dict(json.loads(scores.read_text(encoding="utf-8")))
    folder.mkdir(parents=True, exist_ok=True)
    data, features = inputs(root, cut)
    first = _first_stage(root, cut["train"])
    if not (same and (folder / "model/train.json").exists()):
        (folder / "plan.yaml").write_text(yaml.safe_dump(plan, sort_keys=True, allow_unicode=True), encoding="utf-8")
        train(cut["train"], data, folder / "model", needs=first, tags=tags, tracking=tracking)
    evaluate(
        cut["evaluate"],
        cut["train"],
        data=data,
        features=features,
        model=folder / "model",
        out=folder / "evaluation",
        scores=scores,
    )
    entry = _entry(cut["train"], folder, data, tags)
    (folder / "job.yaml").write_text(yaml.safe_dump(entry, sort_keys=True, allow_unicode=True), encoding="utf-8")
    return dict(json.loads(scores.read_text(encoding="utf-8")))


def _entry(train: Section, folder: Path, data: Path, tags: dict[str, str]) -> Section:
    """The job as a line of a report page (``report.inputs.read_page``)."""
    model = train["model"]
    folders = {"evaluation": folder / "evaluation", "model": folder / "model", "data": data}
    return {
        "run": f"{train['run']}-{folder.name}",
        "data": train["data"],
        "model": model["name"],
        "family": model.get("family", "other"),
        "tag": tags.get("overrides", ""),
        "tier": "sweep",
        "seed": train["seed"],
        "folders": {key: str(path.resolve()) for key, path in folders.items()},
    }


def inputs(root: Path, cut: dict[str, Section]) -> tuple[Path, Path]:
    """The data directory and its features: the pipeline's where they were made from the same sections, else our own, made once."""
    with quickly():
        from latent_atlas.data.prepare import prepare
        from latent_atlas.evaluation.features import make_features

    name, lock = cut["prepare"]["name"], _dvc_lock(root)
    data, features = root / "data" / name, root / "features" / name
    if not (_made_from(lock, f"prepare@{name}", "prepare", cut["prepare"]) and (data / "card.json").exists()):
        data = _once(f"data-{digest(cut['prepare'])}", lambda out: prepare(cut["prepare"], out), name)
    elif _made_from(lock, f"features@{name}", "features", cut["features"]) and (features / "extractor.json").exists():
        return data, features
    key = digest([cut["features"], json.loads((data / "card.json").read_text(encoding="utf-8"))["content_hash"]])
    return data, _once(f"features-{key}", lambda out: make_features(cut["features"], data, out), name)


def _once(key: str, make: Any, name: str) -> Path:
    """``work/prepared/<key>/<name>``, made behind a lock by whichever job comes first."""
    folder = workspace.work() / "prepared" / key
    out = folder / name
    with locked(folder / "lock"):
        if not out.exists():
            make(out)
    return out


def _made_from(lock: Section, stage: str, key: str, section: Section) -> bool:
    """Whether DVC recorded that a stage's output was made from this section (plan/ alone may be ahead of data/)."""
    params: Section = lock.get("stages", {}).get(stage, {}).get("params", {})
    return any(values.get(key) == section for values in params.values())


def _dvc_lock(root: Path) -> Section:
    path = root / "dvc.lock"
    return (yaml.safe_load(path.read_text(encoding="utf-8")) or {}) if path.exists() else {}


def _first_stage(root: Path, section: Section) -> Path | None:
    if not section["model"].get("requires", {}).get("first_stage"):
        return None
    folder = root / str(section["needs"])
    if not (folder / "model.pt").exists():
        raise SweepError(f"{section['run']} needs the trained {section['needs']}: `dvc repro train@{folder.name}` makes it")
    return folder
