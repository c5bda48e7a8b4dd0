"""Do the models that penalize total correlation have a better MIG than a VAE on dSprites?

Three models of dsprites_axes with more seeds: three decide only what differs by more than their spread, here a wide one. Scores
are those of dsprites_axes.
"""

from __future__ import annotations

from pathlib import Path

import comparing
import torch
from comparing import Row, cell, spread, table

NEEDS = ("dsprites_axes",)
PLAIN, TC = "vae", ("beta_tc_vae", "factor_vae")
MODELS = (PLAIN, *TC)
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
    lines = [f"# {result['study']}: do TC-type models have a better MIG than a VAE?", "", "What was cut:", ""]
    lines += [*(f"- {line}" for line in result["cut"]), ""]
    lines += [f"Mean over {result['seeds']} seeds [95 % interval, Student's t]; larger is better.", ""]
    rows = [[name, *(cell(each[key], 3) for key in SCORES)] for name, each in result["models"].items()]
    lines += [*table(["model", *SCORES.values()], rows), "", *comparing.answers(result["answers"], 3), ""]
    seeds = list(result["models"][PLAIN]["mig_reference"]["seeds"])
    rows = [[seed, *(f"{result['models'][name]['mig_reference']['seeds'][seed]:.3f}" for name in MODELS)] for seed in seeds]
    return [*lines, "MIG (reference) of each seed:", "", *table(["seed", *MODELS], rows)]


def summarize(sweep: Path, out: Path, minutes: float | None) -> str:
    """Writes study.json and README.md to ``out``; gives the page's text."""
    torch.set_num_threads(1)
    axes = comparing.neighbour("dsprites_axes")
    needed = sweep.with_name(sweep.name.replace("dsprites_tc", NEEDS[0]))
    runs = [run for run in comparing.finished(needed, sweep) if run.model in MODELS]
    found = {(run.model, run.seed): axes.rescored(run)["scores"] for run in runs}
    seeds = sorted(set.intersection(*({seed for model, seed in found if model == name} for name in MODELS)))
    scores = {(model, key): {seed: found[model, seed][key] for seed in seeds} for model in MODELS for key in SCORES}
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
            for model in TC
        ],
        "models": {model: {key: spread(scores[model, key]) for key in SCORES} for model in MODELS},
        "runs": [comparing.plain(run) | {"axes": found[run.model, run.seed]} for run in runs],
    }  # fmt: skip
    return comparing.write(out, result, page(result))
