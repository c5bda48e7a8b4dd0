"""Edits of conf/pipeline.yaml keep what is not theirs."""

from pathlib import Path

import pytest
import yaml

from latent_atlas.planning.compose import PlanError
from latent_atlas.planning.editing import flow, with_entries, with_trainer, write_text

REAL = (Path(__file__).resolve().parents[2] / "conf/pipeline.yaml").read_text(encoding="utf-8")
ADDED = {
    "data": {"leaves": {"source": "/home/a b/Blätter: 100 %"}},
    "runs": {
        "leaves-pca": {"data": "leaves", "model": "pca", "needs": "data/leaves", "tier": "own", "overrides": ["trainer.steps=5"]}
    },
    "reports": {"leaves": {"scores": "metrics/own/leaves"}},
}


def test_every_old_line_stays_in_its_order_and_the_entries_are_there():
    text = with_entries(REAL, ADDED)
    remaining = iter(text.splitlines())
    assert all(line in remaining for line in REAL.splitlines())
    before, after = yaml.safe_load(REAL), yaml.safe_load(text)
    for group, entries in ADDED.items():
        assert after[group] == before[group] | entries
    assert {k: v for k, v in after.items() if k not in ADDED} == {k: v for k, v in before.items() if k not in ADDED}


def test_an_entry_goes_before_the_comment_of_the_next_group():
    text = with_entries("data:  # sets\n  a: {source: x}\n\n# the runs\nruns:\n  r: {}\n", {"data": {"b": {"source": "y"}}})
    assert text == "data:  # sets\n  a: {source: x}\n  b: {source: y}\n\n# the runs\nruns:\n  r: {}\n"


def test_a_comment_between_the_entries_does_not_end_the_group():
    text = with_entries("data:\n  a: {source: x}\n# mine\n  b: {source: y}\nruns:\n  r: {}\n", {"data": {"c": {"source": "z"}}})
    assert text.splitlines()[3:5] == ["  b: {source: y}", "  c: {source: z}"]


def test_another_layout_is_refused_with_the_lines_to_add():
    with pytest.raises(PlanError, match=r"nothing was changed; add these yourself:\n.*data:\n  b: \{source: y\}"):
        with_entries("data: {a: {source: x}}\n", {"data": {"b": {"source": "y"}}})


@pytest.mark.parametrize(
    "value", ["no", "1", "~", "a: b", "null", "", "# x", "ä b", "C:\\x", 'say "x"', ["a b", "1e3"], {"k": [1, True, None]}]
)
def test_a_value_on_one_line_reads_back_as_itself(value):
    assert yaml.safe_load(f"{{key: {flow(value)}}}") == {"key": value}


def test_trainer_keeps_its_comment():
    assert with_trainer("a: 1\ntrainer: cpu   # why\n", "gpu") == "a: 1\ntrainer: gpu   # why\n"
    assert yaml.safe_load(with_trainer(REAL, "gpu"))["trainer"] == "gpu"
    with pytest.raises(PlanError, match="trainer"):
        with_trainer("runs: {}\n", "gpu")


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "pipeline.yaml"
    path.write_text("old", encoding="utf-8")
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "half \ud800 way")
    assert path.read_text(encoding="utf-8") == "old"
    write_text(path, "nèw")
    assert path.read_text(encoding="utf-8") == "nèw"
    assert [each.name for each in tmp_path.iterdir()] == ["pipeline.yaml"]
