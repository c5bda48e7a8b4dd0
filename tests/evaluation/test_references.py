"""Floors and ceilings beside a score, and arrays that outlive an evaluation."""

import json

import pytest
import torch

from latent_atlas.evaluation.kept import Kept
from latent_atlas.evaluation.references import OF_THE_MODEL, TITLES, StandIn
from latent_atlas.models.vae import VAE


def entry(result, metric):
    return next(score for score in result.scores.values() if score["metric"] == metric)


def test_reconstruction_stands_between_the_mean_item_and_pca(stage):
    found = entry(stage(kind="image", n=200, labels=True).run(), "mse")
    assert (found["floor_by"], found["ceiling_by"]) == ("mean item", "the items themselves")
    assert found["ceiling"] == 0
    assert 0 < found["references"]["PCA"] < found["floor"]
    assert found["interval"][0] < found["value"] < found["interval"][1]
    assert found["interval_by"] == "normal, over items"


def test_codes_are_held_against_a_random_encoder_and_the_raw_observations(stage):
    found = entry(stage(kind="image", n=200, labels=True).run(), "knn_accuracy")
    assert (found["floor_by"], found["ceiling_by"]) == ("random encoder", "raw observations")
    assert 0 <= found["floor"] <= 1
    assert found["references"].keys() == {"PCA"}


def test_floors_are_found_once_for_a_data_set_and_not_once_per_run(stage, monkeypatch):
    here = stage(kind="image", n=200, labels=True)
    first = here.run()
    kept = sorted((here.features.parent / ".floors").glob("*.json"))
    assert {json.loads(path.read_text())["stand_in"] for path in kept} >= {"random_encoder", "pca", "raw", "mean_item"}

    def fail(*_):
        raise AssertionError("a floor was computed again")

    for name in TITLES:
        monkeypatch.setattr(StandIn, f"_{name}", lambda self: dict.fromkeys(OF_THE_MODEL, fail))
    second = here.run()
    assert {key: (s["floor"], s["ceiling"]) for key, s in first.scores.items()} == {
        key: (s["floor"], s["ceiling"]) for key, s in second.scores.items()
    }


OF_THE_MODEL_ITSELF = ("cycle_error", "cycle_error_codes", "ppl", "error_by_width")
PASSING = (
    *OF_THE_MODEL_ITSELF,
    "mse",
    "nll",
    "distortion",
    "rate",
    "latent_shift",
    "latent_information",
    "generalization_gap",
    "fid",
)


def counted(monkeypatch):
    """Every pass through the model from now on: (verb, items)."""
    passes = []
    for verb in ("encode", "decode"):
        whole = getattr(VAE, verb)
        monkeypatch.setattr(
            VAE, verb, lambda self, x, condition=None, v=verb, f=whole: passes.append((v, len(x))) or f(self, x, condition)
        )
    return passes


def test_a_later_evaluation_of_the_same_weights_makes_no_pass_through_the_model(stage, monkeypatch):
    here = stage(kind="image", n=300, labels=True)
    for drawer in ("pictures.draw", "evaluate.refitted"):  # pictures are drawn anew
        monkeypatch.setattr(f"latent_atlas.evaluation.{drawer}", lambda *_: {})
    given = {"metrics": {name: here.section["evaluation"]["metrics"][name] for name in PASSING}}
    first = here.run(name="standard", resamples=2, **given)
    ok = {score["metric"] for score in first.scores.values() if score["status"] == "ok"}
    assert ok == set(PASSING) - {"error_by_width"}  # of an untrained model no dimension helps: a reason, found once as well
    passes = counted(monkeypatch)
    second = here.run(name="standard", resamples=2, **given)
    assert passes == []
    assert second.scores == first.scores
    here.section["code"] = "other metrics"  # which may ask the model for something else
    here.run(name="standard", resamples=2, **given)
    assert passes
    passes.clear()
    del given["metrics"]["error_by_width"], given["metrics"]["ppl"], given["metrics"]["cycle_error"]
    del given["metrics"]["cycle_error_codes"]
    here.run(name="standard", resamples=7, refits=2, importance_samples=8, **given)
    # The new importance draws alone: each item is encoded once, each of its draws decoded.
    assert {verb: sum(n for name, n in passes if name == verb) for verb, _ in passes} == {"encode": 60, "decode": 60 * 8}


def test_the_reference_protocol_has_only_what_a_package_defines(stage):
    result = stage(kind="image", n=200, labels=True).run(protocol="reference")
    assert entry(result, "knn_accuracy")["status"] == "not applicable"
    assert entry(result, "mse")["provenance"]["protocol"] == "reference"
    assert entry(result, "inception_score")["provenance"]["splits"] == 10
    assert "by LPIPS on VGG16" in entry(result, "ppl")["reason"]


def test_what_was_kept_is_dropped_with_other_weights_and_made_again_when_it_is_damaged(tmp_path):
    first = Kept(tmp_path, "a")
    assert torch.equal(first.get("recon", lambda: torch.ones(3)), torch.ones(3))
    assert torch.equal(Kept(tmp_path, "a").get("recon", pytest.fail), torch.ones(3))
    next((tmp_path / "a").glob("recon-*.pt")).write_bytes(b"broken")
    assert torch.equal(Kept(tmp_path, "a").get("recon", lambda: torch.zeros(3)), torch.zeros(3))
    Kept(tmp_path, "b")
    assert not (tmp_path / "a").exists()
