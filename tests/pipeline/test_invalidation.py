"""An edit re-runs what it changes and nothing else: proved with real DVC in a temporary clone."""

from __future__ import annotations

import time

import pytest
from clone import Clone

pytestmark = pytest.mark.slow

PIPELINE = """\
trainer: smoke
data:
  digits: {source: conf/data/digits.yaml}
runs:
  digits-pca: {data: digits, model: pca, needs: data/digits, tier: core, overrides: []}
  digits-vae: {data: digits, model: vae, needs: data/digits, tier: core, overrides: []}
  digits-beta_vae: {data: digits, model: beta_vae, needs: data/digits, tier: core, overrides: []}
  digits-second_stage: {data: digits, model: second_stage, needs: models/digits-beta_vae, tier: core, overrides: []}
reports:
  digits: {scores: metrics/core/digits}
"""
RUNS = ("pca", "vae", "beta_vae", "second_stage")


def of(stage: str, *models: str) -> set[str]:
    return {f"{stage}@digits-{model}" for model in models}


EVALUATED = of("evaluate", *RUNS) | {"report@digits"}  # a page's plan names how each of its runs is evaluated
CODE = ("\nclass ", "\nEDITED = 1\n\n\nclass ")
FUNCTION = ("\ndef ", "\nEDITED = 1\n\n\ndef ")

# name: (file, old text, new text, the stages that `dvc status` names: the first changed level)
EDITS = {
    "one model's conf": ("conf/model/beta_vae.yaml", "beta: 4.0", "beta: 5.0", of("train", "beta_vae")),
    "an inherited base conf": ("conf/model/vae.yaml", "net:\n", "net:\n  clip: 9.0\n", of("train", "vae", "beta_vae")),
    "its module": ("src/latent_atlas/models/vae.py", *CODE, of("train", "vae", "beta_vae")),
    "a net it uses": ("src/latent_atlas/nets/conv.py", *CODE, of("train", "vae", "beta_vae", "second_stage")),
    "a comment": ("src/latent_atlas/models/vae.py", "\nclass ", "\n# why\nclass ", set()),
    "a docstring": ("src/latent_atlas/models/vae.py", '"""', '"""Edited: ', set()),
    "evaluation conf": ("conf/evaluation/quick.yaml", "seed: 0", "seed: 1", EVALUATED),
    "a metric": ("src/latent_atlas/metrics/neighbours.py", *FUNCTION, EVALUATED),
    "tracking code": ("src/latent_atlas/training/tracking.py", *FUNCTION, set()),
    "report code": ("src/latent_atlas/report/build.py", *FUNCTION, {"report@digits"}),
    "an unrelated model": ("conf/model/pca.yaml", "items: ", "items: 1", of("train", "pca")),
}


@pytest.fixture(scope="module")
def clone(tmp_path_factory, second_stage):
    clone = Clone(tmp_path_factory.mktemp("pipeline"), PIPELINE)
    second_stage(clone.root)
    clone.commit("the second stage")
    clone.run("dvc", "repro", "-q")
    clone.commit("a full run")
    return clone


def test_everything_ran(clone):
    for run in RUNS:
        assert (clone.root / f"metrics/core/digits/digits-{run}.json").is_file()
    assert (clone.root / "reports/build/digits/index.html").is_file()


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
    assert clone.changed() == set()


def test_data_conf_changes_the_preparation_alone(clone):
    with clone.edited("conf/data/digits.yaml", "split:", "# why\nsplit:"):
        # The file is the source of its data set, so DVC looks at it again; its outputs will be the same.
        assert clone.changed() == {"prepare@digits"}
    with clone.edited("conf/data/digits.yaml", "title:", "title: Edited "):
        assert clone.changed() == {"prepare@digits"}


def test_a_changed_first_stage_retrains_the_second_and_no_other(clone):
    with clone.edited("conf/model/beta_vae.yaml", "beta: 4.0", "beta: 5.0"):
        done = clone.run("dvc", "repro")
        ran = {line.split("'")[1] for line in done.stdout.splitlines() if line.startswith("Running stage")}
        again = ("beta_vae", "second_stage")
        assert ran == {"plan", *of("train", *again), *of("evaluate", *again), "report@digits"}
