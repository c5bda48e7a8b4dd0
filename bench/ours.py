"""``vae``, or another model, through the real training path: plan section, DataModule, Fit, Lightning's loop, progress line."""

from __future__ import annotations

import resource
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from serving import Answer, Clock, serve
from setting import SEED, model_conf, trainer_conf

from latent_atlas.training import fit


def peak_memory() -> float:
    """The most that this process has held, in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def main(folder: str, threads: str, tracked: str = "", name: str = "vae") -> None:
    """``tracked`` is "tracked" to write to MLflow as a run of the pipeline does (in the workspace of the environment)."""
    model = model_conf(name)
    settings = {"enabled": tracked == "tracked", "system_metrics": True, "pyfunc": False}

    def train(batch: int, precision: str, steps: int, out: Path) -> None:
        trainer = trainer_conf(batch, precision, steps, int(threads))
        section: dict[str, Any] = {"run": f"bench-{name}", "data": "bench", "seed": SEED, "model": model, "trainer": trainer}
        if "pair" in model["requires"]["fields"]:
            section["pairs"] = {"differing": 1}
        fit.train(section, Path(folder), out, tracking=settings)

    def round_(batch: int, precision: str, warm: int, steps: int) -> Answer:
        clock = Clock(warm)
        watch = fit.Watch.__call__

        def timed(self: fit.Watch, module: fit.Fit) -> None:
            # The last step also validates and ends the run: the clock stops before that.
            last = module.step >= warm + steps
            if last:
                if settings["enabled"]:
                    self.job.tracker.flush()  # what a longer run writes every ten seconds belongs to the time
                clock.mark()
            watch(self, module)
            if not last:
                clock.mark()

        fit.Watch.__call__ = timed  # type: ignore[method-assign]
        try:
            with tempfile.TemporaryDirectory() as out:
                train(batch, precision, warm + steps, Path(out) / "model")
        finally:
            fit.Watch.__call__ = watch  # type: ignore[method-assign]
        return clock.answer(batch) | {"peak": peak_memory()}

    def weights(batch: int, steps: int, path: str) -> Answer:
        with tempfile.TemporaryDirectory() as out:
            train(batch, "32-true", steps, Path(out) / "model")
            torch.save(torch.load(Path(out) / "model" / "model.pt", weights_only=True), path)
        return {"path": path}

    serve({"round": round_, "weights": weights, "about": lambda: {"torch": str(torch.__version__)}})


if __name__ == "__main__":
    main(*sys.argv[1:])
