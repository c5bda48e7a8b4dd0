"""Training speed, in images a second: our ``vae`` beside pythae's own loop and beside the fastest loop we can write.

Everything runs beside each other in interleaved rounds, each contestant in a process of its own that waits while others work. Times
of different minutes are never compared: a ratio is the median over the rounds of the ratio within a round. The machine's load is
part of the result.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from environment import environment
from serving import Contestant
from setting import ROOT, images
from table import machine, markdown, write

HERE = Path(__file__).resolve().parent
# The allocator settings that PyTorch's own tuning guide gives for CPUs; what ``training/allocator.py`` sets from inside.
MALLOC = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "2147483647", "MALLOC_TOP_PAD_": "134217728"}
# The goals: ours over the contestant, per (batch, precision).
GOALS = {
    ("pythae", 64, "32-true"): 1.1,
    ("pythae", 256, "32-true"): 1.7,
    ("pythae", 64, "bf16-mixed"): 1.6,
    ("pythae", 256, "bf16-mixed"): 2.4,
    ("bare", 64, "32-true"): 0.95,
    ("bare", 256, "32-true"): 0.95,
    ("bare", 64, "bf16-mixed"): 0.95,
    ("bare", 256, "bf16-mixed"): 0.95,
}
TRACKED = "vae, MLflow on"
TRACKING_COSTS = 1.05  # at most: ours without MLflow over ours with it
NO_BF16 = "bf16-mixed left out: this CPU has no instructions for it ({}), and emulated it is several times slower than float32."
BF16 = "bf16-mixed: this CPU has {}."
Round = dict[str, dict[str, float]]


def steps(batch: int, quick: bool) -> tuple[int, int]:
    """Steps before the clock starts, and timed ones."""
    # 200 steps of 64 and 30 of 256 log eight rows and six (``setting.trainer_conf``).
    timed = (16 if batch == 64 else 6) if quick else (200 if batch == 64 else 30)
    return (3, timed)


def contestants(data: Path, threads: int, folder: Path) -> dict[str, Contestant]:
    """The processes; one of ours writes to an MLflow database of its own."""
    peer = str(environment())
    common = {"OMP_NUM_THREADS": str(threads), "PYTHONWARNINGS": "ignore"}
    home = common | {"LATENT_ATLAS_HOME": str(folder)}
    wanted = {
        "vae": (sys.executable, "ours.py", [], home),
        TRACKED: (sys.executable, "ours.py", ["tracked"], home),
        "bare": (sys.executable, "bare.py", [], home),
        "pythae": (peer, "peer.py", [], common),
        "pythae, malloc set": (peer, "peer.py", [], common | MALLOC),
    }
    return {
        name: Contestant(python, HERE / script, [str(data), str(threads), *more], variables, folder / f"{name}.log")
        for name, (python, script, more, variables) in wanted.items()
    }


def same_weights(running: dict[str, Contestant], folder: Path) -> float:
    """The largest difference of any weight of ``vae`` and the bare loop after 20 steps; ends the bench if it is not rounding."""
    import torch

    states = []
    for name in ("vae", "bare"):
        path = running[name].ask(do="weights", batch=64, steps=20, path=str(folder / f"{name}.pt"))["path"]
        states.append(torch.load(path, weights_only=True))
    ours, bare = states
    worst = max(float((ours[name] - value).abs().max()) for name, value in bare.items())
    if worst > 5e-4:  # Adam moved weights by up to 20 · 1e-3; another noise or order differs by 1e-2
        sys.exit(f"bench: after 20 steps the bare loop's weights differ from vae's by {worst:.2g}: it is not the same training")
    return worst


def measure(running: dict[str, Contestant], batch: int, precision: str, rounds: int, quick: bool) -> list[Round]:
    """One dict of contestant -> images/s and images per CPU second for each round."""
    warm, timed = steps(batch, quick)
    # pythae cannot train a Bernoulli likelihood in mixed precision: it stands beside our bf16 as it is.
    asked = {name: "32-true" if name.startswith("pythae") else precision for name in running}
    found: list[Round] = []
    for number in range(rounds + 1):
        row: Round = {}
        names = list(running)
        for name in names[number % len(names) :] + names[: number % len(names)]:
            answer = running[name].ask(do="round", batch=batch, precision=asked[name], warm=warm, steps=timed)
            row[name] = {"wall": answer["items"] / answer["seconds"], "cpu": answer["items"] / answer["cpu_seconds"]}
        if number:  # the first round warms caches and kernels
            found.append(row)
            print(f"  round {number}: " + ", ".join(f"{name} {rate['wall']:.0f}" for name, rate in row.items()), flush=True)
    return found


def summarize(found: list[Round], batch: int, precision: str) -> list[dict[str, Any]]:
    """A row per contestant: its speed, and ours over it."""
    rows = []
    for name in found[0]:
        speeds = [row[name]["wall"] for row in found]
        ratios = [row["vae"]["wall"] / row[name]["wall"] for row in found]
        per_cpu = [row["vae"]["cpu"] / row[name]["cpu"] for row in found]
        rows.append(
            {
                "batch": batch,
                "precision": precision,
                "contestant": name,
                "images_per_second": statistics.median(speeds),
                "spread": [min(speeds), max(speeds)],
                "images_per_cpu_second": statistics.median([row[name]["cpu"] for row in found]),
                "ours_over_it": statistics.median(ratios),
                "ratio_spread": [min(ratios), max(ratios)],
                "ours_over_it_per_cpu_second": statistics.median(per_cpu),
                "goal": TRACKING_COSTS if name == TRACKED else GOALS.get((name, batch, precision)),
                "goal_is": "at most" if name == TRACKED else "at least",
            }
        )
    return rows


def run(chosen: argparse.Namespace, precisions: list[str], batches: list[int], rounds: int) -> dict[str, Any]:
    """Everything measured, ready for JSON."""
    before, started = machine(), time.monotonic()
    rows: list[dict[str, Any]] = []
    about: dict[str, Any] = {}
    difference = None
    with tempfile.TemporaryDirectory(prefix="latent-atlas-bench-") as temporary:
        folder = Path(temporary)
        data = images(folder / "bench")
        for precision in precisions:
            for batch in batches:
                # New processes for each: glibc raises its threshold for mmap when a large block is freed, so a process that has
                # once trained with batches of 256 is faster at 64 than a user's is.
                running = contestants(data, chosen.threads, folder)
                try:
                    if difference is None:
                        about = {name: running[name].ask(do="about") for name in ("pythae", "pythae, malloc set")}
                        for name, each in about.items():
                            print(f"{name}: {each['environment'] or 'no malloc variable'}, torch {each['torch']}")
                        difference = same_weights(running, folder)
                        print(f"the bare loop has vae's weights after 20 steps, to {difference:.1e}")
                    print(f"batch {batch}, {precision}, {chosen.threads} threads", flush=True)
                    rows += summarize(measure(running, batch, precision, rounds, chosen.quick), batch, precision)
                finally:
                    for each_running in running.values():
                        each_running.close()
    return {
        "what": "training, 64×64 Locatello network, Bernoulli, latent 10, Adam",
        "quick": chosen.quick,
        "threads": chosen.threads,
        "rounds": rounds,
        "steps": {str(batch): steps(batch, chosen.quick) for batch in batches},
        "malloc": about,
        "same_weights_after_20_steps": difference,
        "machine": {"before": before, "after": machine()},
        "minutes": (time.monotonic() - started) / 60,
        "rows": rows,
    }


def tabulate(rows: list[dict[str, Any]]) -> str:
    """The rows for people."""
    return markdown(
        ["batch", "precision", "who", "images/s", "spread", "images/CPU-s", "vae over it", "spread", "per CPU-s", "goal"],
        [
            [
                row["batch"],
                row["precision"],
                row["contestant"],
                f"{row['images_per_second']:.0f}",
                "{:.0f}-{:.0f}".format(*row["spread"]),
                f"{row['images_per_cpu_second']:.0f}",
                f"{row['ours_over_it']:.2f}",
                "{:.2f}-{:.2f}".format(*row["ratio_spread"]),
                f"{row['ours_over_it_per_cpu_second']:.2f}",
                f"{row['goal_is']} {row['goal']:.2f}" if row["goal"] else "",
            ]
            for row in rows
        ],
    )


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="bench/train.py", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="two short rounds of everything, to see that it works")
    parser.add_argument("--rounds", type=int, help="default: 7, or 2 with --quick")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--batch", type=int, action="append", help="default: 64 and 256")
    parser.add_argument("--precision", action="append", help="default: 32-true, and bf16-mixed where the CPU has it")
    chosen = parser.parse_args(arguments)
    from latent_atlas.training.fit import bf16_in_hardware

    precisions = chosen.precision or ["32-true", "bf16-mixed"][: 1 + bf16_in_hardware()]
    result = run(chosen, precisions, chosen.batch or [64, 256], chosen.rounds or (2 if chosen.quick else 7))
    result["notes"] = [(BF16 if bf16_in_hardware() else NO_BF16).format(result["machine"]["before"]["bfloat16"])]
    table = "\n".join([tabulate(result["rows"]), "", *result["notes"]])
    print("\n".join(["", table, str(result["machine"])]))
    path = write(ROOT / "bench" / "results" / ("train-quick.json" if chosen.quick else "train.json"), result, table)
    print(f"written to {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main(sys.argv[1:])
