"""Do single axes of β-TCVAE carry the x and the y position of a sprite?

Reached if, in the median seed of beta_tc_vae, x and y each have normalised mutual information of at least 0.5 with one latent, and
at least 0.3 more than with the next. Information is that of the metric MIG (20 bins of equal mass, Miller-Madow), on 10,000
held-out images; the curve over steps comes from the weights kept along the way.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from numpy.typing import NDArray

from latent_atlas.data.datamodule import DataModule
from latent_atlas.loading import load_folder
from latent_atlas.metrics.information import quantile_miller_madow

MODEL, PLACES = "beta_tc_vae", ("x", "y")
INFORMATION, GAP = 0.5, 0.3
ITEMS, BINS = 10_000, 20
CRITERION = (
    f"in the median seed of {MODEL}, x and y each have normalised mutual information ≥ {INFORMATION} with one latent "
    f"and a gap ≥ {GAP} to the next."
)
Row = dict[str, Any]


def held_out(data: DataModule) -> NDArray[np.int64]:
    """The same test items for every model."""
    rows = data.rows("test")
    return np.sort(np.random.default_rng(0).permutation(rows)[:ITEMS])


def encoded(model: Any, data: DataModule, rows: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Codes (N, d), factors (N, K) and the mean KL of each dimension (d,)."""
    codes, factors, rates = [], [], []
    with torch.no_grad():
        for part in np.array_split(rows, max(1, len(rows) // 500)):
            batch = data.take(part)
            q = model.encode(batch[data.spec.observation])
            codes.append(model.space.coordinates(q.mode).numpy())
            factors.append(batch["factors"].numpy())
            rates.append(q.kl_per_dimension().numpy())
    return np.concatenate(codes), np.concatenate(factors), np.concatenate(rates).mean(0)


def information(codes: NDArray[Any], factors: NDArray[Any], names: list[str]) -> dict[str, Row]:
    """Factor -> the largest normalised mutual information with a dimension, that dimension, the next, and the gap."""
    found = quantile_miller_madow(codes, factors, BINS)
    share = found.mutual / found.entropy
    rows = {}
    for k, name in enumerate(names):
        order = np.argsort(-share[:, k])
        best, second = (float(share[j, k]) for j in order[:2])
        rows[name] = {
            "best": round(best, 4),
            "second": round(second, 4),
            "gap": round(best - second, 4),
            "dimension": int(order[0]),
        }
    return rows


def margin(row: dict[str, Row]) -> float:
    """How far a model is beyond the criterion; negative where it falls short."""
    return min(min(row[place]["best"] - INFORMATION, row[place]["gap"] - GAP) for place in PLACES)


def median(rows: list[Row]) -> Row:
    """The run of the middle margin (the lower one of an even number)."""
    return sorted(rows, key=lambda row: row["margin"])[(len(rows) - 1) // 2]


def measured(folder: Path, job: Row) -> Row:
    """One job: its scores, and the information over its steps."""
    data = DataModule(job["folders"]["data"], resident=False)
    names, rows = list(data.card["factors"]["names"]), held_out(data)
    model = load_folder(folder / "model")
    codes, factors, rates = encoded(model, data, rows)
    final = information(codes, factors, names)
    curve = []
    for snapshot in sorted((folder / "model" / "steps").glob("step-*.pt"), key=lambda path: int(path.stem[5:])):
        model.load_state_dict(torch.load(snapshot, map_location="cpu", weights_only=True))
        at = information(*encoded(model, data, rows)[:2], names)
        curve.append({"step": int(snapshot.stem[5:]), "margin": round(margin(at), 4), **{name: at[name] for name in names}})
    record = json.loads((folder / "model" / "train.json").read_text())
    trainer = yaml.safe_load((folder / "model" / "config.yaml").read_text())["trainer"]
    scores = json.loads((folder / "scores.json").read_text())
    return {
        "model": job["model"],
        "seed": job["seed"],
        "steps": record["step"],
        "images": record["step"] * trainer["batch_size"],
        "parameters": record["parameters"],
        "information": final,
        "margin": round(margin(final), 4),
        "kl_per_dimension": [round(float(rate), 3) for rate in rates],
        "scores": {key: scores[key] for key in ("mse", "mig", "nelbo", "distortion", "rate") if key in scores},
        "curve": curve,
    }


def draw(runs: list[Row], path: Path) -> None:
    """Best and second information of x and y over steps, a panel per model, a line per seed."""
    import matplotlib as mpl

    mpl.use("agg")
    import matplotlib.pyplot as plt

    models = sorted({run["model"] for run in runs})
    figure, axes = plt.subplots(1, len(models), figsize=(4.8 * len(models), 3.2), sharey=True, squeeze=False)
    for axis, model in zip(axes[0], models, strict=True):
        for run in (run for run in runs if run["model"] == model):
            for place, colour in zip(PLACES, ("#1f5fa8", "#c2571a"), strict=True):
                for kind, style in (("best", "-"), ("second", ":")):
                    label = f"{place}, {kind} latent" if run["seed"] == min(r["seed"] for r in runs) else None
                    steps = [point["step"] for point in run["curve"]]
                    axis.plot(steps, [point[place][kind] for point in run["curve"]], style, color=colour, lw=1.2, label=label)
        axis.axhline(INFORMATION, color="#888", lw=0.8)
        axis.set(title=model, xlabel="step", ylim=(0, 1))
    axes[0][0].set_ylabel("mutual information / entropy")
    axes[0][-1].legend(frameon=False, fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)


def page(result: Row) -> str:
    """The result as a page of text."""
    mid = result["median_seed"]
    verdict = "reached" if result["reached"] else "not reached"
    lines = [
        "# dsprites_first: does one axis carry one coordinate?",
        "",
        f"{verdict.capitalize()}: {CRITERION} The median seed is {mid['seed']}.",
        "",
        "| model | seed | x: best, next, gap | y: best, next, gap | MIG | MSE |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for run in result["runs"]:
        cells = ["{best:.2f}, {second:.2f}, {gap:.2f}".format(**run["information"][place]) for place in PLACES]
        scores = [f"{run['scores'][key]:.4g}" if key in run["scores"] else "" for key in ("mig", "mse")]
        lines.append(f"| {' | '.join([run['model'], str(run['seed']), *cells, *scores])} |")
    lines += ["", "Best (solid) and next (dotted) latent of every seed over the steps:", "", "![curves](curve.png)", ""]
    for model in sorted({run["model"] for run in result["runs"]}):
        seed = median([run for run in result["runs"] if run["model"] == model])["seed"]
        lines += [f"Traversals of {model}, seed {seed} (the median one):", "", f"![traversals](traversals-{model}-s{seed}.png)", ""]
    return "\n".join(lines)


def summarize(sweep: Path, out: Path, minutes: float | None) -> str:
    """Writes study.json, README.md, curve.png and the traversals of every run to ``out``; gives the page's text."""
    torch.set_num_threads(1)
    jobs = sorted(((file.parent, yaml.safe_load(file.read_text())) for file in sweep.glob("*/job.yaml")), key=lambda j: j[0].name)
    runs = [measured(folder, job) for folder, job in jobs]
    chosen = [run for run in runs if run["model"] == MODEL]
    if not chosen:
        raise SystemExit(f"study: no finished job of {MODEL} in {sweep}")
    mid = median(chosen)
    out.mkdir(parents=True, exist_ok=True)
    before = json.loads((out / "study.json").read_text()).get("minutes") if (out / "study.json").exists() else None
    result = {
        "study": "dsprites_first",
        "criterion": CRITERION,
        "reached": mid["margin"] >= 0,
        "median_seed": {key: mid[key] for key in ("seed", "margin", "information")},
        "items": ITEMS,
        "bins": BINS,
        "minutes": before if minutes is None else round(minutes, 1),
        "runs": runs,
    }
    (out / "study.json").write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    for folder, job in jobs:
        picture = folder / "evaluation" / "traversals.png"
        if picture.exists():
            shutil.copy(picture, out / f"traversals-{job['model']}-s{job['seed']}.png")
    draw(runs, out / "curve.png")
    text = page(result)
    (out / "README.md").write_text(text, encoding="utf-8")
    return text
