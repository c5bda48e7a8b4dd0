"""Stages side by side: what waits for what, how many at once, and that a failure or an end leaves nothing running."""

import copy
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from latent_atlas.planning import parallel
from latent_atlas.planning.parallel import Chain, chains, changed_only, side_by_side, workers
from latent_atlas.planning.plan import read_pipeline

ROOT = Path(__file__).resolve().parents[2]
# In place of DVC: notes in a file when it begins and ends, what it is told to run, and fails where that says so.
STAND_IN = """
import sys, time
stages = sys.argv[sys.argv.index("--single-item") + 1:]
def note(word):
    with open("log.txt", "a") as file:
        file.write(f"{word} {stages[0]}\\n")
note("begin")
time.sleep(60 if "slow" in stages[0] else 2 if "long" in stages[0] else 0.3)
note("end")
print("said by", stages[0])
sys.exit(7 if "bad" in stages[0] else 0)
"""


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    (tmp_path / "dvc.py").write_text(STAND_IN)
    monkeypatch.setattr(parallel, "DVC", (sys.executable, str(tmp_path / "dvc.py")))
    return tmp_path


def noted(folder):
    return [line.split() for line in (folder / "log.txt").read_text().splitlines()]


def test_a_page_needs_its_runs_and_their_data_and_each_waits_for_its_own():
    pipeline = read_pipeline(ROOT)
    found = chains(pipeline, ["digits", "full"])
    order = [chain.stages[0] for chain in found]
    assert len(set(order)) == len(order)
    assert {stage for chain in found for stage in chain.stages} == {
        *(f"{stage}@{run}" for run in pipeline["runs"] for stage in ("train", "evaluate")),
        *(f"{stage}@{data}" for data in pipeline["data"] for stage in ("prepare", "features")),
        *("report@digits", "report@full"),
    }
    place = {name: k for k, name in enumerate(order)}
    assert all(place[name] < place[chain.stages[0]] for chain in found for name in chain.after)
    assert place["report@digits"] < place["train@dsprites-vae"]
    waits = {chain.stages[0]: chain.after for chain in found}
    assert waits["train@digits-vae"] == {"prepare@digits"}
    assert "train@digits-vae" in waits["report@digits"]
    assert "train@dsprites-vae" not in waits["report@digits"]


def test_a_second_stage_waits_for_its_first():
    pipeline = copy.deepcopy(read_pipeline(ROOT))
    pipeline["runs"]["digits-second"] = {**pipeline["runs"]["digits-vae"], "needs": "models/ring-vae"}
    waits = {chain.stages[0]: chain.after for chain in chains(pipeline, ["digits"])}
    assert waits["train@digits-second"] == {"prepare@digits", "train@ring-vae"}
    assert waits["train@ring-vae"] == {"prepare@ring"}


def test_only_what_changed_and_what_waits_for_it():
    every = [
        Chain(("a",), frozenset()),
        Chain(("b", "b2"), frozenset("a")),
        Chain(("c",), frozenset()),
        Chain(("d",), frozenset("c")),
    ]
    assert [chain.stages[0] for chain in changed_only(every, {"b2"})] == ["b"]
    assert changed_only(every, {"b2"})[0].after == frozenset()
    assert [chain.stages[0] for chain in changed_only(every, {"a", "d"})] == ["a", "b", "d"]
    assert changed_only(every, set()) == []


def test_an_accelerator_is_not_shared():
    assert workers({"trainer": "gpu"}) == 1
    assert 1 <= workers({"trainer": "cpu"}) <= parallel.MOST


def test_two_at_once_and_each_after_what_it_waits_for(stand_in, capfd):
    waiting = [Chain((name,), frozenset(after)) for name, after in (("a", ""), ("b", "a"), ("c", ""), ("d", ""), ("e", "bd"))]
    assert side_by_side(stand_in, list(waiting), 2) == 0
    at, most, log = set(), 0, noted(stand_in)
    for word, name in log:
        at = at | {name} if word == "begin" else at - {name}
        most = max(most, len(at))
    assert most == 2
    assert log[:2] == [["begin", "a"], ["begin", "c"]] or log[:2] == [["begin", "c"], ["begin", "a"]]
    for chain in waiting:
        begun = log.index(["begin", chain.stages[0]])
        assert all(log.index(["end", name]) < begun for name in chain.after)
    assert capfd.readouterr().out.count("said by") == 5


def test_after_a_failure_what_runs_ends_and_nothing_begins(stand_in, capfd):
    waiting = [Chain((name,), frozenset()) for name in ("bad", "long", "b")]
    assert side_by_side(stand_in, waiting, 2) == 7
    assert {name for _, name in noted(stand_in)} == {"bad", "long"}
    assert ["end", "long"] in noted(stand_in)
    assert "bad: failed, see above; nothing more is begun" in capfd.readouterr().out


def test_ended_from_outside_it_ends_what_it_began(stand_in):
    code = f"""
import sys
from pathlib import Path
from latent_atlas.planning import parallel
parallel.DVC = (sys.executable, {str(stand_in / "dvc.py")!r})
parallel.side_by_side(Path({str(stand_in)!r}), [parallel.Chain((name,), frozenset()) for name in ("slow1", "slow2")], 2)
"""
    running = subprocess.Popen([sys.executable, "-c", code], env={**parallel.environment(), "PYTHONPATH": str(ROOT / "src")})
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not ((stand_in / "log.txt").exists() and len(noted(stand_in)) == 2):
        time.sleep(0.1)
    children = psutil.Process(running.pid).children(recursive=True)
    assert len(children) == 2
    running.send_signal(signal.SIGTERM)
    assert running.wait(30) == 143
    assert psutil.wait_procs(children, timeout=10)[1] == []


def test_one_after_another_the_first_page_comes_first(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(parallel, "read_pipeline", lambda root: {"trainer": "gpu"})
    monkeypatch.setattr(parallel, "stale", lambda root, targets: {"plan"})
    monkeypatch.setattr(parallel, "dvc", lambda root, *words, env: said.append(words) or 0)
    assert parallel.repro(tmp_path, ["digits", "core"]) == 0
    assert said == [("repro", "plan"), ("repro", "report@digits"), ("repro", "report@core")]
