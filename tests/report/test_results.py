"""The committed summary, a sweep's page, and the stage's script."""

import os
import re
import subprocess
import sys
from pathlib import Path

import made
import pytest
import yaml
from PIL import Image

from latent_atlas.report import results, sweeps
from latent_atlas.report.build import build
from latent_atlas.report.datacard import size_line
from latent_atlas.report.inputs import DataSet, ReportError

SCRIPT = Path(__file__).resolve().parents[2] / "pipelines" / "report.py"


def test_results_have_a_table_a_command_and_pictures_that_exist(digits, tmp_path):
    root, section, _ = digits
    path = results.write(section, root, tmp_path / "reports" / "RESULTS.md")
    text = path.read_text()
    assert "| digits-vae | 0.012 ± 0.0005 |" in text
    assert "`dvc repro evaluate@digits-vae`" in text
    found = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text)
    assert found
    for name in found:
        assert Image.open(path.parent / name).width > 300


def test_numbers_from_elsewhere_stand_in_parentheses(tmp_path):
    items = made.write_card(tmp_path)
    runs = []
    for model, bins in (("vae", 20), ("beta_vae", 20), ("odd", 50)):
        made.write_run(
            tmp_path,
            f"digits-{model}",
            "digits",
            model,
            "vae",
            items,
            scores={"mig": made.entry("mig", 0.5, bins=bins)},
        )
        runs.append((f"digits-{model}", "digits", model, "vae", "", 0))
    text = results.write(made.section_of(runs), tmp_path, tmp_path / "R.md").read_text()
    assert "| digits-vae | 0.5 |" in text
    assert "| digits-odd | (0.5) |" in text
    assert "MIG, odd: not ranked together: bins differs (20, 50)." in text


def sweep(root, jobs=3):
    """Job folders as a sweep leaves them; the last one failed before its evaluation."""
    items = made.write_card(root)
    folder = root / "multirun" / "2026-01-02_03-04-05"
    for job in range(jobs):
        place = folder / str(job)
        made.write_run(root / "tmp" / str(job), "job", "digits", "vae", "vae", items, seed=job)
        place.mkdir(parents=True)
        (root / "tmp" / str(job) / "models" / "job").rename(place / "model")
        if job < jobs - 1:
            (root / "tmp" / str(job) / "evaluations" / "job").rename(place / "evaluation")
        overrides = ["model=vae", "data=digits", f"seed={job}", "model.net.beta=4"]
        train = {"run": "digits-vae", "data": "digits", "seed": job, "model": {"name": "vae", "family": "vae"}}
        (place / "plan.yaml").write_text(yaml.safe_dump({"train": train}))
        (place / ".hydra").mkdir()
        (place / ".hydra" / "overrides.yaml").write_text(yaml.safe_dump(overrides))
        if job < jobs - 1:
            entry = {
                "run": f"digits-vae-{job}",
                "data": "digits",
                "model": "vae",
                "family": "vae",
                "tag": " ".join(overrides),
                "seed": job,
            }
            (place / "job.yaml").write_text(yaml.safe_dump(entry | {"folders": {"data": str(root / "data" / "digits")}}))
    return folder


def test_a_sweep_is_a_page_with_seeds_together(tmp_path):
    folder = sweep(tmp_path)
    section = sweeps.section_of(folder, tmp_path)
    page = build(section, tmp_path, folder / "report")
    assert {run.label for run in page.runs} == {"vae · beta=4"}
    assert [run.seed for run in page.of("digits")] == [0, 1]
    text = (folder / "report" / "digits.html").read_text()
    assert "digits-vae-0.html" in text
    assert "vae · beta=4" in text
    assert "python pipelines/train.py -m model=vae data=digits seed=2 model.net.beta=4" in text


def test_a_folder_without_jobs_is_one_clear_line(tmp_path):
    with pytest.raises(ReportError, match="no job folders"):
        sweeps.section_of(tmp_path / "nowhere", tmp_path)


def start(cwd, *arguments):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, SCRIPT, *arguments], cwd=cwd, capture_output=True, text=True, env=environment, timeout=120
    )


@pytest.fixture(scope="module")
def planned(digits, tmp_path_factory):
    root, section, _ = digits
    place = tmp_path_factory.mktemp("planned")
    for name in ("evaluations", "models", "data"):
        (place / name).symlink_to(root / name)
    (place / "plan" / "pages").mkdir(parents=True)
    (place / "plan" / "pages" / "digits.yaml").write_text(yaml.safe_dump({"report": section}))
    return place


def test_the_stage_builds_and_prints_winners_page_and_next_command(planned):
    done = start(planned, "page=digits")
    assert done.returncode == 0, done.stderr
    last = done.stdout.rstrip().splitlines()[-2:]
    assert last == ["Report  reports/build/digits/digits.html", "Next    make mlflow"]
    assert (planned / "reports" / "build" / "digits" / "digits.html").exists()
    assert start(planned, "page=digits").stdout == done.stdout


def test_the_stage_names_an_unknown_page_and_the_known_ones(planned):
    done = start(planned, "page=nothing")
    assert done.returncode == 1
    assert "pages: digits" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_report_needs_neither_torch_nor_mlflow(planned):
    code = (
        "import runpy, sys; sys.argv = ['report.py', 'page=digits']; "
        f"runpy.run_path({str(SCRIPT)!r}, run_name='__main__'); "
        "print(sorted({'torch', 'mlflow', 'pytorch_lightning'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=planned, capture_output=True, text=True, timeout=120)
    assert done.stdout.rstrip().endswith("[]"), done.stderr


@pytest.mark.parametrize(("names", "said"), [(["angle"], "1 factor"), (["angle", "radius"], "2 factors"), ([], "no data card yet")])
def test_a_single_factor_is_no_plural(tmp_path, names, said):
    assert size_line(DataSet("d", tmp_path, {"factors": {"names": names}})) == said
