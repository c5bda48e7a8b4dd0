"""Own data becomes entries that the plan accepts, once, and a screen that says what was found."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from latent_atlas.data.reader import DataError
from latent_atlas.planning.compose import PlanError
from latent_atlas.planning.own import choose_trainer, learns, onboard, recommended, shortened
from latent_atlas.planning.plan import plans

ROOT = Path(__file__).resolve().parents[2]
PIPELINE = "trainer: cpu  # mine\n\ndata:\n  digits: {source: conf/data/digits.yaml}\nruns:\n  digits-pca: {data: digits, model: pca, needs: data/digits, tier: core, overrides: []}\nreports:\n  core: {scores: metrics}\n"  # noqa: E501


@pytest.fixture
def root(tmp_path):
    """A checkout's conf with a short pipeline, and its sources."""
    root = tmp_path / "checkout"
    shutil.copytree(ROOT / "conf", root / "conf")
    for name in ("src", "pipelines"):
        (root / name).symlink_to(ROOT / name)
    (root / "conf/pipeline.yaml").write_text(PIPELINE, encoding="utf-8")
    return root


@pytest.fixture
def table(tmp_path):
    """A CSV of 300 rows with a label, under a name with a blank and an umlaut."""
    path = tmp_path / "Größe & Gewicht.csv"
    rng = np.random.default_rng(0)
    rows = [f"{a:.3f},{b:.3f},{'klein' if a < 0 else 'groß'}" for a, b in rng.normal(size=(300, 2))]
    path.write_text("\n".join(["größe,gewicht,label", *rows]), encoding="utf-8")
    return path


def text_of(root):
    return (root / "conf/pipeline.yaml").read_text(encoding="utf-8")


def tree(root):
    return {str(path): path.read_bytes() for path in (root / "conf").rglob("*") if path.is_file()}


def test_the_plan_accepts_what_is_written(root, table):
    name, _ = onboard(root, str(table))
    files = plans(root)
    runs = [file for file in files if file.startswith(f"{name}-")]
    assert {f"{name}-pca.yaml", f"{name}-ae.yaml", f"{name}-vae.yaml", f"{name}-beta_vae.yaml"} == set(runs)
    assert files[f"data/{name}.yaml"]["prepare"]["data"]["reader"]["path"] == str(table)
    assert [row["tier"] for row in files[f"pages/{name}.yaml"]["report"]["runs"]] == ["own"] * 4
    assert files[f"{name}-vae.yaml"]["train"]["trainer"]["steps"] == 3000


def test_the_screen_says_what_was_found(root, table):
    name, screen = onboard(root, str(table))
    lines = {line.split()[0]: line for line in screen.splitlines()[1:]}
    assert screen.splitlines()[0] == f"{name}: {table}"
    assert "300 of shape 2" in lines["items"]
    assert "2: " in lines["labels"]
    assert "groß" in lines["labels"]
    assert "beta_vae (trainer.steps=3000)" in lines["models"]
    assert "min on two cores" in lines["time"]
    assert f"reports/build/{name}/index.html" in lines["page"]
    assert len(screen.splitlines()) <= 20


def test_the_same_data_again_changes_nothing(root, table, monkeypatch):
    first, _ = onboard(root, str(table))
    before = tree(root)
    monkeypatch.chdir(table.parent)
    again, screen = onboard(root, f"./{table.name}", "another_name")
    assert again == first
    assert "nothing changed" in screen
    assert tree(root) == before


def test_home_is_expanded_and_a_link_is_the_same_data(root, table, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(table.parent))
    first, _ = onboard(root, f"~/{table.name}")
    (tmp_path / "link").symlink_to(table.parent)
    assert onboard(root, str(tmp_path / "link" / table.name))[0] == first


def test_a_taken_name_gets_a_number(root, table):
    twin = table.parent / "digits.csv"
    shutil.copy(table, twin)
    name, _ = onboard(root, str(twin))  # digits is a data set of the pipeline
    assert name == "digits_2"
    page = table.parent / "core.csv"
    shutil.copy(table, page)
    assert onboard(root, str(page))[0] == "core_2"  # core is a page
    conf_only = table.parent / "dsprites.csv"
    shutil.copy(table, conf_only)
    assert onboard(root, str(conf_only))[0] == "dsprites_2"  # a file of conf/data that no entry uses
    assert yaml.safe_load((root / "conf/data/dsprites.yaml").read_text())["name"] == "dsprites"


def test_a_call_that_was_interrupted_is_finished_by_the_next(root, table):
    name, _ = onboard(root, str(table))
    after = tree(root)
    (root / "conf/pipeline.yaml").write_text(PIPELINE, encoding="utf-8")
    assert onboard(root, str(table))[0] == name
    assert tree(root) == after
    (root / f"conf/data/{name}.yaml").unlink()
    assert onboard(root, str(table))[0] == name
    assert tree(root) == after


@pytest.mark.parametrize(
    ("given", "named"),
    [("/no/such place", "does not exist"), ("", "empty"), ("{tmp}/empty", "no images"), ("{tmp}/notes.txt", "own data is")],
)
def test_bad_data_is_one_line_and_nothing_changes(root, table, given, named):
    (table.parent / "empty").mkdir()
    (table.parent / "notes.txt").write_text("x")
    before = tree(root)
    with pytest.raises(DataError, match=named) as caught:
        onboard(root, given.format(tmp=table.parent))
    assert len(str(caught.value).splitlines()) == 1
    assert tree(root) == before


def test_a_layout_that_no_line_fits_changes_nothing(root, table):
    (root / "conf/pipeline.yaml").write_text(
        PIPELINE.replace("reports:\n  core: {scores: metrics}", "reports: {core: {scores: metrics}}")
    )
    before = tree(root)
    with pytest.raises(PlanError, match="add these yourself"):
        onboard(root, str(table))
    assert tree(root) == before


def test_a_bad_name_is_refused(root, table):
    with pytest.raises(PlanError, match="letters, digits and _ only"):
        onboard(root, str(table), "my data")


def test_factors_bring_the_model_that_separates_them():
    assert recommended(ROOT, {"observation": "image", "fields": ["factors"]}) == ["pca", "ae", "vae", "beta_tc_vae"]
    assert recommended(ROOT, {"observation": "vector", "fields": []}) == ["pca", "ae", "vae", "beta_vae"]
    assert "pca" not in recommended(ROOT, {"observation": "tokens", "fields": []})


def test_a_model_without_an_optimizer_gets_no_steps(root, table):
    """By what its file declares, not by its name."""
    assert [learns(root, name) for name in ("pca", "ae", "beta_tc_vae")] == [False, True, True]
    (root / "conf/model/pca.yaml").rename(root / "conf/model/linear.yaml")
    own = (root / "conf/own.yaml").read_text(encoding="utf-8")
    (root / "conf/own.yaml").write_text(own.replace("model: pca", "model: linear"), encoding="utf-8")
    name, _ = onboard(root, str(table))
    runs = yaml.safe_load(text_of(root))["runs"]
    assert runs[f"{name}-linear"]["overrides"] == []
    assert runs[f"{name}-ae"]["overrides"] == ["trainer.steps=3000"]


def test_the_trainer_is_written_and_an_unknown_one_is_not(root):
    assert "now written" in choose_trainer(root, "gpu")
    assert text_of(root) == PIPELINE.replace("trainer: cpu  # mine", "trainer: gpu  # mine")
    assert "as conf/pipeline.yaml says" in choose_trainer(root, "gpu")
    with pytest.raises(PlanError, match="conf/trainer has cpu, gpu, smoke"):
        choose_trainer(root, "tpu")


def test_a_long_list_is_cut_and_counted():
    assert shortened([str(k) for k in range(10)], 8).endswith("7, and 2 more")
    assert shortened(["a"], 8) == "a"
