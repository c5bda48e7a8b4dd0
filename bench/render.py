"""Time and peak memory of drawing and storing the whole dSprites: ``python bench/render.py [64|32]``."""

import resource
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))


def main(resolution: int) -> None:
    from latent_atlas.data.prepare import prepare

    reader = {"_target_": "latent_atlas.data.dsprites.Dsprites", "resolution": resolution}
    data = {"reader": reader, "split": {"val": 0.05, "test": 0.1}, "reference_size": 5000}
    with tempfile.TemporaryDirectory() as folder:
        wall, cpu = time.perf_counter(), time.process_time()
        card = prepare({"name": "dsprites", "data": data}, Path(folder) / "dsprites")
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        size = sum(file.stat().st_size for file in (Path(folder) / "dsprites").iterdir())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    n = sum(card["spec"]["sizes"].values())
    print(
        f"{n:,} images of {resolution}×{resolution}: {wall:.1f} s wall, {cpu:.1f} s CPU; {peak:.0f} MiB peak; {size / 1e6:.0f} MB"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 64)
