"""Own data: from a path to entries of conf/pipeline.yaml and a file in conf/data."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import yaml

from latent_atlas.data.inspect import Inspection, inspect
from latent_atlas.data.reader import DataError
from latent_atlas.planning.compose import PlanError
from latent_atlas.planning.editing import with_entries, with_trainer, write_text
from latent_atlas.planning.plan import read_pipeline

STEPS = {"image": 2000, "vector": 3000}  # batches a model gets at first; the user edits conf/pipeline.yaml for more
# Seconds on two cores of a server of 2024: what a stage costs before it computes; what one value of an image and what one vector
# costs in a training step (860 images of 64×64 a second). An estimate for the screen; nothing depends on it.
STAGE, PIXEL, VECTOR = 9.0, 3.5e-7, 3e-5


def onboard(root: Path, given: str, name: str = "") -> tuple[str, str]:
    """Adds the data at ``given`` to the pipeline of the checkout ``root``; gives its name and the screen about it.

    The same data again changes nothing. Raises ``DataError`` or ``PlanError`` with one line, and then nothing was changed.
    """
    source = locate(given)
    pipeline = read_pipeline(root)
    known = next((key for key, entry in pipeline["data"].items() if same(root, entry["source"], source)), None)
    found = inspect(source)
    chosen = known or free_name(root, pipeline, source, name or found.name)
    conf = root / "conf/data" / f"{chosen}.yaml"
    runs = entries(root, chosen, found) if known is None else of_data(pipeline, chosen)
    path = root / "conf/pipeline.yaml"
    if known is None:
        page = {chosen: {"scores": f"metrics/own/{chosen}"}}
        text = with_entries(
            path.read_text(encoding="utf-8"), {"data": {chosen: {"source": str(source)}}, "runs": runs, "reports": page}
        )
        done = f"written to conf/data/{chosen}.yaml and conf/pipeline.yaml (edit them freely)"
    else:
        done = f"already in conf/pipeline.yaml as {chosen}; nothing changed there"
    # The file first: an entry without its file would stop every plan, a file without an entry is taken up by the next call.
    if not conf.exists():
        write_text(conf, described(chosen, found))
    if known is None:
        write_text(path, text)
    time = minutes(root, found, runs, *budget(root, pipeline["trainer"]))
    return chosen, screen(chosen, source, found, runs, time, done)


def choose_trainer(root: Path, trainer: str) -> str:
    """Writes ``trainer`` to conf/pipeline.yaml and says so; raises ``PlanError`` for one that conf/trainer does not have."""
    offered = sorted(path.stem for path in (root / "conf/trainer").glob("*.yaml"))
    if trainer not in offered:
        raise PlanError(f"trainer={trainer}: conf/trainer has {', '.join(offered)}")
    path = root / "conf/pipeline.yaml"
    text = path.read_text(encoding="utf-8")
    changed = with_trainer(text, trainer)
    if changed == text:
        return f"trainer: {trainer}, as conf/pipeline.yaml says"
    write_text(path, changed)
    return f"trainer: {trainer}, now written in conf/pipeline.yaml; the next dvc repro trains every run with it"


def locate(given: str) -> Path:
    """The absolute path that DVC watches, or one line about what is wrong with it."""
    if not given.strip():
        raise DataError("data= is empty: give a folder of images, or a .npz, .npy, CSV or Parquet file")
    source = Path(given).expanduser()
    if not source.exists():
        raise DataError(f"{given} does not exist" + ("" if source.is_absolute() else f" (looked in {Path.cwd()})"))
    if "${" in str(source):
        raise DataError(f"{given}: a path with '${{' would be read as a variable; rename it")
    return source.resolve()


def free_name(root: Path, pipeline: Mapping[str, Any], source: Path, wanted: str) -> str:
    """``wanted``, with a number behind it where another data set or page has that name."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_]*", wanted):
        raise PlanError(f"name={wanted}: a name has letters, digits and _ only")
    taken = set(pipeline["data"]) | set(pipeline["reports"])
    number, name = 1, wanted
    while name in taken or not _ours(root / "conf/data" / f"{name}.yaml", source):
        number += 1
        name = f"{wanted}_{number}"
    return name


def _ours(conf: Path, source: Path) -> bool:
    """Whether the file is not there, or is about this very source (left by a call that was interrupted)."""
    if not conf.exists():
        return True
    reader = (yaml.safe_load(conf.read_text(encoding="utf-8")) or {}).get("reader", {})
    return str(source) in reader.values()


def same(root: Path, entry: str, source: Path) -> bool:
    """Whether an entry's source is this path."""
    return (root / Path(entry).expanduser()).resolve() == source


def recommended(root: Path, provides: Mapping[str, Any]) -> list[str]:
    """The models of conf/own.yaml that suit the data."""
    has, chosen = set(provides["fields"]), []
    for entry in yaml.safe_load((root / "conf/own.yaml").read_text(encoding="utf-8"))["models"]:
        requires = _merged(root, entry["model"]).get("requires", {})
        fits = not requires.get("observation") or provides["observation"] in requires["observation"]
        wanted = {*requires.get("fields", []), *entry.get("where", [])}
        if fits and wanted <= has and not has & set(entry.get("unless", [])):
            chosen.append(entry["model"])
    return chosen


def learns(root: Path, model: str) -> bool:
    """Whether a model is trained step by step: its file, or one that it inherits from, names an optimizer."""
    return any("optimizer" in key for key in _merged(root, model)["net"])


def _merged(root: Path, model: str) -> dict[str, Any]:
    """The keys of a conf/model file, and those of its net, over those of the files that it inherits from."""
    own = yaml.safe_load((root / f"conf/model/{model}.yaml").read_text(encoding="utf-8"))
    merged: dict[str, Any] = {}
    for base in own.get("defaults", []):
        if isinstance(base, str) and base != "_self_":
            merged |= _merged(root, base)
    return merged | own | {"net": merged.get("net", {}) | own.get("net", {})}


def entries(root: Path, name: str, found: Inspection) -> dict[str, dict[str, Any]]:
    """The runs to add."""
    overrides = [f"trainer.steps={STEPS[found.observation]}"]
    return {
        f"{name}-{model}": {
            "data": name,
            "model": model,
            "needs": f"data/{name}",
            "tier": "own",
            "overrides": overrides if learns(root, model) else [],
        }
        for model in recommended(root, found.conf["provides"])
    }


def of_data(pipeline: Mapping[str, Any], name: str) -> dict[str, dict[str, Any]]:
    """The runs that a data set has already."""
    return {run: entry for run, entry in pipeline["runs"].items() if entry["data"] == name}


def described(name: str, found: Inspection) -> str:
    """The text of conf/data/<name>.yaml."""
    head = "# Own data, first read by `make repro DATA=...`. Edit this freely: what depends on it runs again.\n"
    notes = "".join(f"# {note}\n" for note in found.notes)
    return head + notes + yaml.safe_dump(found.conf | {"name": name}, sort_keys=False, allow_unicode=True, width=120)


def budget(root: Path, trainer: str) -> tuple[int, int | None, int]:
    """Of a trainer: steps where a run's entry says nothing, steps whatever it says (smoke), items in a batch."""
    given = {"steps": 1000, "batch_size": 64}
    given |= yaml.safe_load((root / f"conf/trainer/{trainer}.yaml").read_text(encoding="utf-8"))
    return given["steps"], given["steps"] if trainer == "smoke" else None, given["batch_size"]


def minutes(root: Path, found: Inspection, runs: Mapping[str, Any], default: int, fixed: int | None, batch: int) -> float:
    """A rough estimate for two cores, from the number of steps and the size of an item."""
    size = prod(found.shape)
    item = size * PIXEL if found.observation == "image" else VECTOR
    steps = sum(fixed or _steps(entry, default) for entry in runs.values() if learns(root, entry["model"]))
    reading = 3 * found.n * size * 1e-8
    return (STAGE * (2 * len(runs) + 4) + steps * batch * item + reading) / 60


def _steps(entry: Mapping[str, Any], default: int) -> int:
    given = [text.partition("=")[2] for text in entry["overrides"] if text.startswith("trainer.steps=")]
    return int(given[-1]) if given else default


def screen(name: str, source: Path, found: Inspection, runs: Mapping[str, Any], time: float, done: str) -> str:
    """The one screen before the work starts."""
    rows = [("items", f"{found.n:,} of shape {' × '.join(map(str, found.shape))} ({found.observation}, {found.kind})")]
    rows.append(("labels", f"{len(found.classes)}: {shortened(found.classes)}" if found.classes else "none"))
    factors = [f"{key} ({size or 'continuous'})" for key, size in found.factors.items()]
    rows.append(("factors", f"{len(factors)}: {shortened(factors)}" if factors else "none"))
    aside = [f"{item}: {reason}" for item, reason in found.set_aside]
    rows.append(("set aside", f"{len(aside)}: {shortened(aside, 3, '; ')}" if aside else "nothing"))
    rows += [("note", note) for note in found.notes]
    models = [entry["model"] + (f" ({', '.join(entry['overrides'])})" if entry["overrides"] else "") for entry in runs.values()]
    rows += [("models", ", ".join(models)), ("time", f"about {max(1, round(time))} min on two cores")]
    rows += [("conf", done), ("page", f"reports/build/{name}/index.html")]
    return "\n".join([f"{name}: {source}", *(f"  {key:<10} {value}" for key, value in rows)])


def shortened(items: Sequence[str], most: int = 8, between: str = ", ") -> str:
    """The first few, and how many more there are."""
    more = len(items) - most
    return between.join(items[:most]) + (f"{between}and {more:,} more" if more > 0 else "")
