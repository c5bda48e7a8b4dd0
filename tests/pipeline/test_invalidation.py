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
  digits-ae: {data: digits, model: ae, needs: data/digits, tier: core, overrides: []}
  digits-vae: {data: digits, model: vae, needs: data/digits, tier: core, overrides: []}
  digits-beta_vae: {data: digits, model: beta_vae, needs: data/digits, tier: core, overrides: []}
  digits-second: {data: digits, model: second, needs: models/digits-ae, tier: core, overrides: []}
reports:
  digits: {scores: metrics/core/digits}
"""
RUNS = ("ae", "vae", "beta_vae", "second")


def of(stage: str, *models: str) -> set[str]:
    return {f"{stage}@digits-{model}" for model in models}


EVALUATED = of("evaluate", *RUNS) | {"report@digits"}  # a page's plan names how each of its runs is evaluated

# name, file, old text, new text, the stages that `dvc status` names (the first changed level)
EDITS = {
    "one model's conf": ("conf/model/beta_vae.yaml", "beta:", "ema: 0.9\n  beta:", of("train", "beta_vae")),
    "an inherited base conf": ("conf/model/vae.yaml", "net:", "net:\n  ema: 0.9", of("train", "vae", "beta_vae")),
    "its module": ("src/latent_atlas/models/vae.py", "\nclass ", "\nEDITED = 1\n\n\nclass ", of("train", "vae", "beta_vae")),
    "a net it uses": (
        "src/latent_atlas/nets/mlp.py",
        "\nclass ",
        "\nEDITED = 1\n\n\nclass ",
        of("train", *RUNS),
    ),
    "a comment": ("src/latent_atlas/models/vae.py", "\nclass ", "\n# why\nclass ", set()),
    "a docstring": ("src/latent_atlas/models/vae.py", '"""', '"""Edited: ', set()),
    "evaluation conf": ("conf/evaluation/quick.yaml", "n_samples: ", "n_samples: 1", EVALUATED),
    "a metric": ("src/latent_atlas/metrics/reconstruction.py", "\ndef ", "\nEDITED = 1\n\n\ndef ", EVALUATED),
    "tracking code": ("src/latent_atlas/training/tracking.py", "\nclass ", "\nEDITED = 1\n\n\nclass ", set()),
    "report code": ("src/latent_atlas/report/build.py", "\ndef ", "\nEDITED = 1\n\n\ndef ", {"report@digits"}),
    "the first stage's conf": ("conf/model/ae.yaml", "net:", "net:\n  ema: 0.9", of("train", "ae")),
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
    with clone.edited("conf/model/ae.yaml", "net:", "net:\n  ema: 0.9"):
        done = clone.run("dvc", "repro")
        ran = {line.split("'")[1] for line in done.stdout.splitlines() if line.startswith("Running stage")}
        assert ran == {"plan", *of("train", "ae", "second"), *of("evaluate", "ae", "second"), "report@digits"}
