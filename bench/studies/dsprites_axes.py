"""Whose axes are the factors of dSprites? Unsupervised models, one of pairs and one of quantized latents, on one network.

MIG in the ``reference`` protocol and in ``atlas``; DCI disentanglement as published (importances as they are) and in ``atlas``
(weighted by skill), both with LightGBM's trees, since exact ones take minutes a run; InfoM as the job's evaluation found it.
"""

from __future__ import annotations

import json
from pathlib import Path

import comparing
import torch
import yaml
from comparing import Row, Run, by_seed, cell, spread, table

from latent_atlas.data.datamodule import DataModule
from latent_atlas.evaluation.arrays import Arrays
from latent_atlas.evaluation.scoring import score
from latent_atlas.loading import load_folder

ROOT = Path(__file__).resolve().parents[2]
MODELS = ("vae", "beta_vae", "beta_tc_vae", "factor_vae", "ada_gvae", "qlae")
PLAIN, TC, PAIRS, QUANTIZED = "vae", ("beta_tc_vae", "factor_vae"), "ada_gvae", "qlae"
UNSUPERVISED = ("vae", "beta_vae", *TC)
ITEMS = 10_000  # held out, and as many of training for the trees
TREES = {"estimator": "lightgbm", "importance": "raw"}
# name of the score -> (metric, protocol)
SCORED = {
    "mig_reference": ("mig", "reference"),
    "mig": ("mig", "atlas"),
    "dci_reference": ("dci_disentanglement", "reference"),
    "dci": ("dci_disentanglement", "atlas"),
}
SCORES = (*SCORED, "infom", "mse")
PUBLISHED = [  # dSprites; model, MIG, DCI-D, of what
    ("VAE", "0.10", "0.30", "best of sweeps, quoted from the InfoGAN-CR paper"),
    ("β-VAE", "0.21", "0.41", "the same"),
    ("FactorVAE", "0.43", "0.74", "the same"),
    ("β-TCVAE", "0.45", "0.29", "the same"),
    ("β-VAE", "0.10", "0.19", "median of 300,000 steps (recalled from Locatello et al. 2020)"),
    ("Ada-GVAE, pairs", "0.27", "0.48", "the same"),
]
INFOM = "about 0.95 on Shapes3D (recalled from Hsu et al. 2023), the best of its table"


def rescored(run: Run) -> Row:
    """Score -> its value, and the gap of each factor by protocol; kept beside the model, since trees take long."""
    kept = run.folder / "axes.json"
    if kept.exists() and (found := json.loads(kept.read_text(encoding="utf-8")))["sha256"] == run.sha256:
        return found  # type: ignore[no-any-return]
    print(f"scoring {run.model}, seed {run.seed}", flush=True)
    data = DataModule(run.job["folders"]["data"], resident=False)
    arrays = Arrays(load_folder(run.folder / "model"), data, None, ITEMS, 500)
    found = {"sha256": run.sha256, "scores": {}, "gaps": {}, "reasons": {}}
    with torch.no_grad():
        for name, (metric, protocol) in SCORED.items():
            conf = yaml.safe_load((ROOT / f"conf/evaluation/metric/{metric}.yaml").read_text(encoding="utf-8"))
            if metric.startswith("dci"):
                conf["reference"] = TREES
            entry = score(conf, arrays, "standard", protocol)[1]
            found["scores"][name], found["reasons"][name] = entry["value"], entry["reason"]
            if metric == "mig":
                found["gaps"][protocol] = entry["parts"].get("gap")
    kept.write_text(json.dumps(found, ensure_ascii=False) + "\n", encoding="utf-8")
    return found


def judged(scores: dict[tuple[str, str], dict[int, float]], best: str | None) -> list[Row]:
    """The statements of the study; ``best`` is the unsupervised model of the highest mean MIG."""

    def ask(a: str, b: str, key: str, what: str, must: bool, published: str = "") -> Row:
        question = f"{a} above {b} in {what}"
        return comparing.answered(question, scores[a, key], scores[b, key], must=must, lower=False, published=published)

    mig, dci = "MIG (reference)", "DCI-D (published form)"
    rows = [
        ask("beta_tc_vae", PLAIN, "mig_reference", mig, True, "0.45 against 0.10"),
        ask("factor_vae", PLAIN, "mig_reference", mig, True, "0.43 against 0.10"),
        *(ask(model, PLAIN, "mig", "MIG (atlas)", True) for model in TC),
        ask("beta_tc_vae", PLAIN, "dci_reference", dci, False, "0.29 against 0.30"),
        ask("factor_vae", PLAIN, "dci_reference", dci, False, "0.74 against 0.30"),
        *(ask(QUANTIZED, other, "infom", "InfoM", False, INFOM) for other in (PLAIN, "beta_tc_vae")),
    ]
    if best:
        rows[-2:-2] = [
            ask(PAIRS, best, "mig_reference", mig, False, "0.27 against 0.10 of β-VAE"),
            ask(PAIRS, best, "dci_reference", dci, False, "0.48 against 0.19 of β-VAE"),
        ]
    return rows


def page(result: Row) -> list[str]:
    """The lines of the page."""
    lines = [f"# {result['study']}: whose axes are the factors of dSprites?", "", "What was cut:", ""]
    lines += [*(f"- {line}" for line in result["cut"]), ""]
    lines += [f"Mean over {result['seeds']} seeds [95 % interval, Student's t]; larger is better but for MSE.", ""]
    head = ["model", "MIG (reference)", "MIG (atlas)", "DCI-D (published form)", "DCI-D (atlas)", "InfoM", "MSE"]
    rows = [[name, *(cell(each[key], 4 if key == "mse" else 3) for key in SCORES)] for name, each in result["models"].items()]
    lines += [*table(head, rows), "", *comparing.answers(result["answers"], 3), ""]
    names = list(next((gaps["reference"] for gaps in result["gaps"].values() if gaps["reference"]), {}))
    lines += ["The gap of each factor (reference), mean over seeds:", ""]
    rows = [
        [model, *(f"{gaps['reference'][name]:.3f}" for name in names)]
        for model, gaps in result["gaps"].items()
        if gaps["reference"]
    ]
    lines += [*table(["model", *names], rows), "", "Published, on dSprites at 64 pixels:", ""]
    return lines + table(["model", "MIG", "DCI-D", "of what"], PUBLISHED)


def mean_gaps(found: list[Row]) -> Row:
    """Protocol -> factor -> the mean gap over seeds."""
    result: Row = {}
    for protocol in ("reference", "atlas"):
        gaps = [each["gaps"][protocol] for each in found if each["gaps"].get(protocol)]
        names = set.intersection(*(set(gap) for gap in gaps)) if gaps else set()
        result[protocol] = {name: sum(gap[name] for gap in gaps) / len(gaps) for name in (gaps[0] if gaps else ()) if name in names}
    return result


def cut(runs: list[Run]) -> list[str]:
    """What a reader must know before holding the figures against published ones."""
    trainer = runs[0].trainer
    resolution = DataModule(runs[0].job["folders"]["data"], resident=False).spec.x.shape[-1]
    steps, batch = trainer["steps"], trainer["batch_size"]
    return [
        f"{steps:,} steps of {batch} ({steps * batch / 1e6:.1f} million images); published: 300,000 of 64 (19.2 million).",
        f"{resolution} pixels; published: 64.",
        "One weight a model, no search: published tables of best models choose among many, and Ada-GVAE's rival is the best here.",
        "DCI-D by LightGBM's trees in both forms; published: exact trees of scikit-learn.",
    ]


def summarize(sweep: Path, out: Path, minutes: float | None) -> str:
    """Writes study.json and README.md to ``out``; gives the page's text."""
    torch.set_num_threads(1)
    runs = [run for run in comparing.finished(sweep) if run.model in MODELS]
    found = {(run.model, run.seed): rescored(run) for run in runs}
    present = [model for model in MODELS if any(run.model == model for run in runs)]
    scores: dict[tuple[str, str], dict[int, float]] = {}
    for model in MODELS:
        own = {run.seed: found[run.model, run.seed]["scores"] for run in runs if run.model == model}
        for key in SCORED:
            scores[model, key] = {seed: each[key] for seed, each in own.items() if each[key] is not None}
        scores |= {(model, key): by_seed(runs, key, model) for key in ("infom", "mse")}
    means = {model: spread(scores[model, "mig_reference"])["mean"] for model in UNSUPERVISED}
    best = max((model for model in means if means[model] is not None), key=lambda model: means[model], default=None)
    result = {
        "study": out.name,
        "cut": cut(runs),
        "seeds": len({run.seed for run in runs}),
        "items": ITEMS,
        "minutes": comparing.minutes_of(out, minutes),
        "answers": judged(scores, best),
        "models": {model: {key: spread(scores[model, key]) for key in SCORES} for model in present},
        "gaps": {model: mean_gaps([found[model, run.seed] for run in runs if run.model == model]) for model in present},
        "published": PUBLISHED,
        "runs": [comparing.plain(run) | {"axes": found[run.model, run.seed]} for run in runs],
    }
    return comparing.write(out, result, page(result))
