"""Every model beside ``ae`` on the same network and data: images a second and peak memory, so that a slow loss is seen.

Each model is a process of its own, trained as a run is. A few at a time stand beside an ``ae`` of their group, in interleaved
rounds; the ratio is the median over the rounds of the ratio within a round. Memory is the most that the process has held after all
rounds, libraries and data included, and what that is above ``ae``'s. A model of pairs sees two images for each that is counted.
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

from serving import Contestant
from setting import ROOT, images, model_conf
from table import machine, markdown, write

HERE = Path(__file__).resolve().parent
BASE = "ae"
GROUP = 5  # models beside one ae: a process holds some hundred MB
BATCH = 64
FIELDS = ("factors", "pair")  # of the bench's data, beside the image
Row = dict[str, Any]


def left_out(name: str) -> str | None:
    """Why a model cannot be trained alone on images with factors."""
    from latent_atlas.building import instantiate
    from latent_atlas.data.spec import DataSpec, Field

    conf = model_conf(name)
    requires = conf["requires"]
    if requires["observation"] and "image" not in requires["observation"]:
        return f"takes {' or '.join(requires['observation'])}"
    if missing := [field for field in requires["fields"] if field not in FIELDS]:
        return f"needs the fields {', '.join(missing)}"
    if requires["first_stage"]:
        return "needs a first stage"
    fields = {"image": Field("image", (1, 64, 64), size=2), "factors": Field("factors", (5,), "int64", (3, 6, 10, 8, 8))}
    spec = DataSpec("bench", "image", fields, {"train": 64, "val": 0, "test": 0})
    return None if instantiate(conf["net"], spec=spec).players() else "is fitted, not trained step by step"


def measure(names: list[str], data: Path, folder: Path, rounds: int, timed: int) -> list[dict[str, Row]]:
    """Rounds of contestant -> its answer; ``ae`` is among them. The first round warms caches and is not kept."""
    variables = {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore", "LATENT_ATLAS_HOME": str(folder)}
    running = {
        name: Contestant(sys.executable, HERE / "ours.py", [str(data), "1", "", name], variables, folder / f"{name}.log")
        for name in names
    }
    found: list[dict[str, Row]] = []
    try:
        for number in range(rounds + 1):
            turn = number % len(names)
            order = names[turn:] + names[:turn]
            row = {name: running[name].ask(do="round", batch=BATCH, precision="32-true", warm=3, steps=timed) for name in order}
            if number:
                found.append(row)
                print(f"  round {number}: " + ", ".join(f"{name} {speed(row[name]):.0f}" for name in names), flush=True)
    finally:
        for each in running.values():
            each.close()
    return found


def speed(answer: Row) -> float:
    """Images a second."""
    return float(answer["items"] / answer["seconds"])


def summarize(found: list[dict[str, Row]], names: list[str]) -> list[Row]:
    """A row per model."""
    rows = []
    for name in names:
        ratios = [speed(row[name]) / speed(row[BASE]) for row in found]
        per_cpu = [row[name]["items"] / row[name]["cpu_seconds"] for row in found]
        base = [row[BASE]["items"] / row[BASE]["cpu_seconds"] for row in found]
        peak = found[-1][name]["peak"]
        rows.append(
            {
                "model": name,
                "images_per_second": statistics.median(speed(row[name]) for row in found),
                "over_ae": statistics.median(ratios),
                "spread": [min(ratios), max(ratios)],
                "over_ae_per_cpu_second": statistics.median(own / ae for own, ae in zip(per_cpu, base, strict=True)),
                "peak_mb": peak,
                "peak_mb_above_ae": peak - found[-1][BASE]["peak"],
            }
        )
    return rows


def run(names: list[str], rounds: int, timed: int) -> dict[str, Any]:
    """Everything measured, ready for JSON."""
    before, started = machine(), time.monotonic()
    reasons = {name: left_out(name) for name in names}
    trained = [name for name in names if reasons[name] is None and name != BASE]
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="latent-atlas-models-") as temporary:
        folder = Path(temporary)
        data = images(folder / "bench")
        for start in range(0, max(1, len(trained)), GROUP):
            group = trained[start : start + GROUP]
            rows += summarize(measure([BASE, *group], data, folder, rounds, timed), group if start else [BASE, *group])
    return {
        "what": f"training beside {BASE}: 64×64 binary images, each model's default conf and network, batch {BATCH}, 1 thread",
        "rounds": rounds,
        "steps": timed,
        "machine": {"before": before, "after": machine()},
        "minutes": (time.monotonic() - started) / 60,
        "rows": rows,
        "left_out": {name: reason for name, reason in reasons.items() if reason},
    }


def tabulate(result: dict[str, Any]) -> str:
    """The rows for people, and who is not among them."""
    table = markdown(
        ["model", "images/s", f"over {BASE}", "spread", "per CPU-s", "peak, MB", f"above {BASE}, MB"],
        [
            [
                row["model"],
                f"{row['images_per_second']:.0f}",
                f"{row['over_ae']:.2f}",
                "{:.2f}-{:.2f}".format(*row["spread"]),
                f"{row['over_ae_per_cpu_second']:.2f}",
                f"{row['peak_mb']:.0f}",
                f"{row['peak_mb_above_ae']:+.0f}",
            ]
            for row in result["rows"]
        ],
    )
    return "\n".join([table, "", *(f"Left out: {name} {reason}." for name, reason in result["left_out"].items())])


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="bench/models.py", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="two short rounds, to see that it works")
    parser.add_argument("--rounds", type=int, help="default: 3, or 2 with --quick")
    parser.add_argument("--model", action="append", help="default: all of conf/model")
    chosen = parser.parse_args(arguments)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    names = sorted(path.stem for path in (ROOT / "conf" / "model").glob("*.yaml"))
    if unknown := set(chosen.model or []) - set(names):
        sys.exit(f"bench: {unknown.pop()} is not in conf/model")
    result = run(chosen.model or names, chosen.rounds or (2 if chosen.quick else 3), 8 if chosen.quick else 25)
    result["quick"] = chosen.quick
    table = tabulate(result)
    print(f"\n{table}\n{result['machine']}")
    path = write(ROOT / "bench" / "results" / ("models-quick.json" if chosen.quick else "models.json"), result, table)
    print(f"written to {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main(sys.argv[1:])
