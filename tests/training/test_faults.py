"""Faults injected into the real stage process: what is left behind, and how the next start goes on."""

import json
import os
import subprocess
from pathlib import Path

import pytest
import torch
from stage import Stage

from latent_atlas.training.fit import train

pytestmark = pytest.mark.slow
SILENT = {"enabled": False}


def unbroken(root: Path, model: str) -> Stage:
    """The same run in this process and another workspace, never disturbed."""
    root.mkdir()
    stage = Stage(root, model)
    train(stage.section, stage.data, stage.out, tracking=SILENT)
    return stage


@pytest.mark.parametrize("model", ["vae", "game"])
def test_a_killed_run_goes_on_to_the_same_weights(tmp_path, monkeypatch, model):
    stage = Stage(tmp_path, model)
    start = stage.start if model == "vae" else stage.fork
    died = start("kill:23")  # neither a checkpoint's step nor the end of a pass (7 batches)
    assert died.returncode == -9
    assert not stage.out.exists()
    again = start()
    assert again.returncode == 0, again.stderr
    assert "RESUME at step 20" in again.stdout
    assert stage.checkpoint is None, "the scratch directory goes when the outputs are there"
    monkeypatch.setenv("LATENT_ATLAS_HOME", str(tmp_path / "unbroken"))
    whole = unbroken(tmp_path / "unbroken", model)
    assert stage.weights() == whole.weights()
    assert json.loads((stage.out / "train.json").read_text()) == json.loads((whole.out / "train.json").read_text())


def test_sigterm_ends_with_an_exit_code_and_a_checkpoint(tmp_path):
    stage = Stage(tmp_path, checkpoint_every=1000)
    stopped = stage.fork("term:12")
    assert stopped.returncode == 143
    assert not stage.out.exists()
    assert int(torch.load(stage.checkpoint, weights_only=True)["state_dict"]["model.step"]) == 13
    assert "RESUME at step 13" in stage.fork().stdout


def test_a_nan_stops_the_run_and_says_where(tmp_path):
    stage = Stage(tmp_path)
    stopped = stage.fork("nan:23")
    assert stopped.returncode == 1
    said = stopped.stderr.splitlines()[-1]
    assert "step 23" in said
    assert "the first tensor that is not finite is parameter head.raw_log_scale" in said
    items = said.split("items of the batch: ")[1].split(";")[0].split(", ")
    assert len(items) == 16
    assert not stage.out.exists()
    kept = torch.load(stage.checkpoint, weights_only=True)["state_dict"]
    assert int(kept["model.step"]) == 20
    assert all(torch.isfinite(value).all() for value in kept.values())
    assert "Traceback" not in stopped.stderr


def test_a_nan_never_reaches_a_checkpoint(tmp_path):
    stage = Stage(tmp_path)
    # The loss of step 24 is good, its update is not: nothing else looks at the weights before the checkpoint at 25.
    stopped = stage.fork("gradient:24")
    assert stopped.returncode == 1
    assert "step 25: model." in stopped.stderr
    assert int(torch.load(stage.checkpoint, weights_only=True)["state_dict"]["model.step"]) == 20


def test_an_unreadable_checkpoint_is_set_aside(tmp_path):
    stage = Stage(tmp_path)
    assert stage.fork("kill:23").returncode == -9
    checkpoint = stage.checkpoint
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    again = stage.fork("kill:33")
    assert again.returncode == -9, again.stderr
    assert "cannot be read" in again.stdout
    assert checkpoint.with_name("last.ckpt.unreadable").stat().st_size == 1000
    assert "RESUME at step 30" in stage.fork().stdout


def test_a_full_disk_leaves_no_half_written_output(tmp_path):
    stage = Stage(tmp_path, checkpoint_every=1000)
    failed = stage.fork("full:39")
    assert failed.returncode == 1
    assert "cannot write" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert sorted(path.name for path in (tmp_path / "models").iterdir()) == []


def test_a_full_disk_leaves_the_last_good_checkpoint(tmp_path):
    stage = Stage(tmp_path)
    failed = stage.fork("full:23")
    assert failed.returncode == 1
    assert "cannot write" in failed.stderr
    assert int(torch.load(stage.checkpoint, weights_only=True)["state_dict"]["model.step"]) == 20
    assert not list(stage.checkpoint.parent.glob("*.partial"))


def mountable(folder: Path) -> bool:
    folder.mkdir()
    try:
        words = ["mount", "-t", "tmpfs", "-o", "size=160k", "tmpfs", str(folder)]
        return os.geteuid() == 0 and subprocess.run(words, capture_output=True).returncode == 0
    except OSError:
        return False


def test_a_really_full_disk(tmp_path):
    folder = tmp_path / "models"
    if not mountable(folder):
        pytest.skip("needs the right to mount a small tmpfs")
    try:
        stage = Stage(tmp_path, checkpoint_every=1000)
        (folder / "rest").write_bytes(b"0" * 148_000)
        failed = stage.fork()
        assert failed.returncode == 1
        assert "No space left" in failed.stderr
        assert [path.name for path in folder.iterdir()] == ["rest"]
    finally:
        subprocess.run(["umount", str(folder)], check=True)
