"""Do the models that penalize total correlation have a better MIG than a VAE on dSprites?

Three models of dsprites_axes with more seeds: three decide only what differs by more than their spread, here a wide one. Scores
are those of dsprites_axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import comparing
import torch
from comparing import Row, cell, spread, table

NEEDS = ("dsprites_axes",)
PLAIN, TC = "vae", ("beta_tc_vae", "factor_vae")
SCORES = {
    "mig_reference": "MIG (reference)",
    "mig": "MIG (atlas)",
    "dci_reference": "DCI-D (published form)",
    "dci": "DCI-D (atlas)",
}
PUBLISHED = {
    ("beta_tc_vae", "mig_reference"): "0.45 against 0.10",
    ("factor_vae", "mig_reference"): "0.43 against 0.10",
    ("beta_tc_vae", "dci_reference"): "0.29 against 0.30",
    ("factor_vae", "dci_reference"): "0.74 against 0.30",
}


def page(result: Row) -> list[str]:
    """The lines of the page."""
    models = list(result["models"])
    lines = [f"# {result['study']}: do TC-type models have a better MIG than a VAE?", "", "What was cut:", ""]
    lines += [*(f"- {line}" for line in result["cut"]), ""]
    lines += [f"Mean over {result['seeds']} seeds [95 % interval, Student's t]; larger is better.", ""]
    rows = [[name, *(cell(each[key], 3) for key in SCORES)] for name, each in result["models"].items()]
    lines += [*table(["model", *SCORES.values()], rows), "", *comparing.answers(result["answers"], 3), ""]
    seeds = list(result["models"][PLAIN]["mig_reference"]["seeds"])
    rows = [[seed, *(f"{result['models'][name]['mig_reference']['seeds'][seed]:.3f}" for name in models)] for seed in seeds]
    return [*lines, "MIG (reference) of each seed:", "", *table(["seed", *models], rows)]


def summarize(sweep: Path, out: Path, minutes: float | None) -> str:
    """Writes study.json and README.md to ``out``; gives the page's text."""
    return compared(sweep, "dsprites_tc", NEEDS, TC, out, minutes)


def compared(sweep: Path, name: str, needs: Sequence[str], against: Sequence[str], out: Path, minutes: float | None) -> str:
    """``summarize`` of some models against the plain one, over the seeds of the study ``name`` and of those that it needs."""
    torch.set_num_threads(1)
    axes, models = comparing.neighbour("dsprites_axes"), (PLAIN, *against)
    sweeps = [sweep.with_name(sweep.name.replace(name, each)) for each in needs]
    runs = [run for run in comparing.finished(*sweeps, sweep) if run.model in models]
    found = {(run.model, run.seed): axes.rescored(run)["scores"] for run in runs}
    seeds = sorted(set.intersection(*({seed for model, seed in found if model == each} for each in models)))
    scores = {(model, key): {seed: found[model, seed][key] for seed in seeds} for model in models for key in SCORES}
    result = {
        "study": out.name,
        "cut": axes.cut(runs),
        "seeds": len(seeds),
        "items": axes.ITEMS,
        "minutes": comparing.minutes_of(out, minutes),
        "answers": [
            comparing.answered(
                f"{model} above {PLAIN} in {what}", scores[model, key], scores[PLAIN, key], must=key.startswith("mig"), lower=False,
                published=PUBLISHED.get((model, key), ""),
            )
            for key, what in SCORES.items()
            for model in against
        ],
        "models": {model: {key: spread(scores[model, key]) for key in SCORES} for model in models},
        "runs": [comparing.plain(run) | {"axes": found[run.model, run.seed]} for run in runs],
    }  # fmt: skip
    return comparing.write(out, result, page(result))
