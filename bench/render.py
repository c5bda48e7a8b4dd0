"""Time, peak memory and size of drawing and storing the whole dSprites at 64 pixels (with ``--quick`` at 32)."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
# The goals at 64 px: seconds, MiB, MB (736 thousand images of 4096 bits).
GOALS = {"wall_seconds": 60.0, "peak_mib": 1024.0, "megabytes": 378.0}


def measure(resolution: int) -> dict[str, Any]:
    """Draws the set in this process, which has done nothing else: its peak is that of the drawing."""
    sys.path.insert(0, str(ROOT / "src"))
    from latent_atlas.data.prepare import prepare

    reader = {"_target_": "latent_atlas.data.dsprites.Dsprites", "resolution": resolution}
    data = {"reader": reader, "split": {"val": 0.05, "test": 0.1}, "reference_size": 5000}
    with tempfile.TemporaryDirectory() as folder:
        wall, cpu = time.perf_counter(), time.process_time()
        card = prepare({"name": "dsprites", "data": data}, Path(folder) / "dsprites")
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        sizes = [file.stat().st_size for file in (Path(folder) / "dsprites").iterdir()]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    return {
        "resolution": resolution,
        "images": sum(card["spec"]["sizes"].values()),
        "wall_seconds": wall,
        "cpu_seconds": cpu,
        "peak_mib": peak,
        "megabytes": max(sizes) / 1e6,  # the images; all else is small
        "directory_megabytes": sum(sizes) / 1e6,
    }


def main(arguments: list[str]) -> None:
    from table import machine, markdown, write

    quick = "--quick" in arguments
    before = machine()
    words = [sys.executable, str(Path(__file__).resolve()), "measure", "32" if quick else "64"]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(f"bench: drawing dSprites ended with code {done.returncode}")
    found = json.loads(done.stdout.splitlines()[-1])
    found["reached"] = None if quick else {key: found[key] <= goal for key, goal in GOALS.items()}
    result = {
        "what": "drawing dSprites",
        "quick": quick,
        "goals": GOALS,
        "machine": {"before": before, "after": machine()},
        **found,
    }
    names = {"wall_seconds": "wall, s", "cpu_seconds": "CPU, s", "peak_mib": "peak memory, MiB", "megabytes": "images on disk, MB"}
    rows = [
        [
            f"{found['images']:,} of {found['resolution']}×{found['resolution']}",
            name,
            f"{found[key]:.1f}",
            f"{GOALS[key]:.0f}" if key in GOALS and not quick else "",
        ]
        for key, name in names.items()
    ]
    table = markdown(["images", "what", "value", "at most"], rows)
    print(f"\n{table}\n{result['machine']}")
    path = write(ROOT / "bench" / "results" / ("render-quick.json" if quick else "render.json"), result, table)
    print(f"written to {path.relative_to(ROOT)}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["measure"]:
        print(json.dumps(measure(int(sys.argv[2]))))
    else:
        main(sys.argv[1:])
