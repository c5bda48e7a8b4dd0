"""The only MLflow code: one database, one experiment, one run from training to evaluation."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from latent_atlas import workspace
from latent_atlas.importing import quickly
from latent_atlas.training.scratch import locked

EXPERIMENT = "latent-atlas"
# Without it MLflow 3 takes the experiment for one of language-model traces, and opens a page that shows none of its runs.
KIND = {"mlflow.experimentKind": "custom_model_development"}
ADDRESS = ("127.0.0.1", 5000)
ALL_RUNS = "The charts show the ten latest runs: the eye at the head of the list of runs > Show all runs."
FLUSH_SECONDS, FLUSH_POINTS = 10.0, 500
# Seconds between samples of the machine's load, and before the first, short so that a run of seconds has one. A sample costs 25 to
# 45 ms of the interpreter, since MLflow reads the whole run back for each: every 2 s, that slowed training by some percent.
FIRST_SAMPLE_SECONDS, SAMPLE_SECONDS = 1.0, 5.0
QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"}
PARENT = "mlflow.parentRunId"
Row = Mapping[str, Any]


def database() -> str:
    """``MLFLOW_TRACKING_URI``, or the SQLite file of the workspace."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{workspace.work() / 'mlflow.db'}"


def initialise() -> str:
    """Makes the database once, however many processes ask at the same time; gives its address.

    MLflow itself crashes when two processes migrate one SQLite file. So it is made under another name, behind a lock, and renamed
    when it is complete: whoever sees the file sees all of it.
    """
    for switch, value in QUIET.items():
        os.environ.setdefault(switch, value)
    uri = database()
    if not uri.startswith("sqlite:///"):
        return uri
    path = Path(uri.removeprefix("sqlite:///"))
    if path.exists():
        return uri
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path.with_name(f"{path.name}.lock")):
        if not path.exists():
            _create(path)
    return uri


def _create(path: Path) -> None:
    partial = path.with_name(f"{path.name}.partial")
    partial.unlink(missing_ok=True)
    _hush()
    from mlflow.entities import ExperimentTag
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    store = SqlAlchemyStore(f"sqlite:///{partial}", artifact_root(path))
    store.create_experiment(EXPERIMENT, f"{artifact_root(path)}/{EXPERIMENT}", [ExperimentTag(*tag) for tag in KIND.items()])
    store.engine.dispose()
    connection = sqlite3.connect(partial)
    # Readers and a writer at once, and commits that cost 10 ms instead of 20: the mode is kept in the file.
    connection.execute("PRAGMA journal_mode=WAL")
    connection.close()
    os.replace(partial, path)


def artifact_root(path: Path) -> str:
    """Where artifacts lie: beside the database."""
    return (path.parent / "mlruns").resolve().as_uri()


def _hush() -> None:
    for name in ("alembic", "mlflow.store.db", "mlflow.system_metrics", "mlflow.models", "mlflow.pyfunc", "mlflow.tracking"):
        logging.getLogger(name).setLevel(logging.ERROR)


def client() -> Any:
    """An ``MlflowClient`` on the initialised database."""
    uri = initialise()
    _hush()
    with quickly():
        import mlflow

        _point(mlflow, uri)
        return mlflow.MlflowClient(tracking_uri=uri)


def _point(mlflow: Any, uri: str) -> None:
    """Sets MLflow's address without its side effect on the environment, which would outlive a change of workspace."""
    before = os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(uri)
    if before is None:
        os.environ.pop("MLFLOW_TRACKING_URI", None)


def experiment_id(api: Any) -> str:
    """Of the one experiment; made where a server does not have it yet."""
    found = api.get_experiment_by_name(EXPERIMENT)
    if found is None:
        from mlflow.exceptions import MlflowException

        with contextlib.suppress(MlflowException):  # another process was faster
            api.create_experiment(EXPERIMENT, tags=KIND)
        found = api.get_experiment_by_name(EXPERIMENT)
    return str(found.experiment_id)


class Tracker:
    """One MLflow run, opened again by whoever goes on with it.

    Args:
        settings: of ``conf/tracking``: ``enabled``, ``system_metrics``, ``pyfunc``.
        run: the name it gets.
        tags: data, model, family, ...
        keep: the file that remembers the id beside the checkpoint; the id is written there before anything else happens.
        run_id: of an existing run (evaluation goes on with the one of training).

    Leaving the block ends the run: FINISHED, KILLED (SystemExit, Ctrl-C) or FAILED.
    """

    def __init__(
        self, settings: Row | None, run: str, tags: Mapping[str, str], keep: Path | None = None, run_id: str | None = None
    ) -> None:
        self.settings = {"enabled": True, "system_metrics": True, "pyfunc": True, **(settings or {})}
        self.run, self.tags, self.keep = run, dict(tags), keep
        self.run_id = run_id
        self._api: Any = None
        self._monitor: Any = None
        self._points: list[tuple[str, float, int, int]] = []
        self._flushed = time.monotonic()
        self._killed = False

    @property
    def enabled(self) -> bool:
        """Whether anything is written."""
        return bool(self.settings["enabled"])

    def __enter__(self) -> Tracker:
        if not self.enabled:
            return self
        self._api = client()
        experiment = experiment_id(self._api)
        close_stale(self._api, experiment)
        tags = {"mlflow.runName": self.run} | self.tags | process_tags() | git_tags()
        known = self.run_id or (json.loads(self.keep.read_text())["run_id"] if self.keep and self.keep.exists() else None)
        if known and self._alive(known):
            self.run_id = known
            self._api.update_run(known, status="RUNNING")
            self._tag(tags)
        else:
            self.run_id = self._api.create_run(experiment, tags=tags).info.run_id
        if self.keep is not None:
            from latent_atlas.training.outputs import atomic_text

            atomic_text(json.dumps({"run_id": self.run_id}), self.keep)
        return self

    def _alive(self, run_id: str) -> bool:
        from mlflow.exceptions import MlflowException

        try:
            return bool(self._api.get_run(run_id).info.lifecycle_stage == "active")
        except MlflowException:  # another database, or a deleted run
            return False

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if not self.enabled:
            return
        if self._monitor is not None:
            self._monitor.finish()
        self.flush()
        killed = self._killed or isinstance(error, (KeyboardInterrupt, SystemExit))
        if error is not None and not killed:
            self._tag({"error": f"{type(error).__name__}: {error}"[:500]})
        self._api.set_terminated(self.run_id, "KILLED" if killed else "FINISHED" if error is None else "FAILED")

    def start(self, section: Row, card: Row) -> None:
        """Parameters, the configuration as an artifact, the data set, and the machine's load from now on."""
        if not self.enabled:
            return
        import yaml
        from mlflow.entities import Dataset, DatasetInput, InputTag, Param

        shown = {key: value for key, value in section.items() if key not in ("code", "versions")}
        params = [Param(key, str(value)[:6000]) for key, value in flat(shown).items()]
        for begin in range(0, len(params), 100):
            self._api.log_batch(self.run_id, params=params[begin : begin + 100])
        self._api.log_text(self.run_id, yaml.safe_dump(dict(section), sort_keys=True, allow_unicode=True), "config.yaml")
        spec = card["spec"]
        dataset = Dataset(
            name=card["name"],
            digest=card["content_hash"][:36],
            source_type="local",
            source=json.dumps({"uri": f"data/{card['name']}"}),
            schema=json.dumps({"fields": spec["fields"]}),
            profile=json.dumps({"num_rows": sum(spec["sizes"].values()), **spec["sizes"]}),
        )
        self._api.log_inputs(self.run_id, datasets=[DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])
        if self.settings["system_metrics"]:
            self._watch_machine()

    def _watch_machine(self) -> None:
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        class Monitor(SystemMetricsMonitor):
            def publish_metrics(self, metrics: dict[str, float]) -> None:
                super().publish_metrics(metrics)
                self.sampling_interval = SAMPLE_SECONDS

        self._monitor = Monitor(self.run_id, sampling_interval=FIRST_SAMPLE_SECONDS, samples_before_logging=1, resume_logging=True)
        self._monitor.start()

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Remembers a row of metrics; rows go out together, so that the loop does not wait for the database."""
        if not self.enabled:
            return
        now = int(time.time() * 1000)
        self._points += [(metric_key(key), float(value), now, step) for key, value in values.items()]
        if len(self._points) >= FLUSH_POINTS or time.monotonic() - self._flushed > FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Writes what was remembered. A database that is busy for once costs a line on the screen, not the training."""
        from mlflow.entities import Metric
        from mlflow.exceptions import MlflowException

        points, self._points, self._flushed = self._points, [], time.monotonic()
        try:
            for begin in range(0, len(points), 1000):
                self._api.log_batch(self.run_id, metrics=[Metric(*point) for point in points[begin : begin + 1000]])
        except MlflowException as error:
            print(f"{self.run}: {len(points)} metrics were not written to MLflow: {str(error).splitlines()[0]}", flush=True)

    def stopped(self) -> None:
        """The run was asked to stop."""
        self._killed = True

    def finish(self, out: Path, record: Row) -> None:
        """The trained model's folder, and the model as a pyfunc."""
        if not self.enabled:
            return
        self._api.log_artifacts(self.run_id, str(out), "run")
        last = {key: value for row in record["history"] for key, value in row.items() if key != "step"}
        self._tag({"steps": str(record["step"]), "parameters": str(record["parameters"])})
        # MLflow's page has its sections by alphabet: headline/ comes before last/.
        self.metrics({f"last/{key}": value for key, value in last.items()}, record["step"])
        if self.settings["pyfunc"]:
            from latent_atlas.training import pyfunc

            pyfunc.log(out, str(self.run_id))

    def pictures(self, files: Iterable[Path], folder: str = "pictures") -> None:
        """Files (pictures, pages, tables) as artifacts."""
        for path in files if self.enabled else ():
            self._api.log_artifact(self.run_id, str(path), folder)

    def describe(self, markdown: str) -> None:
        """The description at the top of the run's page."""
        self._tag({"mlflow.note.content": markdown})

    def scores(self, values: Mapping[str, float], step: int = 0) -> None:
        """Scores of the finished model: ``headline/keep``, ``score/mse``, ..."""
        self.metrics({key: value for key, value in values.items() if value is not None}, step)

    def _tag(self, tags: Mapping[str, str]) -> None:
        if self.enabled and tags:
            from mlflow.entities import RunTag

            self._api.log_batch(self.run_id, tags=[RunTag(key, str(value)) for key, value in tags.items()])


def open_tracker(settings: Row | None, keep: Path, run: str, tags: Mapping[str, str]) -> Tracker:
    """The tracker of a training; the run's id is kept in the file ``keep``."""
    return Tracker(settings, run, tags, keep=keep)


def reopen_tracker(settings: Row | None, run_id: str | None, run: str, tags: Mapping[str, str]) -> Tracker:
    """The tracker of an evaluation, on the run of the training; on a new run where the database does not know that one."""
    return Tracker(settings, run, tags, run_id=run_id)


def close_stale(api: Any, experiment: str) -> list[str]:
    """Ends runs that a dead process of this machine left RUNNING (kill -9 tells nobody); gives their ids."""
    here = process_tags()
    found = api.search_runs([experiment], f"attributes.status = 'RUNNING' and tags.host = '{here['host']}'", max_results=200)
    closed = []
    for run in found:
        if not _lives(run.data.tags):
            api.set_tag(run.info.run_id, "closed", "its process was gone")
            api.set_terminated(run.info.run_id, "KILLED")
            closed.append(run.info.run_id)
    return closed


def process_tags(pid: int | None = None) -> dict[str, str]:
    import psutil

    me = psutil.Process(pid)
    return {"host": socket.gethostname(), "pid": str(me.pid), "started": f"{me.create_time():.0f}"}


def _lives(tags: Mapping[str, str]) -> bool:
    """Whether the very process that opened a run still runs: its number may belong to another one by now."""
    import psutil

    try:
        return abs(psutil.Process(int(tags["pid"])).create_time() - float(tags["started"])) < 2
    except (psutil.NoSuchProcess, KeyError, ValueError):
        return False


def git_tags() -> dict[str, str]:
    def git(*words: str) -> str:
        return subprocess.run(
            ["git", "-C", str(workspace.checkout()), *words], capture_output=True, text=True, check=True, timeout=20
        ).stdout.strip()

    try:
        return {"git_commit": git("rev-parse", "HEAD"), "git_dirty": str(bool(git("status", "--porcelain", "-uno"))).lower()}
    except (OSError, subprocess.SubprocessError):
        return {}  # not a git checkout


def flat(nested: Row, prefix: str = "") -> dict[str, Any]:
    """Nested settings as ``a.b.c``: value."""
    found: dict[str, Any] = {}
    for key, value in nested.items():
        name = f"{prefix}{key}"
        found |= flat(value, f"{name}.") if isinstance(value, Mapping) and value else {name: value}
    return found


def metric_key(name: str) -> str:
    """A name with what MLflow takes in the key of a metric."""
    return "".join(letter if letter.isalnum() or letter in "_-./ " else "_" for letter in name)


def download(uri: str) -> Path:
    """The folder with ``model.pt`` behind ``runs:/<id>/run``, ``runs:/<id>/model`` or ``models:/...``."""
    uri_of_database = initialise()
    _hush()
    import mlflow

    _point(mlflow, uri_of_database)
    folder = Path(mlflow.artifacts.download_artifacts(artifact_uri=uri))
    inside = next(folder.rglob("model.pt"), None) if folder.is_dir() else None
    if inside is None:
        raise FileNotFoundError(f"{uri} has no model.pt; a run's model is runs:/<id>/run")
    return inside.parent


def ui_command() -> tuple[str, list[str]]:
    """The address that compares the runs, and the command that starts the MLflow UI."""
    uri = initialise()
    host, port = ADDRESS
    identity = experiment_id(client())
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "ui",
        "--host",
        host,
        "--port",
        str(port),
        "--workers",
        "1",
        "--backend-store-uri",
        uri,
    ]
    if uri.startswith("sqlite:///"):
        command += ["--default-artifact-root", artifact_root(Path(uri.removeprefix("sqlite:///")))]
    return f"http://{host}:{port}/#/experiments/{identity}/runs?compareRunsMode=CHART", command
