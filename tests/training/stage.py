"""A directory as the stage ``train`` finds it, and the real script run in it."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import yaml
from drawn import write_data
from zoo import CONF, adam, conf, partial, small_vae

ROOT = Path(__file__).resolve().parents[2]
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
        words = [sys.executable, str(ROOT / "pipelines/train.py"), f"run={self.run}"]
        return subprocess.run(words, cwd=self.root, env=self.env(FAULT=fault), capture_output=True, text=True, timeout=300)

    def weights(self) -> str:
        return hashlib.sha256((self.out / "model.pt").read_bytes()).hexdigest()
