"""Faults injected into the real processes of the stages ``features`` and ``evaluate``: one line, an exit code, no half output."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
EXTRACTOR = {"name": "domain", "dimensions": 8, "steps": 20, "batch_size": 32, "seed": 0, "threads": 1}
pytestmark = pytest.mark.slow


@pytest.fixture
def place(stage, tmp_path):
    """A checkout's directories as the two stages find them, for drawn vectors and one run of them."""
    here = stage(kind="vector", n=100, labels=True)
    name = here.data.name
    metrics = {key: here.section["evaluation"]["metrics"][key] for key in ("mse", "knn_accuracy")}
    plan = {"train": here.train, "evaluate": here.section | {"metrics_file": "metrics/all.yaml"}}
    files = {"metrics/all": metrics, "run": plan, f"data/{name}": {"features": {"name": name, "extractor": EXTRACTOR}}}
    for file, content in files.items():
        path = tmp_path / "plan" / f"{file}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(content), encoding="utf-8")
    (tmp_path / "data").mkdir()
    here.data.rename(tmp_path / "data" / name)
    return here


def start(root: Path, *words: str, largest: int | None = None) -> subprocess.CompletedProcess[str]:
    """A script of pipelines/; no file may grow beyond ``largest`` bytes: a disk that runs full in the middle of it."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, resource.RLIM_INFINITY))

    code = f"import runpy, sys; sys.path.insert(0, {str(ROOT / 'tests')!r}); sys.argv = {list(words)};"
    code += f"runpy.run_path({str(ROOT / 'pipelines' / words[0])!r}, run_name='__main__')"
    return subprocess.run(
        [sys.executable, "-B", "-c", code],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=300,
        preexec_fn=limit if largest else None,
    )


def test_a_corrupt_model_is_refused_by_its_hash(place, tmp_path):
    weights = bytearray((place.model / "model.pt").read_bytes())
    weights[len(weights) // 2] ^= 1
    (place.model / "model.pt").write_bytes(weights)
    done = start(tmp_path, "evaluate.py", "run=run")
    assert done.returncode == 1
    (said,) = done.stderr.strip().splitlines()
    assert said.startswith("evaluate: ")
    assert "model.pt is corrupt" in said
    assert "dvc repro -f train@run" in said
    assert not place.out.exists()
    assert not (tmp_path / "metrics").exists()


def test_evaluate_on_a_full_disk_leaves_nothing_under_its_name(place, tmp_path):
    failed = start(tmp_path, "evaluate.py", "run=run", largest=2000)
    assert failed.returncode == 1
    (said,) = failed.stderr.strip().splitlines()
    assert said.startswith("evaluate: evaluations/run was not written: ")
    assert list((tmp_path / "evaluations").iterdir()) == []
    assert not list(tmp_path.glob("metrics/**/*.json"))


def test_features_on_a_full_disk_leave_what_was_there(place, tmp_path):
    out = place.features
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    failed = start(tmp_path, "features.py", f"data={out.name}", largest=2000)
    assert failed.returncode == 1
    (said,) = failed.stderr.strip().splitlines()
    assert said.startswith(f"features: features/{out.name} was not written: ")
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert [path.name for path in out.parent.iterdir() if not path.name.startswith(".floors")] == [out.name]
