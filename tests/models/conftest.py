"""Says at the end of a test run how many models each law skipped."""

import re
import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # zoo

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
