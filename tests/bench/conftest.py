"""Sweeps as studies find them, with scores that the tests choose."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "bench"))


@pytest.fixture(scope="session")
def study():
    """``bench/study.py`` as a module."""
    spec = importlib.util.spec_from_file_location("study", ROOT / "bench/study.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def finish(tmp_path):
    """A function that writes one finished job: its folder."""

    def finish(sweep, number, model, seed, scores, latent_size=10, steps=1000, data=tmp_path / "data", folder=None):
        folder = folder or sweep / str(number)
        (folder / "evaluation").mkdir(parents=True, exist_ok=True)
        if not (folder / "model").exists():
            (folder / "model").mkdir()
            trainer = {"steps": steps, "batch_size": 128}
            config = {"model": {"net": {"latent_size": latent_size}}, "trainer": trainer}
            (folder / "model/config.yaml").write_text(yaml.safe_dump(config))
            (folder / "model/train.json").write_text(json.dumps({"parameters": 7, "sha256": f"{model}-{seed}-{latent_size}"}))
        entries = {f"{name}_key": {"metric": name, "value": value, "status": "ok"} for name, value in scores.items()}
        entries["failed"] = {"metric": "failed", "value": None, "status": "failed"}
        (folder / "evaluation/evaluation.json").write_text(json.dumps({"scores": entries}))
        evaluation = {"n_samples": 64, "batch_size": 32, "seed": 0, "importance_items": 8, "importance_samples": 16}
        (folder / "plan.yaml").write_text(yaml.safe_dump({"evaluate": {"evaluation": evaluation}}))
        job = {"model": model, "seed": seed, "data": "fashion_mnist", "folders": {"data": str(data)}}
        (folder / "job.yaml").write_text(yaml.safe_dump(job))
        return folder

    return finish
