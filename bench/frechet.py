"""The Fréchet distance of 2 × 10,000 features of 2,048 dimensions: ours beside torchmetrics' own ``compute``, in turns.

``compute`` starts from the sums that its ``update`` kept, so ours starts from the moments. Beside it both ways from the features:
``update`` of the two sets in float64, then ``compute``, against ours with the moments.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")

from table import machine, markdown, write  # noqa: E402 - threads are chosen before numpy loads

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))
N, DIMENSIONS, GOAL, AGREE = 10_000, 2048, 5.0, 1e-6


def seconds(call: Callable[[], float]) -> tuple[float, float, float]:
    """Value, wall and CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    value = call()
    return value, time.perf_counter() - wall, time.process_time() - cpu


def contestants(n: int, dimensions: int) -> dict[str, Callable[[], float]]:
    """The two, ready to compute."""
    import torch
    from torchmetrics.image.fid import FrechetInceptionDistance

    from latent_atlas.metrics.frechet import frechet_distance, moments

    torch.set_num_threads(1)

    class Given(torch.nn.Module):
        num_features = dimensions

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.flatten(1)

    generator = torch.Generator().manual_seed(0)
    decay = torch.arange(1, dimensions + 1) ** -0.5  # features of images lie near a subspace
    turn = torch.linalg.qr(torch.randn(dimensions, dimensions, generator=generator))[0]
    sides = [((torch.randn(n, dimensions, generator=generator) * decay * scale) @ turn).relu() for scale in (1.0, 1.2)]
    metric = FrechetInceptionDistance(feature=Given()).set_dtype(torch.float64)
    wide = [features.double() for features in sides]

    def update() -> None:
        metric.reset()
        for features, real in zip(wide, (True, False), strict=True):
            metric.update(features, real=real)

    def theirs() -> float:
        metric._computed = None
        return float(metric.compute())

    def both() -> float:
        update()
        return theirs()

    update()
    kept = [moments(features) for features in sides]
    return {
        "torchmetrics": theirs,
        "ours": lambda: frechet_distance(*kept),
        "torchmetrics from features": both,
        "ours from features": lambda: frechet_distance(*(moments(features) for features in sides)),
    }


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="bench/frechet.py", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="one round of 512 dimensions")
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args(arguments)
    before = machine()
    both = contestants(N, 512 if chosen.quick else DIMENSIONS)
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in both}
    for number in range(1 if chosen.quick else chosen.rounds):
        for name, call in both.items():
            found[name].append(seconds(call))
        print(f"round {number + 1}: " + ", ".join(f"{name} {rounds[-1][1]:.1f} s" for name, rounds in found.items()), flush=True)
    median = {name: [statistics.median(one[k] for one in rounds) for k in (0, 1, 2)] for name, rounds in found.items()}
    ratio, whole = (median[f"torchmetrics{of}"][1] / median[f"ours{of}"][1] for of in ("", " from features"))
    apart = abs(median["ours"][0] - median["torchmetrics"][0]) / median["torchmetrics"][0]
    result = {
        "what": f"Fréchet distance of 2 x {N} features of {512 if chosen.quick else DIMENSIONS} dimensions, seconds",
        "quick": chosen.quick,
        "machine": {"before": before, "after": machine()},
        "median": {name: dict(zip(("value", "wall", "cpu"), row, strict=True)) for name, row in median.items()},
        "ratio": ratio,
        "ratio_from_features": whole,
        "relative_difference": apart,
        "goal": GOAL,
        "reached": ratio >= GOAL and apart <= AGREE,
    }
    rows = [
        [
            of,
            *(f"{median[name + tail][1]:.2f}" for name in ("torchmetrics", "ours")),
            f"{found:.1f}",
            *last,
        ]
        for of, tail, found, last in (
            ("compute", "", ratio, (f"{GOAL:g}", f"{apart:.1e}", "yes" if result["reached"] else "no")),
            ("update and compute", " from features", whole, ("", "", "")),
        )
    ]
    table = markdown(["of", "torchmetrics, s", "ours, s", "ratio", "goal", "relative difference", "reached"], rows)
    print(f"\n{table}\n{result['machine']}")
    path = write(ROOT / "bench" / "results" / ("frechet-quick.json" if chosen.quick else "frechet.json"), result, table)
    print(f"written to {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main(sys.argv[1:])
