"""A directory as the stage ``train`` finds it, and the real script run in it."""

import hashlib
import multiprocessing
import os
import runpy
import subprocess
import sys
from pathlib import Path

import yaml
from drawn import write_data
from zoo import CONF, adam, conf, partial, small_vae

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "pipelines/train.py"
TRAINER = {
    "steps": 40, "batch_size": 16, "threads": 1, "precision": "32-true", "accelerator": "cpu", "validate_every": 10,
    "validate_items": 64, "checkpoint_every": 5, "log_every": 4, "select": "last", "resident": True,
}  # fmt: skip
MODELS = {
    "vae": conf("vae", small_vae(_target_="faults.FaultyVAE", ema=0.9)),
    "game": conf(
        "game",
        {
            "_target_": "faults.FaultyGame",
            "optimizer": adam(),
            "critic_optimizer": partial("torch.optim.SGD", lr=0.05, momentum=0.9),
            "repeat": 2,
            "ema": 0.9,
        },
    ),
    **CONF,
}


def _script(root: Path, run: str, env: dict[str, str], *said: Path) -> None:
    for number, path in zip((1, 2), said, strict=True):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.chdir(root)
    os.environ.clear()
    os.environ.update(env)
    sys.path[:0] = env["PYTHONPATH"].split(os.pathsep)
    sys.argv = [str(SCRIPT), f"run={run}"]
    runpy.run_path(str(SCRIPT), run_name="__main__")


class Stage:
    """One run's plan and data below ``root``."""

    def __init__(self, root: Path, model: str = "vae", tracking: bool = False, n: int = 160, **trainer) -> None:
        self.root, self.run = root, f"bars-{model}"
        if not (root / "data/bars").exists():
            write_data(root / "data", "image", n=n, name="bars", shape=(1, 8, 8))
        self.section = {
            "run": self.run, "data": "bars", "needs": "data/bars", "seed": 3, "model": MODELS[model], "trainer": TRAINER | trainer,
        }  # fmt: skip
        plan = {"train": self.section, "evaluate": {"tier": "test", "tracking": {"enabled": tracking, "system_metrics": False}}}
        plan["overrides"] = ["trainer.steps=40", "model.net.beta=1"]
        (root / "plan").mkdir(exist_ok=True)
        (root / "plan" / f"{self.run}.yaml").write_text(yaml.safe_dump(plan), encoding="utf-8")

    @property
    def data(self) -> Path:
        return self.root / "data/bars"

    @property
    def out(self) -> Path:
        return self.root / "models" / self.run

    @property
    def checkpoint(self) -> Path | None:
        return next((self.root / "work/runs").glob(f"{self.run}-*/last.ckpt"), None)

    def env(self, **more: str) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("LATENT_ATLAS", "MLFLOW", "FAULT"))}
        paths = os.pathsep.join([str(ROOT / "tests"), str(ROOT / "tests/training")])
        return kept | {"LATENT_ATLAS_HOME": str(self.root), "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", **more}

    def start(self, fault: str = "") -> subprocess.CompletedProcess[str]:
        """The script in a fresh interpreter."""
        words = [sys.executable, str(SCRIPT), f"run={self.run}"]
        return subprocess.run(words, cwd=self.root, env=self.env(FAULT=fault), capture_output=True, text=True, timeout=300)

    def fork(self, fault: str = "") -> subprocess.CompletedProcess[str]:
        """The script in a process of its own, forked from one that has imported the libraries: a second instead of ten."""
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["pytorch_lightning", "torch"])
        said = [self.root / f"{name}.txt" for name in ("stdout", "stderr")]
        process = context.Process(target=_script, args=(self.root, self.run, self.env(FAULT=fault), *said))
        process.start()
        process.join(300)
        return subprocess.CompletedProcess([], process.exitcode, *(path.read_text() for path in said))

    def weights(self) -> str:
        return hashlib.sha256((self.out / "model.pt").read_bytes()).hexdigest()
