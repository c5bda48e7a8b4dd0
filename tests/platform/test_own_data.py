"""A checkout without a network: the pipeline, then own data through it, and what a new file re-runs."""

import contextlib
import json
import re
import shutil
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
import yaml
from clone import Clone
from PIL import Image

pytestmark = pytest.mark.slow
PIPELINE = """# the only list of work
trainer: smoke   # for tests

data:
  digits: {source: conf/data/digits.yaml}

runs:
  digits-pca: {data: digits, model: pca, needs: data/digits, tier: core, overrides: []}

# A page joins runs.
reports:
  digits: {scores: metrics/core/digits}
  core: {scores: metrics/core}
"""
OWN_STAGES = {
    "prepare@blaetter_2024", "features@blaetter_2024", "train@blaetter_2024-vae", "evaluate@blaetter_2024-vae",
    "report@blaetter_2024",
}  # fmt: skip
STRUCK = """
import os, signal
from latent_atlas.models.vae import VAE


class Struck(VAE):
    def loss(self, batch, player):
        if os.environ.get("STRIKE") == str(int(self.step)):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().loss(batch, player)
"""
# In a network namespace of its own there is a loopback device, switched off, and nothing else.
LOOPBACK_UP = """
import fcntl, os, socket, struct, sys
with socket.socket() as s:
    fcntl.ioctl(s, 0x8914, struct.pack("16sh", b"lo", 0x1 | 0x40))
    s.settimeout(5)
    try:
        s.connect(("192.0.2.1", 80))
    except OSError as error:
        assert error.errno in (101, 113), error
    else:
        raise SystemExit("the network is not cut")
os.execvp(sys.argv[1], sys.argv[1:])
"""


def cut_off() -> list[str]:
    """The words that start a command without a network, and nothing where that is not possible."""
    words = ["unshare", "-rn", sys.executable, "-c", LOOPBACK_UP]
    if shutil.which("unshare") is None or subprocess.run([*words, "true"], capture_output=True).returncode:
        return []
    return words


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    clone = Clone(tmp_path_factory.mktemp("a clöne"), PIPELINE)
    clone.install()
    return clone


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A folder under a home of its own, with blanks and an umlaut in its name: 60 images and one that is none."""
    home = tmp_path_factory.mktemp("home")
    folder = home / "my pictures/Blätter 2024"
    folder.mkdir(parents=True)
    for k in range(60):
        draw(k).save(folder / f"blatt {k}.png")
    (folder / "broken.png").write_bytes(b"\x89PNG but no more")
    return home, folder


def draw(seed):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (16, 16), dtype=np.uint8))


def stages(output: str) -> set[str]:
    """The stages that ``dvc repro`` ran."""
    return set(re.findall(r"(?m)^Running stage '([^']+)'", output))


def test_the_one_command_needs_no_network(checkout):
    words = cut_off()
    if not words:
        pytest.skip("this machine makes no network namespaces (unshare -rn)")
    done = checkout.run(*words, "make", "repro")
    assert stages(done.stdout) == {
        "plan", "prepare@digits", "features@digits", "train@digits-pca", "evaluate@digits-pca", "report@digits", "report@core",
    }  # fmt: skip
    assert "Installing" not in done.stdout
    assert (checkout.root / "reports/build/digits/index.html").is_file()
    last = done.stdout.splitlines()[-3:]
    assert last[0] == f"Report  {checkout.root}/reports/build/core/index.html"
    assert last[1].startswith("MLflow  make mlflow")
    assert last[2].startswith("Shell   . .venv/bin/activate")


def test_nobody_is_told_of_it_and_nothing_is_advertised(checkout):
    """In a shell that sets no variable about telemetry: what .dvc/config and the stages themselves switch off."""
    code = "from dvc.analytics import is_enabled; from dvc.updater import Updater; "
    code += "print(is_enabled(), Updater('.dvc/tmp').is_enabled())"
    assert checkout.run(sys.executable, "-c", code).stdout.split() == ["False", "False"]


def test_two_repros_at_once_give_one_clear_line(checkout):
    with checkout.edited("conf/model/pca.yaml", "items: ", "items: 1"):
        words = {"cwd": checkout.root, "env": checkout.env, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        first = subprocess.Popen(["dvc", "repro", "train@digits-pca"], **words)
        stage = held(first)
        try:
            second = checkout.run("dvc", "repro", "train@digits-pca", check=False)
            made = checkout.run("make", "repro", check=False)
        finally:
            stage.resume()
        assert second.returncode != 0
        assert "is busy, it is being blocked by" in second.stderr
        assert str(first.pid) in second.stderr
        assert "Traceback" not in second.stderr
        said = [line for line in made.stderr.splitlines() if not line.startswith("make")]
        assert made.returncode != 0
        assert said == [
            f"another `dvc repro train@digits-pca` (process {first.pid}) is at work in {checkout.root}: "
            f"wait until it ends, or stop it with `kill {first.pid}`"
        ]
        assert "Running stage" not in made.stdout
        assert first.wait(600) == 0, first.stdout.read()
    assert checkout.run(".venv/bin/python", "-m", "latent_atlas.console", "free").stderr == ""
    checkout.run("dvc", "repro", "train@digits-pca")


def held(repro: subprocess.Popen) -> psutil.Process:
    """The training that ``dvc repro`` started, stopped in its tracks."""
    while True:
        assert repro.poll() is None, repro.stdout.read()
        for process in psutil.Process(repro.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if "pipelines/train.py" in process.cmdline():
                    process.suspend()
                    return process
        time.sleep(0.05)


def test_an_experiment_in_the_workspace_is_run_and_remembered(checkout):
    checkout.run("git", "add", "-A")
    checkout.run("git", "commit", "-qm", "before the experiment", check=False)  # there may be nothing new
    checkout.run("dvc", "exp", "run", "-n", "narrow", "-S", "conf/model/pca.yaml:net.latent_size=4", "train@digits-pca")
    config = yaml.safe_load((checkout.root / "models/digits-pca/config.yaml").read_text(encoding="utf-8"))
    assert config["model"]["net"]["latent_size"] == 4
    assert "narrow" in checkout.run("dvc", "exp", "list").stdout
    checkout.run("git", "checkout", "-q", ".")
    checkout.run("dvc", "checkout", "-q")


def test_a_killed_training_goes_on_at_the_next_repro(checkout):
    """kill -9 in the middle of a step, under DVC; the weights are those of a training that nobody disturbed."""
    (checkout.root / "src/latent_atlas/models/struck.py").write_text(STRUCK, encoding="utf-8")
    conf = {"defaults": ["vae", "_self_"], "name": "struck", "net": {"_target_": "latent_atlas.models.struck.Struck"}}
    (checkout.root / "conf/model/struck.yaml").write_text(yaml.safe_dump(conf), encoding="utf-8")
    entry = "  digits-struck: {data: digits, model: struck, needs: data/digits, tier: core, overrides: []}\n"
    repro = ("dvc", "repro", "train@digits-struck")
    with checkout.edited("conf/pipeline.yaml", "\n# A page", f"{entry}\n# A page"):
        died = checkout.run("env", "STRIKE=3", *repro, check=False)
        assert died.returncode != 0
        assert not (checkout.root / "models/digits-struck").exists()
        assert "RESUME at step 2" in checkout.run(*repro).stdout
        resumed = (checkout.root / "models/digits-struck/model.pt").read_bytes()
        assert "RESUME" not in checkout.run("dvc", "repro", "-f", "-s", "train@digits-struck").stdout
        assert (checkout.root / "models/digits-struck/model.pt").read_bytes() == resumed
    for name in ("src/latent_atlas/models/struck.py", "conf/model/struck.yaml"):
        (checkout.root / name).unlink()


def test_a_bad_path_is_one_line_and_changes_nothing(checkout, tmp_path):
    checkout.commit("before")
    for given in ("~/no/such folder", str(tmp_path), ""):
        done = checkout.run(sys.executable, "pipelines/own.py", f"data={given}", check=False)
        assert done.returncode == 1
        assert len(done.stderr.strip().splitlines()) == 1, done.stderr
        assert done.stderr.startswith("own: ")
    assert checkout.run("git", "status", "--porcelain").stdout == ""


def test_own_pictures_come_in_by_one_command_and_end_at_their_page(checkout, pictures):
    home, folder = pictures
    before = (checkout.root / "conf/pipeline.yaml").read_text(encoding="utf-8").splitlines()
    add = ("env", f"HOME={home}", sys.executable, "pipelines/own.py", "data=~/my pictures/Blätter 2024")
    shown = checkout.run(*add, "run=no").stdout
    assert re.search(r"(?m)^  items +60 of shape 1 × 16 × 16", shown)
    assert "broken.png" in shown
    assert re.search(r"(?m)^  time +about \d+ min", shown)
    path = checkout.root / "conf/pipeline.yaml"
    lines = iter(path.read_text(encoding="utf-8").splitlines())
    assert all(line in lines for line in before)
    pipeline = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert pipeline["data"]["blaetter_2024"] == {"source": str(folder)}
    added = {run: entry for run, entry in pipeline["runs"].items() if entry["data"] == "blaetter_2024"}
    assert {entry["tier"] for entry in added.values()} == {"own"}
    assert "pca" in {entry["model"] for entry in added.values()}
    assert len(added) == 4

    # One of them is enough to see it run; the file is the user's to edit.
    kept = [
        line for line in path.read_text(encoding="utf-8").splitlines() if not re.match(r"  blaetter_2024-(pca|ae|beta\w+):", line)
    ]
    path.write_text("\n".join(kept) + "\n", encoding="utf-8")
    words = cut_off()
    if not words:
        warnings.warn("not cut off from the network: this machine makes no network namespaces (unshare -rn)", stacklevel=1)
    done = checkout.run(*words, *add)
    assert "already in conf/pipeline.yaml as blaetter_2024" in done.stdout
    assert path.read_text(encoding="utf-8").splitlines() == kept
    assert stages(done.stdout) - {"plan"} == OWN_STAGES
    assert (checkout.root / "reports/build/blaetter_2024/index.html").is_file()
    assert f"Report  {checkout.root}/reports/build/blaetter_2024/index.html" in done.stdout.splitlines()
    for advert in ("Tip", "litlogger", "elemetry", "update is available", "dvc.org/"):
        assert advert not in done.stdout + done.stderr


def test_a_new_file_re_runs_that_data_set_and_nothing_else(checkout, pictures):
    assert checkout.changed() == set()
    draw(100).save(pictures[1] / "blatt 60.png")
    with checkout.preloaded():
        assert stages(checkout.run("dvc", "repro").stdout) == OWN_STAGES
    assert checkout.changed() == set()


def test_a_changed_file_is_noticed_and_so_is_what_hangs_on_it(checkout, pictures):
    draw(101).save(pictures[1] / "blatt 7.png")
    assert checkout.changed() == {"prepare@blaetter_2024"}
    assert stages(checkout.run("dvc", "repro", "prepare@blaetter_2024").stdout) == {"prepare@blaetter_2024"}
    assert checkout.changed() == OWN_STAGES - {"prepare@blaetter_2024", "report@blaetter_2024"}


def test_tables_and_arrays_come_in_through_dvc_and_are_watched(checkout, tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(50, 3)), columns=["a", "b", "c"]).assign(label=["x", "y"] * 25)
    frame.to_csv(tmp_path / "one table.csv", index=False)
    frame.to_parquet(tmp_path / "columns.parquet")
    np.savez(tmp_path / "arrays.npz", x=frame[["a", "b", "c"]].to_numpy(np.float32), labels=np.arange(50) % 2)
    before = (checkout.root / "conf/pipeline.yaml").read_text(encoding="utf-8")
    for file in ("one table.csv", "columns.parquet", "arrays.npz"):
        checkout.run(sys.executable, "pipelines/own.py", f"data={tmp_path / file}", "run=no")
    prepared = {f"prepare@{name}" for name in ("one_table", "columns", "arrays")}
    with checkout.preloaded():
        assert stages(checkout.run("dvc", "repro", *sorted(prepared)).stdout) >= prepared
    for name in ("one_table", "columns", "arrays"):
        card = json.loads((checkout.root / f"data/{name}/card.json").read_text(encoding="utf-8"))
        spec = card["spec"]
        assert sum(spec["sizes"].values()) == 50
        assert spec["fields"][spec["observation"]]["shape"] == [3]
        assert len(card["classes"]) == 2
    with (tmp_path / "one table.csv").open("a") as file:
        file.write("1,2,3,x\n")
    assert prepared & checkout.changed() == {"prepare@one_table"}
    (checkout.root / "conf/pipeline.yaml").write_text(before, encoding="utf-8")
    for name in ("one_table", "columns", "arrays"):
        (checkout.root / f"conf/data/{name}.yaml").unlink()


def test_two_data_sets_of_one_name_are_told_apart(checkout, pictures, tmp_path):
    twin = tmp_path / "Blätter 2024"
    twin.mkdir()
    for k in range(30):
        draw(200 + k).save(twin / f"{k}.png")
    before = (checkout.root / "conf/pipeline.yaml").read_text(encoding="utf-8")
    checkout.run(sys.executable, "pipelines/own.py", f"data={twin}", "run=no")
    checkout.run(sys.executable, "pipelines/own.py", f"data={twin}", "run=no")
    pipeline = yaml.safe_load((checkout.root / "conf/pipeline.yaml").read_text(encoding="utf-8"))
    assert [key for key in pipeline["data"] if key.startswith("blaetter")] == ["blaetter_2024", "blaetter_2024_2"]
    assert pipeline["data"]["blaetter_2024_2"]["source"] == str(twin)
    (checkout.root / "conf/pipeline.yaml").write_text(before, encoding="utf-8")
    (checkout.root / "conf/data/blaetter_2024_2.yaml").unlink()


def test_the_trainer_is_one_word_of_the_pipeline(checkout):
    path: Path = checkout.root / "conf/pipeline.yaml"
    before = path.read_text(encoding="utf-8")
    said = checkout.run(sys.executable, "pipelines/own.py", "trainer=gpu").stdout
    assert "trainer: gpu, now written in conf/pipeline.yaml" in said
    assert path.read_text(encoding="utf-8") == before.replace("trainer: smoke", "trainer: gpu")
    path.write_text(before, encoding="utf-8")
    done = checkout.run(sys.executable, "pipelines/own.py", "trainer=tpu", check=False)
    assert done.returncode == 1
    assert "conf/trainer has cpu, gpu, smoke" in done.stderr
    assert path.read_text(encoding="utf-8") == before
