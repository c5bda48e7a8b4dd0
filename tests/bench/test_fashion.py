import json
import shutil

import pytest
import torch
import yaml
from drawn import write_data
from test_loading import trained

NLL = {"ae": None, "vae": (100.0, 101.0, 102.0), "iwae": (98.0, 99.1, 100.2), "vamp_vae": (100.5, 100.4, 102.2)}
FID = {"ae": (20.0, 10.0), "vae": (15.0, 16.0), "iwae": (15.0, 15.0), "vamp_vae": (15.0, 15.0)}  # one Gaussian, mixture


@pytest.fixture
def autoencoders(tmp_path, finish):
    """The jobs of fashion_autoencoders; vae and iwae of seed 0 have weights."""
    data, sweep, number = write_data(tmp_path, "binary", n=160, shape=(1, 8, 8)), tmp_path / "fashion_autoencoders", 0
    for model, values in NLL.items():
        for seed in range(3):
            gaussian, mixture = FID[model]
            scores = {
                "fid": (17.0, 15.0, 18.0)[seed],
                "fid_gaussian": gaussian + seed,
                "fid_mixture": mixture + 1.1 * seed,
                "mse": 0.01,
            }
            scores |= {} if values is None else {"nll": values[seed]}
            folder = sweep / str(number)
            if model == "iwae":
                trained(folder / "model", data, model)
                config = yaml.safe_load((folder / "model/config.yaml").read_text())
                config["trainer"] = {"steps": 1000, "batch_size": 128}
                (folder / "model/config.yaml").write_text(yaml.safe_dump(config))
                record = json.loads((folder / "model/train.json").read_text())
                (folder / "model/train.json").write_text(json.dumps(record | {"parameters": 7}))
                (folder / "model/steps").mkdir()
                for step in (250, 500, 750):
                    shutil.copy(folder / "model/model.pt", folder / f"model/steps/step-{step}.pt")
            finish(sweep, number, model, seed, scores, data=data)
            number += 1
    return sweep


def test_the_summary_of_fashion_autoencoders(study, autoencoders, tmp_path, monkeypatch):
    module = study.summarizer("fashion_autoencoders")
    monkeypatch.setattr(module, "relative_cost", lambda vae, iwae: 1.8)
    text = module.summarize(autoencoders, tmp_path / "out", 3.21)
    result = json.loads((tmp_path / "out/study.json").read_text())
    assert [row["verdict"] for row in result["answers"]][:3] == ["holds", "not decided", "holds"]
    assert [row["must"] for row in result["answers"]] == [True, False, True, False, False]
    assert result["answers"][0]["difference"]["mean"] == pytest.approx(-9.9)
    assert result["answers"][2]["difference"]["mean"] == pytest.approx(-1.9)
    assert result["models"]["vae"]["nll"]["mean"] == pytest.approx(101.0)
    assert result["models"]["ae"]["nll"]["mean"] is None
    assert {each["step"] for each in result["equal_time"]["seeds"].values()} == {500}, "the last within 1,000 / 1.8 updates"
    assert result["minutes"] == 3.2
    assert "| vae | 101.00 [98.52, 103.48] |" in text
    assert "58.73" in text
    assert "86.82" in text
    assert "stands for MNIST" in text
    # The weights are the same: nothing is measured again.
    monkeypatch.setattr(module, "relative_cost", None)
    assert module.summarize(autoencoders, tmp_path / "out", None) == text


def test_an_early_stop_is_scored_like_the_end(study, autoencoders):
    module = study.summarizer("fashion_autoencoders")
    run = next(run for run in module.comparing.finished(autoencoders) if run.model == "iwae")
    found = module.stopped(run, 700.0)
    assert found["step"] == 500
    assert module.stopped(run, 100.0) == {"step": None, "nll": None}
    weights = torch.load(run.folder / "model/steps/step-500.pt", weights_only=True)
    other = {name: value + 0.5 if value.is_floating_point() else value for name, value in weights.items()}
    torch.save(other, run.folder / "model/steps/step-500.pt")
    assert module.stopped(run, 700.0)["nll"] > found["nll"] + 1
    assert module.stopped(run, 800.0)["nll"] == found["nll"], "the same weights at another step"


def test_the_cost_of_an_update_is_measured(study, autoencoders, monkeypatch):
    module = study.summarizer("fashion_autoencoders")
    monkeypatch.setattr(module, "UPDATES", 4)
    runs = [run for run in module.comparing.finished(autoencoders) if run.model == "iwae"]
    assert 0.2 < module.relative_cost(runs[0], runs[1]) < 5


def test_the_summary_of_fashion_spheres_reads_both_sweeps(study, finish, tmp_path):
    data = write_data(tmp_path, "binary", n=160, shape=(1, 8, 8))
    for seed in range(2):
        finish(tmp_path / "fashion_autoencoders-mnist", seed, "vae", seed, {"nll": 90.0 + seed}, data=data)
        finish(tmp_path / "fashion_autoencoders-mnist", 2 + seed, "spherical_vae", seed, {"nll": 91.0 + seed}, data=data)
        finish(tmp_path / "fashion_autoencoders-mnist", 4 + seed, "ae", seed, {"mse": 1.0}, data=data)
        finish(tmp_path / "fashion_spheres-mnist", seed, "vae", seed, {"nll": 130.0 + seed}, latent_size=2, data=data)
        finish(tmp_path / "fashion_spheres-mnist", 2 + seed, "spherical_vae", seed, {"nll": 128.0 + seed}, latent_size=2, data=data)
    text = study.summarizer("fashion_spheres").summarize(tmp_path / "fashion_spheres-mnist", tmp_path / "out", 1.0)
    result = json.loads((tmp_path / "out/study.json").read_text())
    assert list(result["dimensions"]) == ["2", "10"]
    assert [row["difference"]["mean"] for row in result["answers"]] == [-2.0, 1.0]
    assert [row["verdict"] for row in result["answers"]] == ["holds", "reversed"]
    assert "132.50 against 135.73: -3.23" in text
    assert "| 10 | spherical_vae | 91.50" in text
    assert "93.16" in text
