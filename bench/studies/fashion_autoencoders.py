"""Which autoencoder, and which sampler, on pictures that are binarized anew at each step?

Scores are those of each job's evaluation; statements are judged by the differences between models of the same seed, which share the
order of the data, the held-out items and their draws. IWAE stopped at the CPU time of VAE is the snapshot of its training at as
many updates as fit into that time, by the measured cost of an update.
"""

from __future__ import annotations

import json
import statistics
import time
from pathlib import Path
from typing import Any

import comparing
import torch
import yaml
from comparing import Row, Run, by_seed, cell, spread, table

from latent_atlas.data.datamodule import DataModule
from latent_atlas.evaluation.arrays import Arrays
from latent_atlas.loading import load_folder
from latent_atlas.metrics.likelihood import nll

MODELS = ("ae", "vae", "iwae", "vamp_vae")
SCORES = ("nll", "nelbo", "fid", "fid_gaussian", "fid_mixture", "fid_recon", "mse")
BLOCKS, UPDATES = 5, 40  # of the measured cost of an update: alternating blocks of so many
LIKELIHOODS = [  # benchmark_VAE, examples/scripts/reproducibility: model, data, score, reproduced there, in the paper
    ("VAE", "binary MNIST", "NLL (200)", "89.78", "89.9"),
    ("IWAE, K = 50", "binary MNIST", "NLL (5000)", "86.82", "87.1"),
    ("HVAE, 4 leapfrog steps", "binary MNIST", "NLL (1000)", "86.21", "86.40"),
    ("VAMP, 500 pseudo-inputs", "binary MNIST", "NLL (5000)", "85.79", "85.57"),
    ("MIWAE / PIWAE / CIWAE", "dynamically binarized MNIST", "NLL (5000)", "85.09 / 84.58 / 84.74", "84.97 / 84.46 / 84.57"),
    ("SVAE, d = 10", "dynamically binarized MNIST", "NLL (500)", "93.13", "93.16"),
    ("Poincaré VAE, wrapped normal", "MNIST", "NLL (500)", "101.66", "101.47"),
    ("RAE-L2 / RAE-GP", "MNIST", "FID", "9.1 / 9.7", "9.9 / 9.4"),
]
SAMPLERS = [  # Ghosh et al. 2020 (arXiv 1903.12436), table 1, MNIST: Inception FID
    ("AE", "12.95", "58.73", "10.66"),
    ("VAE", "18.26", "19.21", "17.66"),
    ("WAE", "10.03", "20.42", "9.39"),
    ("RAE-L2", "10.53", "22.22", "8.69"),
]


def cost(run: Run, data: DataModule) -> Any:
    """A function that gives the CPU seconds of one update of the run's model, from a block of them."""
    model = load_folder(run.folder / "model").train()
    (player,) = model.players().values()
    optimizer, at = player.optimizer(player.parameters()), [0]

    def block() -> float:
        started = time.process_time()
        for batch in data.train_batches(at[0], at[0] + UPDATES, run.seed, run.trainer["batch_size"]):
            optimizer.zero_grad()
            model.loss(batch, "model").total.backward()
            optimizer.step()
        at[0] += UPDATES
        return (time.process_time() - started) / UPDATES

    return block


def relative_cost(vae: Run, iwae: Run) -> float:
    """CPU time of an update of IWAE over that of VAE: the median over blocks that alternate, so that both meet the same machine."""
    data = DataModule(vae.job["folders"]["data"], resident=False)
    blocks = [cost(run, data) for run in (vae, iwae)]
    pairs = [[block() for block in blocks] for _ in range(BLOCKS + 1)][1:]  # the first warms up
    return statistics.median(b / a for a, b in pairs)


def stopped(run: Run, updates: float) -> Row:
    """The run's last snapshot within so many updates, and its NLL in the way of the job's evaluation."""
    steps = {int(path.stem[5:]): path for path in (run.folder / "model" / "steps").glob("step-*.pt")}
    if not (within := [step for step in steps if step <= updates]):
        return {"step": None, "nll": None}
    settings = yaml.safe_load((run.folder / "plan.yaml").read_text(encoding="utf-8"))["evaluate"]["evaluation"]
    model = load_folder(run.folder / "model")
    model.load_state_dict(torch.load(steps[max(within)], map_location="cpu", weights_only=True))
    data = DataModule(run.job["folders"]["data"], resident=False)
    arrays = Arrays(model, data, None, settings["n_samples"], settings["batch_size"], settings["seed"], settings)
    with torch.no_grad():
        return {"step": max(within), "nll": nll(arrays.get("log_weights")).value}


def equal_time(runs: list[Run], sweep: Path) -> Row:
    """IWAE at the CPU time of VAE: the cost of an update, and step and NLL of each seed; measured once for the same weights."""
    vae, iwae = ([run for run in runs if run.model == model] for model in ("vae", "iwae"))
    if not (vae and iwae):
        return {"cost": None, "seeds": {}}
    kept, mark = sweep / "equal_time.json", [run.sha256 for run in (*vae, *iwae)]
    if kept.exists() and (found := json.loads(kept.read_text(encoding="utf-8")))["mark"] == mark:
        return found["result"]  # type: ignore[no-any-return]
    ratio = relative_cost(vae[0], iwae[0])
    result = {"cost": ratio, "seeds": {str(run.seed): stopped(run, run.trainer["steps"] / ratio) for run in iwae}}
    kept.write_text(json.dumps({"mark": mark, "result": result}) + "\n", encoding="utf-8")
    return result


def judged(runs: list[Run], stops: Row) -> list[Row]:
    """The statements of the study."""
    ask = comparing.answered
    early = {int(seed): found["nll"] for seed, found in stops["seeds"].items() if found["nll"] is not None}
    score = {(model, metric): by_seed(runs, metric, model) for model in MODELS for metric in SCORES}
    vae, iwae = score["vae", "nll"], score["iwae", "nll"]
    return [
        ask(
            "ae: a mixture of 10 below one fitted Gaussian in FID",
            score["ae", "fid_mixture"], score["ae", "fid_gaussian"], must=True, published="10.66 against 58.73",
        ),
        ask(
            "vae: a mixture of 10 below the prior in FID",
            score["vae", "fid_mixture"], score["vae", "fid"], must=False, published="17.66 against 19.21",
        ),
        ask("iwae below vae in NLL at equal updates", iwae, vae, must=True, published="86.82 (K = 50) against 89.78"),
        ask("iwae below vae in NLL at equal CPU time", early, vae, must=False),
        ask("vamp_vae below vae in NLL", score["vamp_vae", "nll"], vae, must=False, published="85.79 (500 inputs) against 89.78"),
    ]  # fmt: skip


def settings(runs: list[Run]) -> Row:
    """What the runs share: data, updates, importance weights."""
    first = runs[0]
    card = json.loads((Path(first.job["folders"]["data"]) / "card.json").read_text(encoding="utf-8"))
    plan = yaml.safe_load((first.folder / "plan.yaml").read_text(encoding="utf-8"))["evaluate"]["evaluation"]
    items = card["spec"]["sizes"]["train"]
    nets = {run.model: run.net for run in runs}
    return {
        "data": first.job["data"],
        "steps": first.trainer["steps"],
        "batch_size": first.trainer["batch_size"],
        "passes": round(first.trainer["steps"] * first.trainer["batch_size"] / items, 1),
        "latent_sizes": sorted({run.latent_size for run in runs}),
        "seeds": sorted({run.seed for run in runs}),
        "samples": nets.get("iwae", {}).get("samples"),
        "components": nets.get("vamp_vae", {}).get("space", {}).get("prior", {}).get("components"),
        "importance_items": min(plan["importance_items"], plan["n_samples"], card["spec"]["sizes"]["test"]),
        "importance_samples": plan["importance_samples"],
    }


def cut(found: Row) -> list[str]:
    """What a reader must know before holding the figures against published ones."""
    passes = f"{found['passes']:g} passes over the training items ({found['steps']:,} updates of {found['batch_size']})"
    lines = [
        f"{passes}; the published runs have hundreds.",
        f"NLL with {found['importance_samples']:,} draws on {found['importance_items']:,} held-out items, the same for all.",
        f"Latent size {found['latent_sizes'][0]}; iwae has K = {found['samples']}, vamp_vae {found['components']} pseudo-inputs.",
        "FID by the data set's own classifier, of the decoder's means from binarized items: not comparable with Inception FID.",
    ]
    stand_in = f"{found['data']}, binarized anew at each step, stands for MNIST: no figure is comparable with one of MNIST."
    return lines if found["data"] == "mnist" else [stand_in, *lines]


def page(result: Row) -> list[str]:
    """The lines of the page."""
    found, stops = result["settings"], result["equal_time"]
    lines = [f"# {result['study']}: likelihoods and samplers", "", "What was cut:", ""]
    lines += [*(f"- {line}" for line in result["cut"]), ""]
    lines += [
        f"Mean over {len(found['seeds'])} seeds [95 % interval, Student's t]; NLL and the bound in nats, smaller is better.",
        "",
    ]
    head = ["model", "NLL", "negative ELBO", "FID, own prior", "one Gaussian", "mixture of 10", "reconstructions", "MSE"]
    rows = [[name, *(cell(each[key], 4 if key == "mse" else 2) for key in SCORES)] for name, each in result["models"].items()]
    lines += [*table(head, rows), "", *comparing.answers(result["answers"]), ""]
    if stops["cost"]:
        steps = ", ".join(f"{each['step']:,}" for each in stops["seeds"].values() if each["step"])
        lines += [f"An update of iwae takes {stops['cost']:.2f} times the CPU time of one of vae; it was stopped at {steps}.", ""]
    source = "[benchmark_VAE](https://github.com/clementchadebec/benchmark_VAE), examples/scripts/reproducibility"
    lines += [f"Published, from {source}; in brackets the draws:", ""]
    lines += table(["model", "data", "score", "reproduced", "in the paper"], LIKELIHOODS)
    lines += ["", "Published FID on MNIST, Ghosh et al. 2020 (arXiv 1903.12436), table 1:", ""]
    return lines + table(["model", "reconstructions", "prior or one Gaussian", "mixture of 10"], SAMPLERS)


def summarize(sweep: Path, out: Path, minutes: float | None) -> str:
    """Writes study.json and README.md to ``out``; gives the page's text."""
    torch.set_num_threads(1)
    runs = [run for run in comparing.finished(sweep) if run.model in MODELS]
    stops, found = equal_time(runs, sweep), settings(runs)
    present = [model for model in MODELS if any(run.model == model for run in runs)]
    result = {
        "study": out.name,
        "settings": found,
        "cut": cut(found),
        "minutes": comparing.minutes_of(out, minutes),
        "answers": judged(runs, stops),
        "models": {model: {key: spread(by_seed(runs, key, model)) for key in SCORES} for model in present},
        "equal_time": stops,
        "published": {"likelihoods": LIKELIHOODS, "samplers": SAMPLERS},
        "runs": [comparing.plain(run) for run in runs],
    }
    return comparing.write(out, result, page(result))
