"""What studies that compare models share: finished jobs, intervals over seeds, answers to questions, the files of a result."""

from __future__ import annotations

import importlib.util
import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml

Row = dict[str, Any]
Values = Mapping[int, float]  # seed -> score
SAME = ("steps", "batch_size", "precision")  # of the trainer: models are compared at equal updates


@dataclass(frozen=True)
class Run:
    """A finished job of a sweep: what was trained and what evaluation found, by the names of the metrics."""

    folder: Path
    model: str
    seed: int
    latent_size: int
    net: Row
    trainer: Row
    parameters: int
    sha256: str
    entries: Mapping[str, Row]
    job: Row

    def value(self, metric: str) -> float | None:
        """A score, ``None`` where there is none."""
        return self.entries[metric]["value"] if metric in self.entries else None


def finished(*sweeps: Path) -> list[Run]:
    """The finished jobs of these sweeps, by model, latent size and seed; stops where their updates are not equal."""
    found = [_run(file.parent) for sweep in sweeps for file in sorted(sweep.glob("*/job.yaml"))]
    if not found:
        raise SystemExit(f"study: no finished job in {', '.join(map(str, sweeps))}")
    settings = {tuple(run.trainer.get(key) for key in SAME) for run in found}
    if len(settings) > 1:
        named = ", ".join(map(str, sorted(settings, key=str)))
        raise SystemExit(f"study: jobs of other {', '.join(SAME)} lie in one sweep: {named}; remove those of the old protocol")
    return sorted(found, key=lambda run: (run.model, run.latent_size, run.seed))


def _run(folder: Path) -> Run:
    job = yaml.safe_load((folder / "job.yaml").read_text(encoding="utf-8"))
    config = yaml.safe_load((folder / "model" / "config.yaml").read_text(encoding="utf-8"))
    record = json.loads((folder / "model" / "train.json").read_text(encoding="utf-8"))
    scores = json.loads((folder / "evaluation" / "evaluation.json").read_text(encoding="utf-8"))["scores"]
    return Run(
        folder,
        job["model"],
        int(job["seed"]),
        int(config["model"]["net"].get("latent_size", 0)),
        config["model"]["net"],
        config["trainer"],
        record["parameters"],
        record["sha256"],
        {entry["metric"]: entry for entry in scores.values() if entry["status"] == "ok"},
        job,
    )


def by_seed(runs: Iterable[Run], metric: str, model: str, latent_size: int | None = None) -> dict[int, float]:
    """Seed -> score of one model."""
    chosen = [run for run in runs if run.model == model and latent_size in (None, run.latent_size)]
    return {run.seed: value for run in chosen if (value := run.value(metric)) is not None}


def spread(values: Values) -> Row:
    """The mean over seeds and its 95 % interval by Student's t, ``None`` of fewer than two seeds."""
    from scipy.stats import t

    numbers = [values[seed] for seed in sorted(values)]
    if not numbers:
        return {"mean": None, "interval": None, "seeds": {}}
    mean, interval = statistics.fmean(numbers), None
    if len(numbers) > 1:
        half = float(t.ppf(0.975, len(numbers) - 1)) * statistics.stdev(numbers) / len(numbers) ** 0.5
        interval = [mean - half, mean + half]
    return {"mean": mean, "interval": interval, "seeds": {str(seed): values[seed] for seed in sorted(values)}}


def difference(a: Values, b: Values) -> Row:
    """a - b seed by seed, which share the order of the data and the held-out items: the ``spread`` of the differences."""
    return spread({seed: a[seed] - b[seed] for seed in a if seed in b})


def answered(question: str, a: Values, b: Values, *, must: bool, lower: bool = True, published: str = "") -> Row:
    """Is a better than b? ``holds`` and ``reversed`` only where the whole interval says so.

    Args:
        question: "a better than b in ...", a statement.
        a: of the model that is said to be better.
        b: of the other.
        must: whether the project promises it.
        lower: whether smaller is better.
        published: what was published of it.
    """
    found = difference(a, b)
    verdict = "not measured" if found["mean"] is None else "one seed, no claim" if found["interval"] is None else "not decided"
    if found["interval"]:
        low, high = found["interval"] if lower else [-bound for bound in reversed(found["interval"])]
        verdict = "holds" if high < 0 else "reversed" if low > 0 else verdict
    return {"question": question, "must": must, "difference": found, "verdict": verdict, "published": published}


def cell(found: Row, digits: int = 2) -> str:
    """``mean [low, high]``."""
    if found["mean"] is None:
        return ""
    mean = f"{found['mean']:.{digits}f}"
    return mean if found["interval"] is None else "{} [{:.{d}f}, {:.{d}f}]".format(mean, *found["interval"], d=digits)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table."""
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]


def answers(rows: Iterable[Row], digits: int = 2) -> list[str]:
    """The table of ``answered``: differences are of the first named minus the second."""
    head = ["statement", "difference by seed", "verdict", "published"]
    return table(
        head,
        [
            [row["question"], cell(row["difference"], digits), row["verdict"] + " (must)" * row["must"], row["published"]]
            for row in rows
        ],
    )


def neighbour(name: str) -> ModuleType:
    """``bench/studies/<name>.py``, whose jobs or scores another study takes up."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parent / "studies" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def minutes_of(out: Path, minutes: float | None) -> float | None:
    """The minutes of the sweep, or those of an earlier summary where this one ran none."""
    if minutes is not None:
        return round(minutes, 1)
    before = out / "study.json"
    return json.loads(before.read_text(encoding="utf-8")).get("minutes") if before.exists() else None


def plain(run: Run) -> Row:
    """A run in a result."""
    scores = {name: entry["value"] for name, entry in sorted(run.entries.items())}
    return {"model": run.model, "seed": run.seed, "latent_size": run.latent_size, "parameters": run.parameters, "scores": scores}


def write(out: Path, result: Row, lines: Sequence[str]) -> str:
    """study.json and README.md in ``out``; gives the page's text."""
    text = "\n".join([*lines, ""])
    out.mkdir(parents=True, exist_ok=True)
    (out / "study.json").write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (out / "README.md").write_text(text, encoding="utf-8")
    return text
