"""The whole pipeline with real DVC in a temporary clone: an edit re-runs what it changes and nothing else, experiments work."""

from __future__ import annotations

import json
import sqlite3
import time

import pytest
import yaml
from clone import Clone

pytestmark = pytest.mark.slow

PIPELINE = """\
trainer: smoke
data:
  digits: {source: conf/data/digits.yaml}
runs:
  digits-pca: {data: digits, model: pca, needs: data/digits, tier: core, overrides: []}
  digits-vae: {data: digits, model: vae, needs: data/digits, tier: core, overrides: [model.net.warmup=2, seed=1]}
  digits-beta_vae: {data: digits, model: beta_vae, needs: data/digits, tier: core, overrides: []}
  digits-second_stage: {data: digits, model: second_stage, needs: models/digits-beta_vae, tier: core, overrides: []}
reports:
  digits: {scores: metrics/core/digits}
"""
RUNS = ("pca", "vae", "beta_vae", "second_stage")


def of(stage: str, *models: str) -> set[str]:
    return {f"{stage}@digits-{model}" for model in models}


def again(*models: str) -> set[str]:
    """A run whose training changed is evaluated again, too: its evaluation depends on both sections."""
    return of("train", *models) | of("evaluate", *models)


EVALUATED = of("evaluate", *RUNS) | {"report@digits"}  # a page's plan names how each of its runs is evaluated
CODE = ("\nclass ", "\nEDITED = 1\n\n\nclass ")
FUNCTION = ("\ndef ", "\nEDITED = 1\n\n\ndef ")

# name: (file, old text, new text, the stages that `dvc status` names: the first changed level)
EDITS = {
    "one model's conf": ("conf/model/beta_vae.yaml", "beta: 4.0", "beta: 5.0", again("beta_vae")),
    "an inherited base conf": ("conf/model/vae.yaml", "net:\n", "net:\n  clip: 9.0\n", again("vae", "beta_vae")),
    "its module": ("src/latent_atlas/models/vae.py", *CODE, again("vae", "beta_vae")),
    "a net it uses": ("src/latent_atlas/nets/conv.py", *CODE, again("vae", "beta_vae")),
    "a comment": ("src/latent_atlas/models/vae.py", "\nclass ", "\n# why\nclass ", set()),
    "a docstring": ("src/latent_atlas/models/vae.py", '"""', '"""Edited: ', set()),
    "evaluation conf": ("conf/budget/quick.yaml", "seed: 0", "seed: 1", EVALUATED),
    "a metric": ("src/latent_atlas/metrics/clusters.py", *FUNCTION, EVALUATED),
    "tracking code": ("src/latent_atlas/training/tracking.py", *FUNCTION, set()),
    "report code": ("src/latent_atlas/report/build.py", *FUNCTION, {"report@digits"}),
    "an unrelated model": ("conf/model/pca.yaml", "items: ", "items: 1", again("pca")),
}


@pytest.fixture(scope="module")
def clone(tmp_path_factory, second_stage):
    clone = Clone(tmp_path_factory.mktemp("pipeline"), PIPELINE)
    second_stage(clone.root)
    # The model that MLflow serves takes 2 s a run and no part in what re-runs; own data are trained with it.
    tracking = clone.root / "conf/tracking/mlflow.yaml"
    tracking.write_text(tracking.read_text(encoding="utf-8").replace("pyfunc: true ", "pyfunc: false"), encoding="utf-8")
    clone.commit("the second stage")
    clone.said = clone.run("python", "pipelines/repro.py", "pages=digits").stdout  # what `make repro` runs
    clone.commit("a full run")
    return clone


@pytest.fixture
def loaded(clone):
    """The clone, its stages forked from a process with their libraries loaded."""
    with clone.preloaded():
        yield clone


def test_everything_ran(clone):
    for run in RUNS:
        assert (clone.root / f"metrics/core/digits/digits-{run}.json").is_file()
    assert (clone.root / "reports/build/digits/index.html").is_file()
    for advert in ("Tip", "litlogger", "elemetry"):
        assert advert not in clone.said


def test_a_run_of_the_pipeline_shows_its_overrides_and_its_speed(clone):
    with sqlite3.connect(clone.root / "work/mlflow.db") as database:
        (run,) = database.execute("select run_uuid from tags where key = 'mlflow.runName' and value = 'digits-vae'").fetchone()
        (shown,) = database.execute("select value from tags where key = 'overrides' and run_uuid = ?", [run]).fetchone()
        names = {key for (key,) in database.execute("select distinct key from metrics where run_uuid = ?", [run])}
    assert shown == "model.net.warmup=2 seed=1"
    assert {"train/items_per_second", "score/mse"} <= names


def test_a_second_repro_does_nothing(clone):
    start = time.perf_counter()
    done = clone.run("dvc", "repro")
    print(f"no-op repro: {time.perf_counter() - start:.1f} s")
    assert "up to date" in done.stdout + done.stderr
    assert "Running stage" not in done.stdout + done.stderr


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_changes_exactly_its_stages(clone, edit):
    name, old, new, expected = EDITS[edit]
    with clone.edited(name, old, new):
        assert clone.changed() == expected


def test_data_conf_changes_the_preparation_alone(clone):
    with clone.edited("conf/data/digits.yaml", "split:", "# why\nsplit:"):
        # The file is the source of its data set, so DVC looks at it again; its outputs will be the same.
        assert clone.changed() == {"prepare@digits"}
    with clone.edited("conf/data/digits.yaml", "title:", "title: Edited "):
        assert clone.changed() == {"prepare@digits"}


def test_edits_that_are_taken_back_leave_nothing_to_do(clone):
    """All of the above: what they planned in between is forgotten."""
    assert clone.changed() == set()


def test_a_changed_first_stage_retrains_the_second_and_no_other_and_dvc_compares_them(loaded):
    shown = loaded.run("dvc", "metrics", "show", "--json").stdout
    assert "metrics/core/digits/digits-beta_vae.json" in shown
    with loaded.edited("conf/model/beta_vae.yaml", "beta: 4.0", "beta: 5.0"):
        done = loaded.run("dvc", "repro")
        ran = {line.split("'")[1] for line in done.stdout.splitlines() if line.startswith("Running stage")}
        assert ran - {"plan"} == again("beta_vae", "second_stage") | {"report@digits"}  # DVC may have kept that plan
        assert "digits-beta_vae.json" in loaded.run("dvc", "metrics", "diff").stdout
        assert "beta" in loaded.run("dvc", "params", "diff").stdout


def test_plain_dvc_trains_the_same_weights(clone):
    """The first run was forked from a process with its libraries loaded, beside another."""

    runs = ("digits-pca", "digits-beta_vae")

    def weights():
        return [json.loads((clone.root / f"models/{run}/train.json").read_text())["sha256"] for run in runs]

    clone.run("git", "checkout", "-q", "dvc.lock", "metrics")  # as the full run left them, before the edit above
    clone.run("dvc", "checkout", "-f")
    forked = weights()
    clone.run("dvc", "repro", "-f", "-s", "train@digits-pca", "train@digits-beta_vae")
    assert weights() == forked


def test_scores_are_flat_finite_numbers_and_every_metric_has_a_status(clone):
    for run in RUNS:
        flat = json.loads((clone.root / f"metrics/core/digits/digits-{run}.json").read_text())
        assert flat
        assert all(isinstance(value, (int, float)) and abs(value) < float("inf") for value in flat.values())
        found = json.loads((clone.root / f"evaluations/digits-{run}/evaluation.json").read_text(), parse_constant=pytest.fail)
        listed = {path.stem for path in (clone.root / "conf/evaluation/metric").glob("*.yaml")}
        assert {score["metric"] for score in found["scores"].values()} == listed
        assert {key for key, score in found["scores"].items() if score["status"] == "ok"} == set(flat)
        ssim = next(score for score in found["scores"].values() if score["metric"] == "ssim")
        assert ssim["status"] == "not applicable"
        assert "8" in ssim["reason"]


def mlflow_runs(clone) -> list[dict[str, str]]:
    """The parameters of every run in the clone's one database."""
    with sqlite3.connect(clone.root / "work/mlflow.db") as database:
        runs: dict[str, dict[str, str]] = {}
        for run, key, value in database.execute("select run_uuid, key, value from params"):
            runs.setdefault(run, {})[key] = value
    return list(runs.values())


def test_a_queued_experiment_uses_its_own_code_and_conf_and_the_one_database(loaded):
    loaded.run("git", "add", "-A")
    loaded.run("git", "commit", "-qm", "before the experiment", check=False)
    before = len(mlflow_runs(loaded))
    with loaded.edited("src/latent_atlas/models/vae.py", "class VAE(AE):", "MARK = 'the experiment'\n\n\nclass VAE(AE):"):
        loaded.run("dvc", "exp", "run", "--queue", "-S", "conf/model/vae.yaml:net.beta=2.5", "evaluate@digits-vae")
    assert "MARK" not in (loaded.root / "src/latent_atlas/models/vae.py").read_text()
    done = loaded.run("dvc", "exp", "run", "--run-all")
    listed = json.loads(loaded.run("dvc", "exp", "show", "--json").stdout)
    assert "digits-vae.json" in json.dumps(listed), done.stdout
    runs = mlflow_runs(loaded)
    assert len(runs) > before
    assert any(value == "2.5" for run in runs for key, value in run.items() if key.endswith("net.beta"))
    # The workspace is as it was: conf, code and models are those of the experiment only there.
    assert yaml.safe_load((loaded.root / "models/digits-vae/config.yaml").read_text())["model"]["net"]["beta"] == 1.0
    assert not list((loaded.root / "work/runs").glob("*/last.ckpt"))
    name = loaded.run("dvc", "exp", "list", "--sha-only").stdout.split()[-1]
    code = loaded.run("git", "show", f"{name}:src/latent_atlas/models/vae.py", check=False).stdout
    assert "the experiment" in code
    lock = yaml.safe_load(loaded.run("git", "show", f"{name}:dvc.lock").stdout)
    theirs = lock["stages"]["train@digits-vae"]["params"]["plan/digits-vae.yaml"]["train"]
    ours = yaml.safe_load((loaded.root / "plan/digits-vae.yaml").read_text())["train"]
    assert theirs["model"]["net"]["beta"] == 2.5
    assert theirs["code"] != ours["code"]
