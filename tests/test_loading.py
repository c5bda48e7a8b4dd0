"""Getting the answer out: ``load``, the README's example, and ``pipelines/encode.py`` as a process."""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from drawn import write_data
from PIL import Image

import latent_atlas
from latent_atlas.data.datamodule import DataModule
from latent_atlas.loading import LoadError, build_model
from latent_atlas.planning.compose import Composer
from latent_atlas.training.outputs import write_model

ROOT = Path(__file__).resolve().parents[1]


def trained(folder: Path, data: Path, model: str = "vae") -> Path:
    """A run's folder as the stage ``train`` writes it; the weights are those of an untrained model."""
    module = DataModule(data)
    with Composer(ROOT) as composer:
        composed = composer.compose([f"model={model}", "data=digits"])["model"]
    config = {
        "run": folder.name,
        "model": composed,
        "spec": module.spec.to_dict(),
        "preprocessing": module.card["preprocessing"],
    }
    torch.manual_seed(0)
    folder.mkdir(parents=True)
    net = build_model(config)
    if hasattr(net, "prepare"):
        net.prepare(module.batches("train", 64))
    write_model(folder, net, config, {"run": folder.name, "mlflow_run_id": None, "step": 0})
    return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A directory with models/digits-vae (8×8 grey images) and models/drawn-vector."""
    root = tmp_path_factory.mktemp("place")
    trained(root / "models/digits-vae", write_data(root / "data", "image", n=80, shape=(1, 8, 8)))
    trained(root / "models/vectors-pca", write_data(root / "data", "vector", n=80), "pca")
    return root


@pytest.fixture
def here(place, monkeypatch):
    monkeypatch.chdir(place)
    return place


def test_the_example_of_the_readme(here):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names: dict = {}
    exec(example, names)
    # The shapes are those that the README's comments claim.
    for line in example.splitlines():
        if claim := re.match(r"(\w+) = .*# (\(\d[\d, ]*\))", line):
            assert tuple(names[claim[1]].shape) == eval(claim[2]), line
    assert float(names["x"].min()) >= 0
    assert float(names["x"].max()) <= 1
    assert not names["model"].training


def test_load_takes_a_name_or_a_folder(here):
    one, two = latent_atlas.load("digits-vae"), latent_atlas.load(here / "models/digits-vae")
    for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    assert one.spec.x.shape == (1, 8, 8)
    assert one.verbs() == ("encode", "decode", "sample")


def test_a_run_that_is_not_there_is_named_with_the_command(here):
    with pytest.raises(LoadError, match=r"digits-nothing.*dvc repro train@digits-nothing"):
        latent_atlas.load("digits-nothing")


def test_a_corrupt_model_is_refused(here, tmp_path):
    folder = trained(tmp_path / "digits-vae", here / "data/drawn-image")
    weights = bytearray((folder / "model.pt").read_bytes())
    weights[len(weights) // 2] ^= 1
    (folder / "model.pt").write_bytes(weights)
    with pytest.raises(LoadError, match=r"model\.pt is corrupt.*dvc repro -f train@digits-vae"):
        latent_atlas.load(folder)


def encode(place: Path, *words: str) -> subprocess.CompletedProcess[str]:
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run(
        [sys.executable, str(ROOT / "pipelines/encode.py"), *words], cwd=place, env=env, capture_output=True, text=True
    )


def test_encode_writes_codes_ids_and_errors_of_a_folder(place, tmp_path):
    rng = np.random.default_rng(0)
    folder = tmp_path / "neue Bilder, größer"
    folder.mkdir()
    pixels = rng.integers(0, 256, (5, 8, 8), dtype=np.uint8)
    for number, image in enumerate(pixels):
        Image.fromarray(image).save(folder / f"{number}.png")
    (folder / "broken.png").write_bytes(b"not an image")
    done = encode(place, "run=digits-vae", f"input={folder}", f"out={tmp_path / 'codes.npz'}")
    assert done.returncode == 0, done.stderr
    assert "broken.png" in done.stderr
    found = np.load(tmp_path / "codes.npz")
    assert list(found["ids"]) == [f"{number}.png" for number in range(5)]
    model = latent_atlas.load(place / "models/digits-vae")
    with torch.inference_mode():
        x = torch.from_numpy(pixels[:, None] / np.float32(255))
        z = model.encode(x).mode
        error = ((model.decode(z).mean - x) ** 2).flatten(1).mean(1)
    np.testing.assert_allclose(found["codes"], z.numpy(), atol=1e-5)
    np.testing.assert_allclose(found["error"], error.numpy(), atol=1e-6)


@pytest.fixture
def refused(here, monkeypatch):
    """Files to refuse; ``pipelines/encode.py`` in this process: its exit message for these words."""
    np.savez(here / "other.npz", images=np.zeros((3, 9, 9), np.uint8))
    np.savez(here / "fits.npz", images=np.zeros((3, 8, 8), np.uint8))
    monkeypatch.setattr(sys, "path", list(sys.path))
    main = runpy.run_path(str(ROOT / "pipelines/encode.py"))["main"]

    def run(*words):
        with pytest.raises(SystemExit) as stop:
            main(list(words))
        return stop.value.code

    return run


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run=digits-vae", "input=nowhere", "out=a.npz"], "nowhere does not exist"),
        (["run=digits-vae", "input=other.npz", "out=a.npz"], "8×8 grey images"),
        (["run=vectors-pca", "input=other.npz", "out=a.npz"], "vector of 6"),
        (["run=digits-none", "input=other.npz", "out=a.npz"], "digits-none"),
        (["run=digits-vae", "input=fits.npz", "out=a.csv"], ".npz"),
        (["run=digits-vae"], "usage"),
    ],
)
def test_encode_refuses_in_one_line_and_writes_nothing(place, refused, capfd, words, message):
    said = refused(*words)
    assert isinstance(said, str), "a message is printed and the exit is 1"
    assert message in said
    assert len(said.strip().splitlines()) == 1
    assert capfd.readouterr().err == ""
    assert not list(place.glob("a.*"))


def test_a_refusal_is_all_that_the_process_says(place, refused):
    done = encode(place, "run=digits-vae", "input=other.npz", "out=a.npz")
    assert done.returncode != 0
    assert done.stderr == refused("run=digits-vae", "input=other.npz", "out=a.npz") + "\n"
