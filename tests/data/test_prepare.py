import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from latent_atlas.data.datamodule import DataModule
from latent_atlas.data.prepare import prepare
from latent_atlas.data.reader import DataError

ROOT = Path(__file__).resolve().parents[2]
ARRAYS = "latent_atlas.data.arrays.Arrays"


def section(path, **more):
    reader = {"_target_": ARRAYS, "path": str(path)}
    return {"name": "own", "data": {"reader": reader, "split": {"val": 0.1, "test": 0.2}, "reference_size": 10} | more}


def vectors(path, n=60):
    np.save(path, np.random.default_rng(0).normal(size=(n, 3)))
    return path


def test_twice_the_same_bytes(tmp_path):
    path = vectors(tmp_path / "x.npy")
    for out in ("1", "2"):
        prepare(section(path, title="Own"), tmp_path / out)
    for file in (tmp_path / "1").iterdir():
        assert file.read_bytes() == (tmp_path / "2" / file.name).read_bytes(), file.name
    assert DataModule(tmp_path / "1").card["title"] == "Own"


@pytest.mark.parametrize("split", [{"val": 0.5, "test": 0.6}, {"val": 0.1}, {"val": 0.1, "test": "much"}])
def test_an_impossible_split_is_named(tmp_path, split):
    with pytest.raises(DataError, match=r"conf/data/own.yaml: split:"):
        prepare(section(vectors(tmp_path / "x.npy"), split=split), tmp_path / "out")


@pytest.mark.parametrize("name", ["digits", "dsprites", "fashion_mnist"])
def test_conf_says_what_the_reader_gives(name):
    from latent_atlas.building import instantiate
    from latent_atlas.data.splits import Split

    conf = yaml.safe_load((ROOT / "conf/data" / f"{name}.yaml").read_text())
    reader = {key: conf["resolution"] if value == "${data.resolution}" else value for key, value in conf["reader"].items()}
    if name == "fashion_mnist":
        reader["folder"] = "/only/described"
    contents = instantiate(reader).open(Split(**conf["split"]))
    others = [key for key in contents.fields if key != contents.observation] + (["pair"] if "pairs" in conf else [])
    assert conf["name"] == name
    assert conf["provides"] == {"observation": contents.fields[contents.observation].field.kind, "fields": others}
    test = contents.total * conf["split"]["test"]
    assert 128 <= conf["reference_size"] <= test - 2 * np.sqrt(test)


def run(cwd, *arguments):
    return subprocess.run(
        [sys.executable, "pipelines/prepare.py", *arguments], cwd=cwd, capture_output=True, text=True, timeout=120
    )


@pytest.fixture
def checkout(tmp_path):
    """A checkout with the stage's script and the package, and a plan of one data set."""
    (tmp_path / "pipelines").mkdir()
    shutil.copy(ROOT / "pipelines/prepare.py", tmp_path / "pipelines")
    (tmp_path / "src").symlink_to(ROOT / "src")
    plan = tmp_path / "plan/data/own.yaml"
    plan.parent.mkdir(parents=True)
    plan.write_text(yaml.safe_dump({"prepare": section(tmp_path / "x.npy")}))
    return tmp_path


@pytest.mark.slow
def test_the_stage_writes_its_directory_and_a_fault_is_one_line_that_harms_nothing(checkout):
    vectors(checkout / "x.npy")
    done = run(checkout, "data=own")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("data/own: train ")
    before = (checkout / "data/own/card.json").read_bytes()
    broken = np.load(checkout / "x.npy")
    broken[4, 1] = np.nan
    np.save(checkout / "x.npy", broken)
    done = run(checkout, "data=own")
    assert done.returncode == 1
    assert done.stderr == f"prepare: {checkout / 'x.npy'}: nan in row 5, column 2; remove or fill it\n"
    assert (checkout / "data/own/card.json").read_bytes() == before
    assert [path.name for path in (checkout / "data").iterdir()] == ["own"]
    for arguments, message in (((), "usage:"), (("data=other",), "plan/data/other.yaml does not exist")):
        done = run(checkout, *arguments)
        assert done.returncode == 1
        assert message in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_full_disk_leaves_nothing_half_written(checkout):
    """The size of files is limited for the process, so that writing fails in the middle as on a full disk."""
    vectors(checkout / "x.npy", 60_000)
    code = "import resource, runpy, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    code += "resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000)); sys.argv = ['prepare', 'data=own']; "
    code += "runpy.run_path('pipelines/prepare.py', run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", code], cwd=checkout, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert done.stderr.startswith("prepare: data/own was not written: ")
    assert done.stderr.count("\n") == 1
    assert list((checkout / "data").iterdir()) == []
