"""A sweep in real processes: its jobs, its runs in MLflow, and what is prepared once."""

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
import yaml
from stage import ROOT, Stage

from latent_atlas.data.datamodule import DataModule
from latent_atlas.planning.compose import Composer, sections
from latent_atlas.training import sweep, sweep_runs, tracking

SMALL = ["data=digits", "trainer=smoke", "evaluation.extractor.steps=5", "tracking.system_metrics=false", "tracking.pyfunc=false"]


def test_a_terminated_sweep_leaves_no_worker_behind(tmp_path):
    script = """
import os, sys, time
from pathlib import Path
from joblib import Parallel, delayed
from latent_atlas.training.sweep import end_with_workers

def work(folder):
    (Path(folder) / str(os.getpid())).touch()
    time.sleep(120)

end_with_workers()
Parallel(n_jobs=2)(delayed(work)(sys.argv[1]) for _ in range(2))
"""
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    running = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], env=env, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while len(list(tmp_path.iterdir())) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    workers = [psutil.Process(int(path.name)) for path in tmp_path.iterdir()]
    assert len(workers) == 2
    running.send_signal(signal.SIGTERM)
    assert running.wait(30) == 143
    assert psutil.wait_procs(workers, timeout=10)[1] == []


@pytest.mark.slow
def test_two_workers_one_of_which_fails(home):
    stage = Stage(home)
    words = ["-m", "model=vae", *SMALL, "trainer.precision=32-true,wrong", "hydra/launcher=joblib", "hydra.sweep.dir=multirun/a"]
    command = [sys.executable, str(ROOT / "pipelines/train.py"), *words]
    done = subprocess.run(command, cwd=home, env=stage.env(), capture_output=True, text=True)
    assert done.returncode == 1
    assert "multirun/a: 1 failed, 1 finished" in done.stdout, done.stderr
    job = home / "multirun/a/0"
    assert {"plan.yaml", "model", "evaluation", "scores.json", "job.yaml"} <= {path.name for path in job.iterdir()}
    plan = yaml.safe_load((job / "plan.yaml").read_text())
    assert plan["train"]["trainer"]["threads"] == 1
    assert "mse" in json.loads((job / "scores.json").read_text())
    assert not (home / "multirun/a/1/scores.json").exists()
    prepared = [path.name.partition("-")[0] for path in (home / "work/prepared").iterdir()]
    assert prepared.count("data") <= 1
    assert prepared.count("features") == 1, "both workers use what one of them made"
    api = tracking.client()
    parent = json.loads((home / "multirun/a/mlflow.json").read_text())["run_id"]
    children = {run.data.tags["job"]: run for run in sweep_runs.children(api, parent)}
    assert {job: run.info.status for job, run in children.items()} == {"0": "FINISHED", "1": "FAILED"}
    assert "trainer.precision is 'wrong'" in children["1"].data.tags["error"]
    assert "score/mse" in children["0"].data.metrics
    assert api.get_run(parent).data.tags["jobs_failed"] == "1"
    # The page of the sweep: what finished, and what did not.
    words = [sys.executable, str(ROOT / "pipelines/report.py"), "runs=multirun/a"]
    page = subprocess.run(words, cwd=home, env=stage.env(), capture_output=True, text=True)
    assert page.returncode == 0, page.stderr
    index = (home / "multirun/a/report/index.html").read_text(encoding="utf-8")
    assert "digits-vae-0.html" in index
    assert "digits-vae-1." in index, "the job without an evaluation is named"
    assert (home / "multirun/a/report/digits-vae-0.html").is_file()


@pytest.mark.slow
def test_a_killed_sweep_goes_on_where_it_was_when_it_is_run_again(home):
    stage = Stage(home)
    words = ["-m", "model=vae", "seed=0,1", *SMALL, "trainer.steps=600", "trainer.checkpoint_every=20"]
    words += ["hydra.sweep.dir=multirun/a"]
    command = [sys.executable, str(ROOT / "pipelines/train.py"), *words]
    killed = subprocess.Popen(command, cwd=home, env=stage.env(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    deadline = time.monotonic() + 120
    while not list((home / "work/runs").glob("*/last.ckpt")):
        assert killed.poll() is None, killed.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    killed.kill()
    killed.wait()
    again = subprocess.run(command, cwd=home, env=stage.env(), capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("RESUME at step") == 1
    assert "multirun/a: 2 finished" in again.stdout
    api = tracking.client()
    runs = api.search_runs([tracking.experiment_id(api)])
    parent = json.loads((home / "multirun/a/mlflow.json").read_text())["run_id"]
    assert {run.info.run_id for run in runs} == {parent} | {run.info.run_id for run in sweep_runs.children(api, parent)}
    assert {run.data.tags["job"]: run.info.status for run in sweep_runs.children(api, parent)} == {"0": "FINISHED", "1": "FINISHED"}
    assert api.get_run(parent).info.status == "FINISHED"
    assert api.get_run(parent).data.tags["jobs"] == "2"


@pytest.mark.slow
def test_a_search_over_two_objectives_ends_in_a_front_in_mlflow(home):
    """conf/experiment/pareto.yaml itself, on 768 sprites and a few steps."""
    stage = Stage(home)
    words = ["-m", "+experiment=pareto", "hydra.sweeper.trials=2", "hydra.launcher.n_jobs=1", "hydra.sweep.dir=multirun/a"]
    words += ["+data.reader.sizes=[3,4,4,4,4]", "data.reference_size=100", "trainer.steps=5", "trainer.batch_size=16"]
    words += SMALL[2:]
    command = [sys.executable, str(ROOT / "pipelines/train.py"), *words]
    done = subprocess.run(command, cwd=home, env=stage.env(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    trials = json.loads((home / "multirun/a/pareto.json").read_text())
    assert [sorted(trial["values"]) for trial in trials] == [["mig", "mse"]] * 2
    assert all(set(trial["params"]) == {"model.net.beta", "model.net.latent_size"} for trial in trials)
    api = tracking.client()
    parent = json.loads((home / "multirun/a/mlflow.json").read_text())["run_id"]
    children = {run.data.tags["job"]: run for run in sweep_runs.children(api, parent)}
    assert set(children) == {"0", "1"}
    for trial in trials:
        child = children[str(trial["job"])]
        assert child.info.status == "FINISHED"
        assert child.data.tags["pareto"] == ("front" if trial["on_front"] else "beaten")
        assert float(child.data.params["model.net.beta"]) == pytest.approx(trial["params"]["model.net.beta"])
        assert child.data.metrics["score/mig"] == pytest.approx(trial["values"]["mig"])
    assert [file.path for file in api.list_artifacts(parent)] == ["pareto.json"]
    assert "Pareto front" in api.get_run(parent).data.tags["mlflow.note.content"]


def test_a_sweep_over_the_resolution_gets_data_of_each(home):
    """Prepared and drawn for real: 96 sprites at 32 and at 64 pixels, and the pipeline's own directories stay away."""
    shapes = []
    for resolution in (32, 64):
        words = [f"data.resolution={resolution}", "+data.reader.sizes=[3,2,4,2,2]", "data.reference_size=16"]
        words += ["data=dsprites", "evaluation.extractor.steps=2", "evaluation.extractor.dimensions=2"]
        with Composer(ROOT) as composer:
            config = composer.compose(words)
        data, features = sweep.inputs(home, sections(ROOT, config))
        assert home / "work/prepared" in data.parents
        shapes.append(DataModule(data).spec.x.shape)
        assert json.loads((features / "extractor.json").read_text())["dimensions"] == 2
    assert shapes == [(1, 32, 32), (1, 64, 64)]
    assert len(list((home / "work/prepared").glob("data-*"))) == 2
    assert len(list((home / "work/prepared").glob("features-*"))) == 2
    assert not (home / "data").exists()


def test_what_the_pipeline_made_is_used_only_if_made_from_the_same_section(tmp_path, monkeypatch):
    made, asked = [], {"prepare": {"name": "d", "data": {"resolution": 32}}, "features": {"name": "d", "extractor": {}}}

    def make(section, *where):
        made.append(section)
        where[-1].mkdir(parents=True)
        (where[-1] / "card.json").write_text('{"content_hash": "h"}')

    monkeypatch.setattr("latent_atlas.data.prepare.prepare", make)
    monkeypatch.setattr("latent_atlas.evaluation.features.make_features", make)
    for folder, file in (("data", "card.json"), ("features", "extractor.json")):
        (tmp_path / folder / "d").mkdir(parents=True)
        (tmp_path / folder / "d" / file).write_text('{"content_hash": "h"}')
    stages = {f"{key}@d": {"params": {"plan/data/d.yaml": {key: asked[key]}}} for key in ("prepare", "features")}
    (tmp_path / "dvc.lock").write_text(yaml.safe_dump({"stages": stages}))
    assert sweep.inputs(tmp_path, asked) == (tmp_path / "data/d", tmp_path / "features/d")
    assert made == []
    other = asked | {"prepare": {"name": "d", "data": {"resolution": 64}}}
    first, second = sweep.inputs(tmp_path, other), sweep.inputs(tmp_path, other)
    assert first == second
    assert tmp_path / "work/prepared" in first[0].parents
    assert made == [other["prepare"], other["features"]]


def test_help_and_the_composed_configuration_load_no_torch():
    for words in (["--help"], ["--cfg", "job"]):
        code = f"import sys; sys.argv = ['train.py', *{words}]; import runpy\n"
        code += f"try: runpy.run_path({str(ROOT / 'pipelines/train.py')!r}, run_name='__main__')\nexcept SystemExit: pass\n"
        code += "print('LOADED', *[m for m in ('torch', 'mlflow', 'pytorch_lightning') if m in sys.modules])"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.stdout.splitlines()[-1].strip() == "LOADED", done.stderr
