import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
import zoo

from latent_atlas.evaluation.evaluate import EvaluationError, write_json
from latent_atlas.evaluation.extractors import FeatureError
from latent_atlas.evaluation.table import description
from latent_atlas.loading import LoadError

ROOT = Path(__file__).resolve().parents[2]
FIELDS = {
    "value",
    "unit",
    "direction",
    "status",
    "reason",
    "interval",
    "floor",
    "ceiling",
    "provenance",
    "title",
    "meaning",
    "kind",
}


def reasons(found):
    return {entry["metric"]: entry["reason"] for entry in found.scores.values() if entry["status"] == "not applicable"}


def test_an_image_run_has_every_score_codes_and_pictures(stage):
    here = stage(kind="binary", n=400, factors=True, labels=True)
    found = here.run()
    assert {entry["metric"] for entry in found.scores.values()} == set(here.section["evaluation"]["metrics"])
    assert all(entry.keys() >= FIELDS for entry in found.scores.values())
    assert {entry["status"] for entry in found.scores.values()} == {"ok", "not applicable"}
    expensive = {name for name, reason in reasons(found).items() if reason.startswith("left out at budget quick")}
    assert set(reasons(found)) - expensive == {
        "codebook_use",
        "codebook_perplexity",
        "prior_holes",
        "mode_coverage",
        "tear",
        "tree_correlation",
    }
    assert found.written == json.loads(json.dumps(found.result))
    assert found.flat == {key: entry["value"] for key, entry in found.scores.items() if entry["status"] == "ok"}
    assert f"fid_{here.card['name']}_n80" in found.flat
    assert found.result["headline"] == {
        "keep": "mse",
        "generate": f"fid_{here.card['name']}_n80",
        "steer": "mig",
        "find": "knn_accuracy",
    }
    assert {path.name for path in here.out.glob("*.png")} == {
        "reconstructions.png",
        "samples.png",
        "traversals.png",
        "interpolations.png",
    }
    latents = np.load(here.out / "latents.npz")
    assert latents["codes"].shape == (80, 3)
    assert latents["factors"].shape == (80, 2)
    assert latents["labels"].shape == latents["index"].shape == (80,)
    assert latents["kl_per_dimension"].shape == (3,)
    assert latents["xy"].shape == (80, 2)
    assert abs(latents["xy"].mean(0)).max() < 1e-4  # seen from the middle of the codes
    assert latents["outline"].shape == (65, 2)
    assert found.result["chart"].startswith("on the plane of largest variance, which holds ")


@pytest.mark.parametrize(("kind", "model"), [("vector", "small_vae"), ("tokens", "token_model"), ("counts", "count_model")])
def test_other_modalities_pass_without_an_image_anywhere(stage, kind, model):
    here = stage(kind=kind, model=model, n=200, labels=True)
    found = here.run()
    assert {entry["status"] for entry in found.scores.values()} == {"ok", "not applicable"}
    said = reasons(found)
    assert said["ssim"] == said["psnr"] == f"not defined for {'vectors' if kind == 'vector' else kind}"
    assert said["mig"] == "needs factors"
    assert found.scores["nelbo"]["status"] == "ok"
    assert found.result["headline"]["keep"] == ("distortion" if kind == "tokens" else "mse")
    assert found.result["headline"]["steer"] is None
    assert found.result["headline_reasons"]["steer"] == "needs factors"
    assert found.result["headline"]["generate"].startswith("fid_domain_")
    assert {path.name for path in here.out.iterdir()} == {"evaluation.json", "latents.npz", "scores.html"}


def test_small_images_have_no_ssim_and_say_why(stage):
    found = stage(kind="image", shape=(1, 8, 8), n=120).run()
    assert reasons(found)["ssim"] == "images of 8 px are smaller than the 11 px window"
    assert found.result["headline"]["find"] == "trustworthiness"


def test_one_held_out_item_is_enough(stage):
    here = stage(kind="image", n=3, factors=True, labels=True)
    found = here.run()
    assert found.scores["mse"]["status"] == "ok"
    assert found.scores["mse"]["interval"] is None
    assert reasons(found)["fid"] == "1 samples are below 2·d = 2 of the extractor"
    assert "failed" not in {entry["status"] for entry in found.scores.values()}
    assert (here.out / "samples.png").exists()


def test_a_model_without_an_encoder_is_scored_by_what_it_has(stage):
    here = stage(kind="image", n=200, model="two_players", labels=True)
    found = here.run()
    assert found.result["verbs"] == ["decode", "sample"]
    assert reasons(found)["mse"] == reasons(found)["knn_accuracy"] == "the model has no encode"
    defined = {entry["metric"] for entry in found.scores.values() if entry["status"] == "ok"}
    assert defined == {"fid", "inception_score", "modes_hit", "modes_kl"}
    assert "codes" not in np.load(here.out / "latents.npz")
    assert {path.name for path in here.out.glob("*.png")} == {"samples.png"}


def test_the_samples_nearest_to_training_items_are_shown_beside_them(stage):
    here = stage(kind="image", n=1500)
    metrics = {name: conf for name, conf in here.section["evaluation"]["metrics"].items() if name in ("mse", "memorisation")}
    found = here.run(name="standard", metrics=metrics)
    entry = next(entry for entry in found.scores.values() if entry["metric"] == "memorisation")
    assert entry["status"] == "ok", entry["reason"]
    assert entry["provenance"]["n_train"] > 700  # all of them, not as many as there are samples
    assert entry["floor"] == 1.0
    shown = np.load(here.out / "pictures.npz")
    assert shown["memorisation_samples"].shape == shown["memorisation_train"].shape == (8, 16, 16, 1)
    assert (here.out / "memorisation.png").exists()


def test_a_metric_that_raises_is_failed_and_the_others_go_on(stage):
    here = stage(kind="vector", n=100)
    metrics = here.section["evaluation"]["metrics"] | {
        name: {"_target_": f"own_metrics.{name}", "name": name, "unit": "1", "direction": "max"}
        for name in ("broken", "endless", "unknown_word")
    }
    found = here.run(metrics=metrics)
    failed = {entry["metric"]: entry["reason"] for entry in found.scores.values() if entry["status"] == "failed"}
    assert failed["broken"] == "RuntimeError: the metric is broken"
    assert failed["endless"] == "ValueError: the value is inf"
    assert failed["unknown_word"].startswith("TypeError: the metric asks for 'teapot'; evaluation offers x, recon")
    assert set(failed) == {"broken", "endless", "unknown_word"}
    assert found.scores["mse"]["status"] == "ok"
    assert not set(failed) & set(found.flat)


def test_the_stage_fails_and_writes_nothing_if_no_metric_is_ok(stage):
    here = stage(kind="vector", n=100)
    only = {"broken": {"_target_": "own_metrics.broken", "name": "broken"}, "mig": here.section["evaluation"]["metrics"]["mig"]}
    with pytest.raises(EvaluationError, match=r"no metric could be computed.*the metric is broken.*needs factors"):
        here.run(metrics=only)
    assert not here.out.exists()
    assert not here.scores.exists()


def test_a_new_metric_is_a_function_and_a_conf_entry(stage):
    here = stage(kind="vector", n=100, labels=True)
    new = {
        "largest": {"_target_": "own_metrics.largest_entry", "name": "largest", "unit": "σ", "direction": "none"},
        "options": {"_target_": "own_metrics.with_options", "name": "options", "arguments": {"factor": 2.0}},
    }
    found = here.run(metrics=new)
    x = np.load(here.data / "x.npy")[np.load(here.out / "latents.npz")["index"]]
    assert found.flat == {"largest": pytest.approx(float(x.max())), "options": 2.0 * 20 + 1000}
    assert found.scores["largest"]["unit"] == "σ"


def test_a_metric_of_a_larger_budget_is_listed_with_the_reason(stage):
    here = stage(kind="vector", n=100)
    metrics = here.section["evaluation"]["metrics"]
    late = {"mse": metrics["mse"] | {"budget": "full"}, "rate": metrics["rate"]}
    assert reasons(here.run(metrics=late))["mse"] == "left out at budget quick: it runs from full on"
    assert here.run(metrics=late, name="full").scores["mse"]["status"] == "ok"


def test_repeating_gives_the_same_bytes_and_replaces_the_old_output(stage):
    here = stage(kind="image", n=100, factors=True)
    here.run()
    before = {path.name: path.read_bytes() for path in [*here.out.iterdir(), here.scores]}
    (here.out / "stale.png").write_bytes(b"old")
    here.run()
    assert {path.name: path.read_bytes() for path in [*here.out.iterdir(), here.scores]} == before
    assert torch.is_grad_enabled()


def test_corrupt_weights_are_refused_with_file_and_remedy(stage):
    here = stage(kind="vector", n=100)
    weights = here.model / "model.pt"
    damaged = bytearray(weights.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    weights.write_bytes(damaged)
    with pytest.raises(LoadError, match=r"model\.pt is corrupt.*train@run"):
        here.run()
    assert not here.out.exists()


def test_features_that_are_missing_name_the_command(stage):
    here = stage(kind="vector", n=100)
    (here.features / "extractor.json").unlink()
    with pytest.raises(FeatureError, match=r"extractor\.json is missing.*pipelines/features\.py data=drawn-vector"):
        here.run()


def test_json_with_a_nan_is_an_error_and_leaves_the_old_file(tmp_path):
    path = tmp_path / "scores.json"
    write_json({"a": 1.0}, path)
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json({"a": float("nan")}, path)
    assert json.loads(path.read_text()) == {"a": 1.0}
    assert [file.name for file in tmp_path.iterdir()] == ["scores.json"]


def test_the_description_has_a_row_for_each_use(stage):
    text = description(stage(kind="vector", n=100, labels=True).run().result)
    assert "| steer | – | | | | needs factors |" in text
    assert "| find |" in text
    assert "Label of the neighbours" in text


def test_a_page_for_mlflow_has_every_score_or_its_reason(stage):
    here = stage(kind="vector", n=100, labels=True)
    found = here.run()
    text = (here.out / "scores.html").read_text(encoding="utf-8")
    for entry in found.scores.values():
        assert entry["title"] in text
        assert entry["reason"] is None or entry["reason"] in text
    assert "random encoder" in text


@pytest.mark.slow
def test_the_stage_process_never_imports_lightning_and_logs_to_the_run_of_the_training(stage, tmp_path, monkeypatch):
    here = stage(kind="image", n=100, labels=True)
    monkeypatch.setenv("LATENT_ATLAS_HOME", str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    from latent_atlas.training.tracking import Tracker, client

    settings = {"enabled": True, "system_metrics": False, "pyfunc": False}
    with Tracker(settings, "run", {"source": "test"}) as training:
        pass
    trained = json.loads((here.model / "train.json").read_text()) | {"mlflow_run_id": training.run_id}
    (here.model / "train.json").write_text(json.dumps(trained))
    plan = {"train": here.train, "evaluate": here.section | {"tracking": settings, "metrics_file": "metrics/all.yaml"}}
    (tmp_path / "plan/metrics").mkdir(parents=True)
    (tmp_path / "plan/metrics/all.yaml").write_text(yaml.safe_dump(here.section["evaluation"]["metrics"]))
    (tmp_path / "plan/run.yaml").write_text(yaml.safe_dump(plan))
    (tmp_path / "data").mkdir()
    here.data.rename(tmp_path / "data" / here.data.name)
    script = (
        f"import runpy, sys; sys.path.insert(0, {str(ROOT / 'tests')!r}); sys.argv = ['evaluate.py', 'run=run'];"
        f"runpy.run_path({str(ROOT / 'pipelines/evaluate.py')!r}, run_name='__main__');"
        "assert 'mlflow' in sys.modules; assert 'pytorch_lightning' not in sys.modules; assert 'lightning' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("run: ")
    run = client().get_run(training.run_id)
    flat = json.loads((tmp_path / "metrics/core" / here.data.name / "run.json").read_text())
    assert run.data.metrics["score/mse"] == pytest.approx(flat["mse"])
    assert run.data.metrics["headline/find"] == pytest.approx(flat["knn_accuracy"])
    assert run.info.status == "FINISHED"
    assert "| keep |" in run.data.tags["mlflow.note.content"]
    assert {file.path for file in client().list_artifacts(training.run_id, "pictures")} == {
        f"pictures/{name}.png" for name in ("reconstructions", "samples", "traversals", "interpolations")
    }


@pytest.mark.parametrize(("script", "said"), [("evaluate.py", "usage: "), ("features.py", "usage: ")])
def test_scripts_say_how_they_are_called(script, said):
    done = subprocess.run([sys.executable, str(ROOT / "pipelines" / script)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.startswith(said)


def test_a_code_in_curved_spaces_has_every_score_and_the_chart_of_its_space(stage, monkeypatch):
    space = zoo.partial(
        "latent_atlas.spaces.product.Product",
        factors=[
            {"_target_": "latent_atlas.spaces.sphere.Sphere", "latent_size": 2},
            {"_target_": "latent_atlas.spaces.torus.Torus", "latent_size": 2},
            {"_target_": "latent_atlas.spaces.ball.PoincareBall", "latent_size": 2},
        ],
    )
    names = ("spherical.PowerSphericalHead", "spherical.VonMisesFisherHead", "hyperbolic.WrappedNormalHead")
    heads = zoo.partial("latent_atlas.models.mixed.IndependentHead", heads=[zoo.partial(f"latent_atlas.models.{n}") for n in names])
    monkeypatch.setitem(zoo.CONF, "curved", zoo.conf("curved", zoo.small_vae(latent_size=6, space=space, posterior=heads)))
    here = stage(kind="binary", n=200, factors=True, labels=True, model="curved")
    found = here.run()
    failed = {entry["metric"]: entry["reason"] for entry in found.scores.values() if entry["status"] == "failed"}
    assert failed == {}
    assert "codes" in (latents := np.load(here.out / "latents.npz"))
    assert latents["codes"].shape == (40, 3 + 4 + 2)
    assert latents["xy"].shape == (40, 2)
    assert found.result["chart"].startswith("in factor ")
    assert (here.out / "interpolations.png").exists()
