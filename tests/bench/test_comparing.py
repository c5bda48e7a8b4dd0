import json

import comparing
import pytest


def test_the_interval_is_students_t():
    found = comparing.spread({0: 1.0, 2: 3.0, 1: 2.0})
    assert found["mean"] == 2.0
    assert found["interval"] == pytest.approx([2 - 4.302653 / 3**0.5, 2 + 4.302653 / 3**0.5], abs=1e-5)
    assert list(found["seeds"]) == ["0", "1", "2"]
    assert comparing.spread({0: 1.0})["interval"] is None
    assert comparing.spread({})["mean"] is None


def test_differences_are_taken_seed_by_seed():
    # The levels of the seeds differ by far more than the models do.
    a, b = {0: 100.0, 1: 200.0, 2: 300.0}, {1: 201.0, 0: 101.1, 2: 300.9, 3: 7.0}
    found = comparing.difference(a, b)
    assert found["mean"] == pytest.approx(-1.0)
    assert found["interval"][1] < -0.7
    assert set(found["seeds"]) == {"0", "1", "2"}


@pytest.mark.parametrize(
    ("b", "lower", "verdict"),
    [
        ({0: 2.0, 1: 2.1, 2: 2.2}, True, "holds"),
        ({0: 2.0, 1: 2.1, 2: 2.2}, False, "reversed"),
        ({0: 0.0, 1: 0.1, 2: 0.2}, False, "holds"),
        ({0: 0.0, 1: 0.1, 2: 0.2}, True, "reversed"),
        ({0: 0.0, 1: 2.1, 2: 1.3}, True, "not decided"),
        ({0: 2.0}, True, "one seed, no claim"),
        ({}, True, "not measured"),
    ],
)
def test_a_statement_holds_only_by_its_whole_interval(b, lower, verdict):
    assert comparing.answered("a below b", {0: 1.0, 1: 1.1, 2: 1.15}, b, must=True, lower=lower)["verdict"] == verdict


def test_finished_jobs_are_read_and_old_protocols_refused(tmp_path, finish):
    finish(tmp_path / "s", 0, "vae", 1, {"nll": 5.0})
    finish(tmp_path / "s", 1, "ae", 0, {"mse": 0.1})
    finish(tmp_path / "s", 2, "vae", 0, {"nll": 4.0}, latent_size=2)
    (tmp_path / "s/3").mkdir()  # not finished
    runs = comparing.finished(tmp_path / "s")
    assert [(run.model, run.latent_size, run.seed) for run in runs] == [("ae", 10, 0), ("vae", 2, 0), ("vae", 10, 1)]
    assert comparing.by_seed(runs, "nll", "vae") == {0: 4.0, 1: 5.0}
    assert comparing.by_seed(runs, "nll", "vae", 10) == {1: 5.0}
    assert comparing.by_seed(runs, "nll", "ae") == {}
    assert "failed" not in runs[0].entries
    finish(tmp_path / "s", 4, "vae", 2, {"nll": 1.0}, steps=20)
    with pytest.raises(SystemExit, match="remove those of the old protocol"):
        comparing.finished(tmp_path / "s")
    with pytest.raises(SystemExit, match="no finished job"):
        comparing.finished(tmp_path / "none")


def test_a_summary_alone_keeps_the_minutes_of_the_sweep(tmp_path):
    assert comparing.minutes_of(tmp_path, None) is None
    comparing.write(tmp_path, {"minutes": 12.3}, ["# x"])
    assert comparing.minutes_of(tmp_path, None) == 12.3
    assert comparing.minutes_of(tmp_path, 4.56) == 4.6
    assert json.loads((tmp_path / "study.json").read_text()) == {"minutes": 12.3}
