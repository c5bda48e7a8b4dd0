"""Quality beside pythae's: ``ae``, ``vae``, ``wae`` and ``rae`` after 10 epochs on 10,000 images of fashion_mnist, two seeds.

The same images, layers, objective, optimizer, batches an epoch and samplers on both sides, each in its own training path with one
thread: ours as a run has it, with validation and checkpoints but without MLflow; pythae's pipeline out of the box. Runs alternate,
and who goes first alternates with the seed. One scorer gets the images of both. That the objective is the same is checked: with
our trained weights pythae's loss must be ours.

A figure is no worse if its mean over seeds is no larger than pythae's, or within what the seeds leave open; time must be no more.
`python bench/quality.py --model=vae --seeds=6` looks closer at one.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from environment import environment
from quality_data import Scorer, make
from quality_setting import BATCH, LATENT, LEARNING_RATE, SAMPLERS, WAE_WEIGHT
from scipy.stats import ttest_ind
from serving import Contestant
from setting import ROOT
from table import machine, markdown, write

HERE = Path(__file__).resolve().parent
WHO = ("ours", "pythae")
SEEDS = 2
SAME_LOSS = 2e-3  # of some ten nats, summed in float32 in another order
WARM = 5  # batches before anything is timed
TIMES = ("seconds", "cpu_seconds")
COLUMNS = {
    "mse": "MSE",
    "fid, reconstructions": "FID, reconstructions",
    "fid, prior": "FID, N(0, I)",
    "fid, gaussian": "FID, Gaussian",
    "fid, mixture": "FID, mixture of 10",
}
Row = dict[str, Any]


def contestants(folder: Path) -> dict[str, Contestant]:
    """Both sides, each a process that trains when it is asked."""
    common = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    wanted = {
        "ours": (sys.executable, "quality_ours.py", common | {"LATENT_ATLAS_HOME": str(folder)}),
        "pythae": (str(environment()), "quality_peer.py", common),
    }
    return {
        who: Contestant(python, HERE / script, [str(folder)], variables, folder / f"{who}.log")
        for who, (python, script, variables) in wanted.items()
    }


def same_loss(running: dict[str, Contestant], model: str, folder: Path) -> float:
    """How far pythae's loss of our trained weights is from ours; ends the bench if that is not rounding."""
    path = str(folder / "weights.pt")
    ours = running["ours"].ask(do="loss", model=model, path=path)
    theirs = running["pythae"].ask(do="loss", model=model, path=path, seed=ours["seed"])
    if abs(ours["loss"] - theirs["loss"]) > SAME_LOSS:
        sys.exit(
            f"bench: {model}: with the same weights our loss is {ours['loss']:.5f}, pythae's {theirs['loss']:.5f}: not the same"
        )
    return float(theirs["loss"] - ours["loss"])


def measure(
    running: dict[str, Contestant], folder: Path, epochs: int, items: int, models: list[str], seeds: range
) -> tuple[list[Row], dict[str, float]]:
    """A row per model, seed and side; and how far the losses of each model are apart."""
    for each in running.values():
        each.ask(do="train", model="ae", seed=0, epochs=1, items=WARM * BATCH)
    score, started, rows, apart = Scorer(folder), time.monotonic(), [], {}
    total = len(models) * len(seeds) * len(WHO)
    for model in models:
        for number, seed in enumerate(seeds):
            for who in WHO if number % 2 == 0 else WHO[::-1]:
                row = running[who].ask(do="train", model=model, seed=seed, epochs=epochs, items=items)
                running[who].ask(do="images", model=model, seed=seed, path=str(folder / "images-of-one.npz"))
                rows.append({"model": model, "who": who, "seed": seed, **row, **score(folder / "images-of-one.npz")})
                (folder / "images-of-one.npz").unlink()
                left = (time.monotonic() - started) / len(rows) * (total - len(rows)) / 60
                figures = ", ".join(f"{name} {rows[-1][name]:.4g}" for name in COLUMNS if name in rows[-1])
                print(
                    f"  {len(rows)}/{total} {model}, seed {seed}, {who}: {row['seconds']:.1f} s, {figures}; {left:.1f} min left",
                    flush=True,
                )
            if model not in apart:
                apart[model] = same_loss(running, model, folder)
                print(f"  {model}: with our weights pythae's loss is ours, to {abs(apart[model]):.1e}", flush=True)
    return rows, apart


def no_worse(ours: list[float], theirs: list[float]) -> bool:
    """Smaller is better: a mean that is no larger, or one that the seeds cannot tell from it.

    Of two seeds Welch's interval would hold almost anything: their ranges have to overlap, which is stricter.
    """
    if statistics.mean(ours) <= statistics.mean(theirs):
        return True
    if len(ours) < 3:
        return min(ours) <= max(theirs)
    return float(ttest_ind(ours, theirs, equal_var=False).confidence_interval(0.95).low) <= 0


def judge(rows: list[Row]) -> list[Row]:
    """Model by model: each figure's verdict, and our time over pythae's."""
    found = []
    for model in dict.fromkeys(row["model"] for row in rows):
        mine, peer = ([row for row in rows if (row["model"], row["who"]) == (model, who)] for who in WHO)
        if len({row["parameters"] for row in mine + peer}) > 1:
            sys.exit(f"bench: {model}: not the same network, {mine[0]['parameters']} and {peer[0]['parameters']} parameters")
        verdict: Row = {"model": model}
        for name in (name for name in COLUMNS if name in mine[0]):
            verdict[name] = no_worse([row[name] for row in mine], [row[name] for row in peer])
        for name in TIMES:
            verdict[name] = statistics.mean(row[name] for row in mine) / statistics.mean(row[name] for row in peer)
        found.append(verdict)
    return found


def words(verdict: Row) -> str:
    """A verdict for people."""
    worse = [COLUMNS[name] for name in COLUMNS if verdict.get(name) is False]
    more = "more" if verdict["seconds"] > 1 else "no more"
    quality = f"worse: {', '.join(worse)}" if worse else "no worse"
    return f"{quality}; {more} time ({verdict['seconds']:.2f}, CPU {verdict['cpu_seconds']:.2f})"


def cell(rows: list[Row], name: str, digits: int) -> str:
    """Mean and range over seeds."""
    values = [row[name] for row in rows if name in row]
    return f"{statistics.mean(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})" if values else ""


def tabulate(result: Row) -> str:
    """One table of both sides, and what its words mean."""
    lines = []
    for verdict in result["verdicts"]:
        for who in WHO:
            mine = [row for row in result["rows"] if (row["model"], row["who"]) == (verdict["model"], who)]
            figures = [cell(mine, name, 5 if name == "mse" else 2) for name in COLUMNS]
            times = [cell(mine, name, 1) for name in TIMES]
            lines.append([verdict["model"], who, *figures, *times, words(verdict) if who == "ours" else ""])
    table = markdown(["model", "who", *COLUMNS.values(), "training, s", "CPU, s", "ours beside pythae's"], lines)
    return "\n".join([table, "", *result["notes"]])


def notes(result: Row) -> list[str]:
    """What the table holds for."""
    card, setting = result["extractor"], result["setting"]
    return [
        f"{setting['train']:,} training images of fashion_mnist, {setting['epochs']} epochs, batches of {setting['batch']}; "
        f"figures of {setting['held_out']:,} held-out images and as many samples. Mean over {len(setting['seeds'])} seeds (range).",
        f"One extractor for all, {card['name']}, {card['dimensions']} dimensions, accuracy {card['accuracy']:.3f}; "
        f"as many other real images have FID {card['real_vs_real']['fid']:.2f}.",
        "No worse: a mean no larger than pythae's, or "
        + (
            "ranges of the seeds that overlap"
            if len(setting["seeds"]) < 3
            else "a 95 % interval of the difference (Welch) that holds 0"
        )
        + ". Time: the ratio of the means.",
        "With our trained weights pythae's loss is ours to "
        + ", ".join(f"{abs(apart):.0e} ({model})" for model, apart in result["losses_apart"].items())
        + f". pythae's defaults but for wae's weight ({WAE_WEIGHT:g}, the paper's, for 0.03).",
    ]


def run(epochs: int, train: int, held_out: int, models: list[str], seeds: range) -> Row:
    """Everything measured, ready for JSON."""
    before, started = machine(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="latent-atlas-quality-") as temporary:
        folder = Path(temporary)
        card = make(folder, train, held_out)
        print(f"data and extractor made in {time.monotonic() - started:.0f} s", flush=True)
        running = contestants(folder)
        try:
            rows, apart = measure(running, folder, epochs, train, models, seeds)
        finally:
            for each in running.values():
                each.close()
    setting = {"train": train, "held_out": held_out, "epochs": epochs, "batch": BATCH, "latent": LATENT, "lr": LEARNING_RATE}
    result: Row = {
        "what": "quality beside pythae 0.1.2: the same images, network, objective, optimizer, epochs and samplers, 1 thread",
        "setting": setting | {"wae_weight": WAE_WEIGHT, "seeds": list(seeds)},
        "extractor": card,
        "losses_apart": apart,
        "rows": rows,
        "verdicts": judge(rows),
        "machine": {"before": before, "after": machine()},
        "minutes": (time.monotonic() - started) / 60,
    }
    return result | {"notes": notes(result)}


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="bench/quality.py", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="one epoch of 1,000 images, to see that it works")
    parser.add_argument("--model", action="append", choices=list(SAMPLERS), help="default: all; else the result has its name")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="how many, from 0 on; default: 2")
    chosen = parser.parse_args(arguments)
    size = (1, 1000, 1000) if chosen.quick else (10, 10_000, 10_000)
    result = run(*size, chosen.model or list(SAMPLERS), range(chosen.seeds))
    result["quick"] = chosen.quick
    table = tabulate(result)
    print(f"\n{table}\n{result['machine']}")
    name = "-".join(["quality", *(chosen.model or []), *["quick"][: chosen.quick]])
    path = write(ROOT / "bench" / "results" / f"{name}.json", result, table)
    print(f"written to {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main(sys.argv[1:])
