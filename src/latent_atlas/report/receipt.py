"""The end of a run's page: what its numbers do not say, what produced them, the commands that repeat and use it."""

from __future__ import annotations

import json
from typing import Any

from latent_atlas.report import findings
from latent_atlas.report.entries import interval_of
from latent_atlas.report.inputs import DataSet, Run
from latent_atlas.report.markup import Markup, command, fold, listing, section, tag


def limits(run: Run, factor: int) -> Markup:
    """What these numbers do not say."""
    lines: list[Any] = []
    if not any(interval_of(entry) for entry in run.scores.values()):
        lines.append("One seed and no intervals: small differences between models may be luck.")
    else:
        lines.append("Intervals cover the choice of held-out items, not another seed of training.")
    found = findings.board(run)
    if found is not None and found.active < len(found.values):
        dead = len(found.values) - found.active
        lines.append(f"{dead} dead dimension{'s: moving along them' if dead > 1 else ': moving along it'} means nothing.")
    if factor > 1:
        lines.append(f"Pictures here are shrunk {factor}-fold to keep the page small; the files beside evaluation.json are whole.")
    return section("Limits", listing(lines), id_="limits")


def receipt(run: Run, data: DataSet) -> Markup:
    """What produced the numbers, and the commands that repeat and use them."""
    evaluation, config = run.evaluation or {}, run.config
    rows = {
        "run": run.name,
        "model": run.model,
        "data": f"{data.name} {str(data.card.get('content_hash') or '')[:16]}".strip(),
        "seed": run.seed,
        "tier": run.tier,
        "fingerprint": config.get("fingerprint"),
        "weights (sha256)": run.training.get("sha256"),
        "MLflow run": evaluation.get("mlflow_run_id") or run.training.get("mlflow_run_id"),
    }
    cells = [
        part
        for name, value in rows.items()
        if value not in (None, "")
        for part in (tag("dt", name), tag("dd", tag("code", str(value))))
    ]
    lines = [("make it again", run.remedy or f"dvc repro evaluate@{run.name}")]
    reference = run.name if not run.remedy else str(run.model_folder)
    lines.append(("in Python", f'import latent_atlas; model = latent_atlas.load("{reference}")'))
    if "encode" in run.verbs:
        lines.append(("codes of your items", f"python pipelines/encode.py run={reference} input=<folder|npz> out=codes.npz"))
    if rows["MLflow run"]:
        lines.append(("in MLflow", f"mlflow runs describe --run-id {rows['MLflow run']}"))
        lines.append(("its page", "make mlflow"))
    commands = [part for name, line in lines for part in (tag("dt", name), tag("dd", command(line)))]
    model = config.get("model")
    whole = fold("The model's configuration", tag("pre", json.dumps(model, indent=2, ensure_ascii=False))) if model else None
    return section(
        "Receipt", tag("dl", *cells, class_="facts"), tag("dl", *commands, class_="facts commands"), whole, id_="receipt"
    )
