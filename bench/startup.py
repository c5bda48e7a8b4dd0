"""What starting costs: a stage on a zero-step run beside the bare imports of its libraries, in one run and in turns.

Each stage runs as the pipeline starts it, in a process of its own, on the digits, in a directory that is thrown
away; the database exists before the clock starts, as it does in a pipeline.
"""

from __future__ import annotations

import argparse
import functools
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from table import machine, markdown, write

ROOT = Path(__file__).resolve().parents[1]
RUN = "digits-vae"
LIBRARIES = {
    "train": "import torch, pytorch_lightning, mlflow",
    "evaluate": "import torch, torchmetrics, mlflow",
    "plan": "import hydra",
    "train --help": "import hydra",
    "train --cfg job": "import hydra",
    "dvc repro, nothing to do": "import dvc.repo",
}
ABOVE_IMPORTS = {"train": 2.5, "evaluate": 1.5}  # seconds; the goals
IN_ALL = {"plan": 3.0, "train --help": 1.0, "train --cfg job": 1.0, "dvc repro, nothing to do": 3.0}
NOTHING = "dvc repro, nothing to do"  # in this very checkout, with all of its runs; the other stages run in one of their own
Command = list[str]
Times = dict[str, list[tuple[float, float]]]


def place(folder: Path) -> None:
    """A checkout of its own: code and configuration as they are here, with one planned, prepared and trained run."""
    for name in ("src", "conf", "pipelines"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    keep = f"  {RUN}: {{data: digits, model: vae, needs: data/digits, tier: core, overrides: [trainer.steps=0]}}\n"
    path = folder / "conf" / "pipeline.yaml"
    head, _, tail = path.read_text(encoding="utf-8").partition("runs:\n")
    path.write_text(f"{head}runs:\n{keep}reports:{tail.partition('reports:')[2]}", encoding="utf-8")
    # The other pages would have no run on them.
    head, _, _ = path.read_text(encoding="utf-8").partition("reports:")
    path.write_text(f"{head}reports:\n  digits: {{scores: metrics/core/digits}}\n", encoding="utf-8")


def commands() -> dict[str, Command]:
    """What the pipeline calls."""
    return {
        "train": ["pipelines/train.py", f"run={RUN}"],
        "evaluate": ["pipelines/evaluate.py", f"run={RUN}"],
        "plan": ["pipelines/plan.py"],
        "train --help": ["pipelines/train.py", "--help"],
        "train --cfg job": ["pipelines/train.py", "--cfg", "job"],
    } | ({NOTHING: ["-m", "dvc", "repro"]} if up_to_date() else {})


@functools.cache
def up_to_date() -> bool:
    """Whether ``dvc repro`` has nothing to do in this checkout; if it had, measuring it would train for minutes."""
    done = subprocess.run([sys.executable, "-m", "dvc", "status", "--quiet"], cwd=ROOT, capture_output=True, check=False)
    if done.returncode:
        print(f"{NOTHING}: left out, since this checkout is not up to date; `make repro` first", flush=True)
    return done.returncode == 0


def seconds(command: Command, folder: Path, variables: dict[str, str]) -> tuple[float, float]:
    """Wall and CPU time of a process (the latter says more on a busy machine); its output ends the bench if it fails."""
    used, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run([sys.executable, *command], cwd=folder, env=variables, capture_output=True, text=True, check=False)
    took, now = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(f"bench: {' '.join(command)} ended with code {done.returncode}:\n{(done.stdout + done.stderr)[-2000:]}")
    return took, now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime


def measure(folder: Path, rounds: int) -> dict[str, Times]:
    """Stage -> wall and CPU times of the stage and of its bare imports, one pair per round."""
    variables = {**os.environ, "LATENT_ATLAS_HOME": str(folder), "PYTHONWARNINGS": "ignore", "HYDRA_FULL_ERROR": "1"}
    for warm in (["pipelines/plan.py"], ["pipelines/prepare.py", "data=digits"], ["pipelines/features.py", "data=digits"]):
        seconds(warm, folder, variables)
    for stage in ("train", "evaluate"):  # makes the database, the model and the bytecode
        seconds(commands()[stage], folder, variables)
    found: dict[str, Times] = {stage: {"stage": [], "imports": []} for stage in commands()}
    for number in range(rounds):
        for stage, command in commands().items():
            pair = [("imports", ["-c", LIBRARIES[stage]]), ("stage", command)]
            for name, each in pair if number % 2 else reversed(pair):
                found[stage][name].append(seconds(each, ROOT if stage == NOTHING else folder, variables))
        print(
            f"round {number + 1}: " + ", ".join(f"{stage} {times['stage'][-1][0]:.2f} s" for stage, times in found.items()),
            flush=True,
        )
    return found


def judge(stage: str, times: Times) -> dict[str, Any]:
    """Medians, what is asked of the stage and whether it holds."""
    whole, bare = (statistics.median(wall for wall, _ in times[name]) for name in ("stage", "imports"))
    pairs = list(zip(times["stage"], times["imports"], strict=True))
    above, above_cpu = (statistics.median(stage_[k] - bare_[k] for stage_, bare_ in pairs) for k in (0, 1))
    goal, value = (ABOVE_IMPORTS[stage], above) if stage in ABOVE_IMPORTS else (IN_ALL[stage], whole)
    return {
        "stage": stage,
        "imports": LIBRARIES[stage],
        "seconds": whole,
        "import_seconds": bare,
        "above_imports": above,
        "cpu_seconds": statistics.median(cpu for _, cpu in times["stage"]),
        "cpu_seconds_above_imports": above_cpu,
        "spread": [min(wall for wall, _ in times["stage"]), max(wall for wall, _ in times["stage"])],
        "goal": f"{'imports + ' if stage in ABOVE_IMPORTS else ''}{goal:g} s",
        "reached": value <= goal,
    }


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="bench/startup.py", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="one round")
    parser.add_argument("--rounds", type=int, help="default: 5, or 1 with --quick")
    chosen = parser.parse_args(arguments)
    before = machine()
    with tempfile.TemporaryDirectory(prefix="latent-atlas-startup-") as temporary:
        place(Path(temporary))
        found = measure(Path(temporary), chosen.rounds or (1 if chosen.quick else 5))
    rows = [judge(stage, times) for stage, times in found.items()]
    result = {"what": "start-up, seconds", "quick": chosen.quick, "machine": {"before": before, "after": machine()}, "rows": rows}
    table = markdown(
        ["stage", "bare imports", "s", "the stage, s", "spread", "above imports, s", "CPU s", "goal", "reached"],
        [
            [
                row["stage"],
                row["imports"].removeprefix("import "),
                f"{row['import_seconds']:.2f}",
                f"{row['seconds']:.2f}",
                "{:.2f}-{:.2f}".format(*row["spread"]),
                f"{row['above_imports']:.2f}",
                f"{row['cpu_seconds']:.2f}",
                row["goal"],
                "yes" if row["reached"] else "no",
            ]
            for row in rows
        ],
    )
    print(f"\n{table}\n{result['machine']}")
    path = write(ROOT / "bench" / "results" / ("startup-quick.json" if chosen.quick else "startup.json"), result, table)
    print(f"written to {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main(sys.argv[1:])
