"""A sweep in MLflow: a parent run, one child per job under any launcher, and how they ended."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from latent_atlas.training.scratch import locked
from latent_atlas.training.tracking import PARENT, client, experiment_id, git_tags, metric_key, process_tags


def parent_run(folder: Path, name: str, tags: Mapping[str, str], pid: int | None = None) -> str:
    """The run that a sweep's jobs are children of: one per sweep directory; whichever job asks first makes it.

    ``pid`` is the process that lives as long as the sweep.
    """
    kept = folder / "mlflow.json"
    with locked(folder / ".mlflow.lock"):
        api = client()
        if kept.exists():
            run_id = str(json.loads(kept.read_text())["run_id"])
            if api.get_run(run_id).info.status != "RUNNING":  # the sweep is run again, to finish it
                for key, value in process_tags(pid).items():
                    api.set_tag(run_id, key, value)
                api.update_run(run_id, status="RUNNING")
            return run_id
        made = api.create_run(experiment_id(api), run_name=name, tags=dict(tags) | process_tags(pid) | git_tags())
        kept.write_text(json.dumps({"run_id": made.info.run_id}))
        return str(made.info.run_id)


def fail_job(parent: str, name: str, tags: Mapping[str, str], error: BaseException) -> None:
    """Ends a job's run as FAILED, with the reason; makes one where the job failed before it had any."""
    api = client()
    experiment = experiment_id(api)
    mine = api.search_runs([experiment], f"tags.`{PARENT}` = '{parent}' and tags.job = '{tags['job']}'", max_results=1)
    run = mine[0] if mine else api.create_run(experiment, run_name=name, tags=dict(tags) | process_tags() | git_tags())
    api.set_tag(run.info.run_id, "error", f"{type(error).__name__}: {error}"[:500])
    api.set_terminated(run.info.run_id, "FAILED")


def children(api: Any, parent: str) -> list[Any]:
    """The runs of a sweep's jobs."""
    return list(api.search_runs([experiment_id(api)], f"tags.`{PARENT}` = '{parent}'", max_results=5000))


def close_parent(folder: Path) -> dict[str, int]:
    """Ends a sweep's run, says in its description how its jobs ended, and adds a search's Pareto front; gives the counts."""
    kept = folder / "mlflow.json"
    if not kept.exists():
        return {}
    api = client()
    run_id = json.loads(kept.read_text())["run_id"]
    runs = children(api, run_id)
    counts: dict[str, int] = {}
    for run in runs:
        counts[run.info.status] = counts.get(run.info.status, 0) + 1
    failed = sum(number for status, number in counts.items() if status != "FINISHED")
    says = f"{len(runs)} jobs, {failed} of them failed" if failed else f"{len(runs)} jobs, all finished"
    front = folder / "pareto.json"
    if front.exists():
        says += "\n\n" + _front(api, run_id, runs, json.loads(front.read_text()), front)
    says += _agreement(api, run_id, folder)
    api.set_tag(run_id, "mlflow.note.content", f"{says}\n\nDirectory: `{folder}`")
    api.set_tag(run_id, "jobs", str(len(runs)))
    api.set_tag(run_id, "jobs_failed", str(failed))
    api.set_terminated(run_id, "FAILED" if failed else "FINISHED")
    return counts


def _agreement(api: Any, parent: str, folder: Path) -> str:
    """UDR of each model that the sweep trained with several seeds: a metric of the sweep's run, and a table with all beside it."""
    from latent_atlas.evaluation.seeds import INTERVAL, of_jobs

    found, rows = of_jobs(folder), []
    for name, one in found.items():
        if one.value is None:
            rows.append(f"| {name} | – | {one.reason} | | | | |")
            continue
        api.log_metric(parent, metric_key(f"udr/{name}"), one.value)
        interval = f"{one.interval[0]:.3g} to {one.interval[1]:.3g}" if one.interval else "one pair"
        rows.append(f"| {name} | {one.value:.3g} | {interval} | {one.floor:.3g} | {one.ceiling:.3g} | {one.seeds} | {one.n} |")
    if not rows:
        return ""
    head = "| UDR ↑ of | value | 95 % interval | shuffled items | a seed with itself | seeds | N |\n|---|---|---|---|---|---|---|"
    lead = f"Do seeds find the same dimensions, up to sign and order? 1 is all of them. Interval: {INTERVAL}."
    return "\n\n" + "\n".join([lead, "", head, *rows])


def _front(api: Any, parent: str, runs: Iterable[Any], trials: list[dict[str, Any]], file: Path) -> str:
    """Marks the jobs on the front, keeps the file, and draws it as a table."""
    best = {str(trial["job"]): trial for trial in trials if trial["on_front"]}
    for run in runs:
        api.set_tag(run.info.run_id, "pareto", "front" if run.data.tags.get("job") in best else "beaten")
    api.log_artifact(parent, str(file))
    names = list(trials[0]["values"]) if trials else []
    head = ["job", *names, "parameters"]
    rows = [
        [job, *(f"{trial['values'][name]:.4g}" for name in names), ", ".join(f"{k}={v}" for k, v in trial["params"].items())]
        for job, trial in best.items()
    ]
    lines = [" | ".join(head), " | ".join("---" for _ in head), *(" | ".join(row) for row in rows)]
    return f"Pareto front ({len(best)} of {len(trials)} jobs):\n\n" + "\n".join(f"| {line} |" for line in lines)
