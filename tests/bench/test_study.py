from pathlib import Path

import pytest
import yaml

from latent_atlas.planning.compose import Composer, PlanError

ROOT = Path(__file__).resolve().parents[2]
STUDIES = sorted(path.stem for path in (ROOT / "bench/studies").glob("*.py"))
COMPARED = ["dsprites_axes", "dsprites_recipe", "fashion_autoencoders", "fashion_spheres"]
METRICS = {path.stem for path in (ROOT / "conf/evaluation/metric").glob("*.yaml")}


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_has_a_sweep_and_a_summary(study, name):
    assert callable(study.summarizer(name).summarize)


@pytest.mark.parametrize("name", COMPARED)
def test_the_full_protocol_is_read_by_the_same_module(study, name):
    assert study.summarizer(f"{name}_full").__file__ == study.summarizer(name).__file__


def test_an_unknown_study_is_named(study):
    with pytest.raises(SystemExit, match=r"no study 'fashion'; there is dsprites_axes, dsprites_axes_full"):
        study.summarizer("fashion")


@pytest.mark.parametrize("name", [name + end for name in COMPARED for end in ("", "_full")])
def test_every_job_of_a_study_composes(name):
    own = yaml.safe_load((ROOT / f"conf/experiment/{name}.yaml").read_text())
    with Composer(ROOT) as composer:
        found = composer.compose([f"+experiment={name}"])
        models = own["hydra"]["sweeper"]["params"].get("model", found["model"]["name"]).split(",")
        for model in models:
            job = composer.compose([f"+experiment={name}", f"model={model}"] if len(models) > 1 else [f"+experiment={name}"])
            assert job["model"]["name"] == model
            assert job["trainer"]["steps"] == own.get("trainer", found["trainer"])["steps"]
    full = name.endswith("_full")
    assert found["trainer"]["accelerator"] == ("gpu" if full else "cpu")
    if name.startswith("fashion"):
        assert found["data"]["reader"]["binarize"] == "dynamic"
        assert "nll" in found["evaluation"]["metrics"]
        assert set(found["evaluation"]["metrics"]) < METRICS
        assert found["evaluation"]["metrics"]["nll"]["budget"] == "quick"
    else:
        assert found["data"]["resolution"] == (64 if full else 32)


def test_a_sweep_over_models_gives_one_of_them_another_weight():
    with Composer(ROOT) as composer:
        names = ("vae", "factor_vae", "beta_tc_vae")
        found = {name: composer.compose(["+experiment=dsprites_axes", f"model={name}"]) for name in names}
    assert [found[name]["model"]["net"].get("gamma") for name in names] == [None, 35.0, None]
    assert found["beta_tc_vae"]["model"]["net"]["beta"] == 8.0
    assert found["vae"]["model"]["net"]["beta"] == 1.0
    assert not any("by_model" in each for each in found.values())


def test_the_same_study_takes_the_users_mnist():
    with Composer(ROOT) as composer:
        found = composer.compose(["+experiment=fashion_autoencoders", "data=mnist", "data.reader.folder=/here"])
    assert found["data"]["name"] == "mnist"
    assert found["data"]["reader"] == {"_target_": "latent_atlas.data.mnist.Mnist", "folder": "/here", "binarize": "dynamic"}


def test_only_some_metrics_can_be_asked_for():
    with Composer(ROOT) as composer:
        assert list(composer.compose(["evaluation.only=[mse,nll]"])["evaluation"]["metrics"]) == ["mse", "nll"]
        assert set(composer.compose([])["evaluation"]["metrics"]) == METRICS
        with pytest.raises(PlanError, match="names nul; conf/evaluation/metric has no such file"):
            composer.compose(["evaluation.only=[mse,nul]"])
