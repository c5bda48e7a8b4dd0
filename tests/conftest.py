"""Puts this directory on the path (``drawn`` and ``zoo`` are imported by tests of every part), and counts the laws' skips.

Here and not beside the laws: under pytest-xdist the process that prints the summary reads no other conftest.
"""

import re
from collections import Counter

from hypothesis import settings

# The same examples each time: a test that fails does so again, and nothing of a former run decides which are tried.
settings.register_profile("latent_atlas", derandomize=True, deadline=None, database=None)
settings.load_profile("latent_atlas")
LAW = re.compile(r"test_laws\.py::test_law\[(?P<case>.+)-(?P<law>\w+)\]")


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
