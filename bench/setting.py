"""What all contestants of the training bench share: the model, the data, the seed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))

SEED = 0
LEARNING_RATE = 1e-3
SIZES = (3, 6, 10, 8, 8)  # of the factors: 11,520 images, enough for one pass in every round


def model_conf(name: str = "vae") -> dict[str, Any]:
    """``conf/model/<name>.yaml``, composed; on 64-pixel binary images it is the published network with a Bernoulli likelihood."""
    from latent_atlas.planning.compose import Composer

    told = ["model.requires.fields=[factors]"] if name == "conditional_vae" else []  # sprites have no labels
    with Composer(ROOT) as composer:
        conf = composer.compose(["data=dsprites", f"model={name}", *told])["model"]
    if name == "vae":
        conf["net"]["optimizer"]["lr"] = LEARNING_RATE
    return conf  # type: ignore[no-any-return]


def trainer_conf(batch: int, precision: str, steps: int, threads: int) -> dict[str, Any]:
    """``conf/trainer/cpu.yaml`` as a run has it, with this budget."""
    import yaml

    conf = yaml.safe_load((ROOT / "conf" / "trainer" / "cpu.yaml").read_text(encoding="utf-8"))
    # Large batches are few: each round has to log rows all the same, since a pipeline's run does.
    log_every = 5 if batch >= 256 else conf["log_every"]
    return conf | {"batch_size": batch, "precision": precision, "steps": steps, "threads": threads, "log_every": log_every}


def images(folder: Path) -> Path:
    """A data directory of binary 64×64 sprites, drawn once."""
    from latent_atlas.data.prepare import prepare

    if not (folder / "card.json").exists():
        reader = {"_target_": "latent_atlas.data.dsprites.Dsprites", "resolution": 64, "sizes": list(SIZES)}
        section = {"name": folder.name, "data": {"reader": reader, "split": {"val": 0.02, "test": 0.02}, "reference_size": 100}}
        prepare(section, folder)
    return folder
