"""Puts this directory on the path (``drawn`` and ``zoo`` are imported by tests of every part); no test hangs on those before it.

The laws' skips are counted here and not beside the laws: under pytest-xdist the process that prints the summary reads no other
conftest. For the same reason the order of the files, in which two processes end at about the same time, stands here.
"""

import random
import re
import sys
from collections import Counter

import pytest
from hypothesis import settings

# The same examples each time: a test that fails does so again, and nothing of a former run decides which are tried.
settings.register_profile("latent_atlas", derandomize=True, deadline=None, database=None)
settings.load_profile("latent_atlas")
LAW = re.compile(r"test_laws\.py::test_law\[(?P<case>.+)-(?P<law>\w+)\]")
# About by seconds on one core: a long file that starts last leaves the other process idle meanwhile.
LONGEST = (
    "parity/test_parity.py",
    "pipeline/test_pipeline.py",
    "platform/test_own_data.py",
    "models/test_stability.py",
    "models/test_laws.py",
    "training/test_sweep.py",
    "metrics/test_disentanglement_intervals.py",
    "evaluation/test_evaluate.py",
    "training/test_tracking.py",
    "evaluation/test_score.py",
    "training/test_faults.py",
)
SAME_PROCESS = {"models/test_umap.py": "models/test_laws.py"}  # umap compiles itself for half a minute in each process
SEED = 20240229  # none that a test or a conf file names: what forgets its own seed is not taken for right by chance


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """``--dist loadfile`` with the longest files first, and some files together."""
    if config.getvalue("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class LongestFirst(LoadFileScheduling):
        def _split_scope(self, nodeid):
            file = super()._split_scope(nodeid)
            name = file.removeprefix("tests/")
            return file.replace(name, SAME_PROCESS.get(name, name))

    config.option.loadscopereorder = False  # by number of tests
    return LongestFirst(config, log)


def pytest_collection_modifyitems(config, items):
    if hasattr(config, "workerinput"):  # a process of pytest-xdist
        rank = {name: place for place, name in enumerate(LONGEST)}
        items.sort(key=lambda item: rank.get(item.nodeid.split("::")[0].removeprefix("tests/"), len(rank)))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """The global noise of a test and of the fixtures made for it, whatever ran before it in this process."""
    random.seed(SEED)
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed(SEED)
    if torch := sys.modules.get("torch"):
        torch.default_generator.manual_seed(SEED)  # torch.manual_seed writes the stack down for CUDA: milliseconds


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item, nextitem):
    """A training sets the number of threads of its process: the next test gets back what this one found."""
    torch = sys.modules.get("torch")
    threads = torch and torch.get_num_threads()
    try:
        return (yield)
    finally:
        if torch and torch.get_num_threads() != threads:
            torch.set_num_threads(threads)


def pytest_terminal_summary(terminalreporter):
    ran, skipped = Counter(), Counter()
    for outcome in ("passed", "failed", "skipped"):
        for report in terminalreporter.stats.get(outcome, []):
            if found := LAW.search(getattr(report, "nodeid", "")):
                ran[found["law"]] += 1
                skipped[found["law"]] += outcome == "skipped"
    if ran:
        counts = ", ".join(f"{law} {skipped[law]}/{total}" for law, total in ran.items())
        terminalreporter.write_line(f"laws skipped, by declared property: {counts}")
