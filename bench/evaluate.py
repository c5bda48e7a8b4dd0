"""What ``evaluate`` takes at ``standard`` for a 64×64 model that samples in one pass: the stage as the pipeline starts it.

Twice: on a data set that no model was evaluated on, where floors and ceilings are found too, and for another model of the same
width, which finds them. The model is hardly trained: no metric takes less time for that.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
GOAL = 60.0  # seconds
SIZES = (3, 6, 40, 16, 16)  # of the factors: 184,320 images, of which a tenth is held out, more than the 10,000 of the budget
DATA = f"""
name: sprites
title: Sprites (64×64)
about: Every second place of dSprites.
reader: {{_target_: latent_atlas.data.dsprites.Dsprites, resolution: 64, sizes: {list(SIZES)}}}
split: {{val: 0.05, test: 0.1}}
reference_size: 5000
provides: {{observation: image, fields: [factors]}}
"""
PIPELINE = """
trainer: cpu
data:
  sprites: {source: conf/data/sprites.yaml}
runs:
  sprites-vae: &run {data: sprites, model: vae, needs: data/sprites, tier: core, overrides: [budget=STANDARD, trainer.steps=50]}
  sprites-beta_vae: {<<: *run, model: beta_vae}
reports:
  sprites: {scores: metrics/core/sprites}
"""


def seconds(folder: Path, *words: str) -> float:
    """Wall time of a stage; its output ends the bench if it fails."""
    variables = {**os.environ, "LATENT_ATLAS_HOME": str(folder), "PYTHONWARNINGS": "ignore"}
    start = time.perf_counter()
    done = subprocess.run([sys.executable, *words], cwd=folder, env=variables, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"bench: {' '.join(words)} ended with code {done.returncode}:\n{(done.stdout + done.stderr)[-2000:]}")
    return time.perf_counter() - start


def main(arguments: list[str]) -> None:
    from table import machine, markdown, write

    quick = "--quick" in arguments
    before, rows = machine(), []
    with tempfile.TemporaryDirectory(prefix="latent-atlas-evaluate-") as temporary:
        folder = Path(temporary)
        for name in ("src", "conf", "pipelines"):
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        (folder / "conf/data/sprites.yaml").write_text(DATA, encoding="utf-8")
        plan = PIPELINE.replace("STANDARD", "quick" if quick else "standard")
        (folder / "conf/pipeline.yaml").write_text(plan, encoding="utf-8")
        for words in (["plan.py"], ["prepare.py", "data=sprites"], ["features.py", "data=sprites"]):
            print(f"{words[0]} {seconds(folder, f'pipelines/{words[0]}', *words[1:]):.0f} s", flush=True)
        for run, what in (("sprites-vae", "first of its data set"), ("sprites-beta_vae", "floors are known")):
            seconds(folder, "pipelines/train.py", f"run={run}")
            took = seconds(folder, "pipelines/evaluate.py", f"run={run}")
            rows.append({"run": run, "what": what, "seconds": took, "goal": GOAL, "reached": took <= GOAL})
            print(f"{run} ({what}): {took:.1f} s", flush=True)
    result = {"what": "evaluate at standard, 64×64, seconds", "quick": quick, "machine": {"before": before, "after": machine()}}
    table = markdown(
        ["evaluate", "s", "goal", "reached"],
        [[row["what"], f"{row['seconds']:.1f}", f"{GOAL:g}", "yes" if row["reached"] else "no"] for row in rows],
    )
    print(f"\n{table}\n{result['machine']}")
    path = write(ROOT / "bench" / "results" / ("evaluate-quick.json" if quick else "evaluate.json"), result | {"rows": rows}, table)
    print(f"written to {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main(sys.argv[1:])
