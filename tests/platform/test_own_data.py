"""A checkout without a network: the pipeline, then own data through it, and what a new file re-runs."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
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
"""
OWN_STAGES = {
    "prepare@blaetter_2024", "features@blaetter_2024", "train@blaetter_2024-vae", "evaluate@blaetter_2024-vae",
    "report@blaetter_2024",
}  # fmt: skip
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
    return Clone(tmp_path_factory.mktemp("a clöne"), PIPELINE)


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


def test_the_pipeline_needs_no_network(checkout):
    words = cut_off()
    if not words:
        pytest.skip("this machine makes no network namespaces (unshare -rn)")
    done = checkout.run(*words, "dvc", "repro", "report@digits")
    assert stages(done.stdout) >= {"plan", "prepare@digits", "features@digits", "train@digits-pca", "report@digits"}
    assert (checkout.root / "reports/build/digits/index.html").is_file()


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
    done = checkout.run(*cut_off(), *add)
    assert "already in conf/pipeline.yaml as blaetter_2024" in done.stdout
    assert path.read_text(encoding="utf-8").splitlines() == kept
    assert stages(done.stdout) - {"plan"} == OWN_STAGES
    assert (checkout.root / "reports/build/blaetter_2024/index.html").is_file()
    assert done.stdout.splitlines()[-2] == f"Report  {checkout.root}/reports/build/blaetter_2024/index.html"


def test_a_new_file_re_runs_that_data_set_and_nothing_else(checkout, pictures):
    assert checkout.changed() == set()
    draw(100).save(pictures[1] / "blatt 60.png")
    assert stages(checkout.run("dvc", "repro").stdout) == OWN_STAGES
    assert checkout.changed() == set()


def test_a_changed_file_is_noticed_and_so_is_what_hangs_on_it(checkout, pictures):
    draw(101).save(pictures[1] / "blatt 7.png")
    assert checkout.changed() == {"prepare@blaetter_2024"}
    assert stages(checkout.run("dvc", "repro", "prepare@blaetter_2024").stdout) == {"prepare@blaetter_2024"}
    assert checkout.changed() == OWN_STAGES - {"prepare@blaetter_2024", "report@blaetter_2024"}


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
