"""One database, one experiment, one run from training to evaluation; what a run shows, and runs that died."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from stage import ROOT, Stage

import latent_atlas
from latent_atlas import workspace
from latent_atlas.loading import LoadError
from latent_atlas.training import sweep_runs, tracking
from latent_atlas.training.fit import train

QUIET = {"system_metrics": False, "pyfunc": False}
TAGS = {"data": "bars", "model": "vae", "family": "test"}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A database made once (its migrations take seconds), copied for each test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LATENT_ATLAS_HOME", str(tmp_path_factory.mktemp("database")))
        tracking.initialise()
        return workspace.work() / "mlflow.db"


@pytest.fixture
def database(made, home):
    (home / "work").mkdir()
    (home / "work/mlflow.db").write_bytes(made.read_bytes())
    return home / "work/mlflow.db"


def run_of(run_id):
    return tracking.client().get_run(run_id)


def test_importing_it_loads_neither_torch_nor_mlflow_nor_lightning():
    code = "import sys, latent_atlas.training.tracking; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "mlflow", "pytorch_lightning"} & set(loaded)


@pytest.mark.slow
def test_two_processes_that_make_the_database_at_once_both_live(home):
    code = """if True:
        import sys, time, pathlib
        import mlflow.store.tracking.sqlalchemy_store
        from latent_atlas.training.tracking import client, experiment_id
        pathlib.Path(sys.argv[1]).touch()
        while not pathlib.Path(sys.argv[2]).exists():
            time.sleep(0.001)
        print(experiment_id(client()))"""
    env = os.environ | {"LATENT_ATLAS_HOME": str(home), "PYTHONPATH": str(ROOT / "src")}
    ready, go = [home / "ready1", home / "ready2"], home / "go"
    piped = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    running = [subprocess.Popen([sys.executable, "-c", code, str(mine), str(go)], env=env, **piped) for mine in ready]
    while not all(mine.exists() for mine in ready):
        assert all(process.poll() is None for process in running)
        time.sleep(0.01)
    go.touch()
    said = [process.communicate(timeout=120) for process in running]
    assert [process.returncode for process in running] == [0, 0], said
    assert said[0][0] == said[1][0]
    assert not list((home / "work").glob("*.partial"))


def test_the_database_takes_readers_beside_a_writer(database):
    import sqlite3

    assert sqlite3.connect(database).execute("PRAGMA journal_mode").fetchone() == ("wal",)


@pytest.mark.slow
def test_a_run_that_was_killed_is_closed_at_the_next_start(database, home):
    stage = Stage(home, tracking=True)
    assert stage.fork("kill:23").returncode == -9
    api = tracking.client()
    experiment = tracking.experiment_id(api)
    (left,) = api.search_runs([experiment])
    assert left.info.status == "RUNNING"
    with tracking.Tracker(QUIET, "other", TAGS) as other:
        assert run_of(left.info.run_id).info.status == "KILLED"
        # This process lives: nobody closes its run.
        assert tracking.close_stale(api, experiment) == []
        assert run_of(other.run_id).info.status == "RUNNING"
    # The same run goes on in the same MLflow run.
    assert stage.fork().returncode == 0
    again = run_of(left.info.run_id)
    assert again.info.status == "FINISHED"
    assert again.data.tags["overrides"] == "trainer.steps=40 model.net.beta=1", "as the entry of conf/pipeline.yaml has them"
    assert len(api.search_runs([experiment])) == 2


def test_a_process_number_that_another_process_has_by_now_is_dead():
    mine = tracking.process_tags()
    assert tracking._lives(mine)
    assert not tracking._lives(mine | {"started": str(float(mine["started"]) - 1000)})
    assert not tracking._lives({"host": mine["host"]})


def test_what_a_training_shows(database, home):
    stage = Stage(home, "small_vae", steps=20)
    tags = {"source": "pipeline", "overrides": "trainer.steps=20"}
    record = train(stage.section | {"code": {"a.py": "0"}}, stage.data, stage.out, tags=tags, tracking=QUIET)
    api, run = tracking.client(), run_of(record["mlflow_run_id"])
    assert run.info.status == "FINISHED"
    assert run.info.run_name == stage.run
    shown = {"data": "bars", "model": "small_vae", "family": "test", "seed": "3", **tags}
    assert shown.items() <= run.data.tags.items()
    assert {"git_commit", "data_hash", "fingerprint", "pid", "host"} <= set(run.data.tags)
    assert run.data.params["trainer.batch_size"] == "16"
    assert run.data.params["model.net.optimizer.lr"] == "0.001"
    assert not [name for name in run.data.params if name.startswith("code")]
    history = api.get_metric_history(run.info.run_id, "train/loss")
    assert [point.step for point in history] == [4, 8, 12, 16, 20]
    assert [point.value for point in history] == [row["loss"] for row in record["history"] if "loss" in row]
    assert [point.step for point in api.get_metric_history(run.info.run_id, "val/loss")] == [10, 20]
    (dataset,) = run.inputs.dataset_inputs
    assert dataset.dataset.name == "bars"
    assert {"config.yaml", "run"} <= {file.path for file in api.list_artifacts(run.info.run_id)}
    kept = Path(api.download_artifacts(run.info.run_id, "config.yaml")).read_text(encoding="utf-8")
    assert yaml.safe_load(kept)["code"] == {"a.py": "0"}


def test_a_run_has_the_machine_s_load_and_its_model_in_two_forms(database, home, monkeypatch):
    """With every part of tracking on, as a stage has it: what a user finds on the run's page, and what ``load`` makes of it."""
    import mlflow

    monkeypatch.setattr(tracking, "FIRST_SAMPLE_SECONDS", 0.05)
    stage = Stage(home, "small_vae", steps=20)
    record = train(stage.section, stage.data, stage.out)
    identity = record["mlflow_run_id"]
    run = run_of(identity)
    assert {"system/cpu_utilization_percentage", "system/system_memory_usage_megabytes"} <= set(run.data.metrics)
    assert run.data.metrics["train/items_per_second"] > 0
    ours = latent_atlas.load(stage.out).state_dict()
    for uri in (f"runs:/{identity}/run", f"runs:/{identity}/model"):
        theirs = latent_atlas.load(uri)
        assert not theirs.training
        assert all(torch.equal(value, theirs.state_dict()[key]) for key, value in ours.items())
    served = mlflow.pyfunc.load_model(f"runs:/{identity}/model")
    x = np.load(stage.data / "image.npy")[:3].astype(np.float32) / 255
    assert served.predict(x, params={"verb": "encode"}).shape == (3, 3)
    with pytest.raises(LoadError, match="has no model"):
        latent_atlas.load(f"runs:/{identity}/config.yaml")


SPY = """
import atexit, json, os, pathlib, sys

def tell():
    if "mlflow" in sys.modules:
        from mlflow.telemetry import get_telemetry_client
        switches = {key: os.environ.get(key) for key in ("MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK")}
        told = {"client": str(get_telemetry_client()), **switches}
        (pathlib.Path(os.environ["SPY"]) / f"{os.getpid()}.json").write_text(json.dumps(told))

atexit.register(tell)
"""


@pytest.mark.slow
def test_a_stage_sends_nothing_home_and_shows_no_advert(database, home):
    """In a shell that says nothing about telemetry, and that MLflow does not take for a test."""
    stage = Stage(home, "small_vae", tracking=True, steps=2)
    (home / "spy").mkdir()
    (home / "spy/sitecustomize.py").write_text(SPY)
    env = stage.env(SPY=str(home / "spy"))
    env = {key: value for key, value in env.items() if not key.startswith(("PYTEST", "CI", "DO_NOT_TRACK", "GITHUB"))}
    env["PYTHONPATH"] = os.pathsep.join([str(home / "spy"), env["PYTHONPATH"]])
    words = [sys.executable, str(ROOT / "pipelines/train.py"), f"run={stage.run}"]
    done = subprocess.run(words, cwd=home, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    (told,) = [json.loads(path.read_text()) for path in (home / "spy").glob("*.json")]
    assert told == {"client": "None", "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
    for advert in ("Tip", "litlogger", "LitLogger", "elemetry", "View run", "🏃"):
        assert advert not in done.stdout + done.stderr


def test_evaluation_goes_on_in_the_run_of_the_training(database):
    with tracking.Tracker(QUIET, "r", TAGS) as first:
        pass
    with tracking.reopen_tracker(QUIET, first.run_id, "r", {"tier": "core"}) as tracker:
        tracker.scores({"headline/keep": 0.5, "score/fid_domain_n5": 2.0})
        tracker.describe("**good**")
    run = run_of(first.run_id)
    assert run.data.metrics == {"headline/keep": 0.5, "score/fid_domain_n5": 2.0}
    assert run.data.tags["mlflow.note.content"] == "**good**"
    assert run.data.tags["data"] == "bars"
    with tracking.reopen_tracker(QUIET, "0" * 32, "r", TAGS) as other:  # a run of another database
        assert other.run_id != "0" * 32


@pytest.mark.parametrize(
    ("error", "status"), [(ValueError("no"), "FAILED"), (SystemExit(143), "KILLED"), (KeyboardInterrupt(), "KILLED")]
)
def test_how_a_run_ends(database, error, status):
    tracker = tracking.Tracker(QUIET, "r", TAGS)

    def work():
        with tracker:
            tracker.metrics({"a": 1.0}, 1)
            raise error

    with pytest.raises(type(error)):
        work()
    run = run_of(tracker.run_id)
    assert run.info.status == status
    assert run.data.metrics == {"a": 1.0}


def test_nothing_is_written_when_tracking_is_off(home):
    with tracking.Tracker({"enabled": False}, "r", TAGS) as tracker:
        tracker.metrics({"a": 1.0}, 1)
        tracker.scores({"a": 1.0})
        tracker.describe("x")
        tracker.pictures([home / "none.png"])
    assert tracker.run_id is None
    assert not (home / "work").exists()


def test_a_sweep_counts_its_failed_jobs(database, home):
    folder = home / "multirun/a"
    parent = sweep_runs.parent_run(folder, "sweep a", {"source": "sweep"})
    assert sweep_runs.parent_run(folder, "sweep a", {}) == parent
    for number in range(2):
        with tracking.Tracker(QUIET, f"job {number}", {tracking.PARENT: parent, "job": str(number)}):
            pass
    sweep_runs.fail_job(parent, "job 1", {tracking.PARENT: parent, "job": "1"}, ValueError("evaluation"))  # after its training
    sweep_runs.fail_job(parent, "job 2", {tracking.PARENT: parent, "job": "2"}, ValueError("no data"))  # before it had a run
    assert sweep_runs.close_parent(folder) == {"FINISHED": 1, "FAILED": 2}
    run = run_of(parent)
    assert run.info.status == "FAILED"
    assert "3 jobs, 2 of them failed" in run.data.tags["mlflow.note.content"]


def test_a_sweep_over_seeds_says_whether_they_find_the_same_dimensions(database, home):
    folder = home / "multirun/a"
    parent = sweep_runs.parent_run(folder, "sweep a", {})
    base = np.random.default_rng(0).normal(size=(300, 4))
    for number, (model, seed) in enumerate([("vae", 0), ("vae", 1), ("vae", 2), ("ae", 0), ("ae", 1), ("pca", 0)]):
        job = folder / str(number)
        (job / "evaluation").mkdir(parents=True)
        entry = {"data": "digits", "model": model, "tag": f"model={model} seed={seed} trainer.steps=5", "seed": seed}
        (job / "job.yaml").write_text(yaml.safe_dump(entry))
        own = base[:, np.random.default_rng(number).permutation(4)] if model == "vae" else base
        kept = {"codes": own, "index": np.arange(300) + (number if model == "ae" else 0)}
        np.savez(job / "evaluation" / "latents.npz", **kept)
    sweep_runs.close_parent(folder)
    run = run_of(parent)
    assert set(run.data.metrics) == {"udr/digits-vae trainer.steps_5"}
    assert run.data.metrics["udr/digits-vae trainer.steps_5"] > 0.8
    said = run.data.tags["mlflow.note.content"]
    assert re.search(r"\| digits-vae trainer.steps=5 \| 0\.\d+ \| 0\.\d+ to 0\.\d+ \| 0\.\d+ \| 0\.\d+ \| 3 \| 300 \|", said)
    assert "| digits-ae trainer.steps=5 | – | the seeds' codes are of different items |" in said
    assert "pca" not in said


def test_a_search_ends_in_a_front(database, home):
    folder = home / "multirun/a"
    parent = sweep_runs.parent_run(folder, "sweep a", {})
    for number in range(2):
        with tracking.Tracker(QUIET, f"job {number}", {tracking.PARENT: parent, "job": str(number)}):
            pass
    trials = [
        {"job": n, "on_front": n == 1, "params": {"model.net.beta": 4.0}, "values": {"mse": 0.5, "mig": 0.25}} for n in range(2)
    ]
    (folder / "pareto.json").write_text(json.dumps(trials))
    sweep_runs.close_parent(folder)
    api = tracking.client()
    marks = {run.data.tags["job"]: run.data.tags["pareto"] for run in sweep_runs.children(api, parent)}
    assert marks == {"0": "beaten", "1": "front"}
    assert "| 1 | 0.5 | 0.25 | model.net.beta=4.0 |" in run_of(parent).data.tags["mlflow.note.content"]
    assert [file.path for file in api.list_artifacts(parent)] == ["pareto.json"]


def test_the_ui_opens_at_the_comparison(database):
    address, command = tracking.ui_command()
    assert address.startswith("http://127.0.0.1:5000/#/")
    assert str(workspace.work() / "mlflow.db") in " ".join(command)
    assert command[command.index("--host") + 1] == "127.0.0.1"


def test_signals_are_python_s_own_after_a_training(database, home):
    stage = Stage(home, "small_vae", steps=2)
    before = signal.getsignal(signal.SIGTERM)
    train(stage.section, stage.data, stage.out, tracking={"enabled": False})
    assert signal.getsignal(signal.SIGTERM) == before
