"""The four answers and a line for each run, for the console."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from latent_atlas.report import shell
from latent_atlas.report.answer import winners_of
from latent_atlas.report.entries import title
from latent_atlas.report.inputs import Page, Run, read_page
from latent_atlas.report.ranking import USES, Winner, against, groups, headline_key, plain


def winners(section: Mapping[str, Any], root: Path) -> list[Winner]:
    """The four answers for each data set of a page, in the plan's order.

    Raises:
        ReportError: for an input that cannot be read.
    """
    page = read_page(section, root)
    return [found for data in page.data.values() for found in winners_of(page, data)]


def lines(page: Page, out: Path) -> list[str]:
    """What ``make repro`` prints at its end: the runs, the four winners, the page, the next command."""
    wide = max(len(run.name) for run in page.runs)
    found = [f"{run.name:<{wide}}  {run_line(page, run)}" for run in page.runs]
    for data in page.data.values():
        found += ["", f"{data.title}: which model for what"]
        found += [f"  {one.use.name:<9} {winner_line(one)}" for one in winners_of(page, data)]
    first = next(iter(page.data)) if len(page.data) == 1 else "index"
    name = shell.file_of(first) if first != "index" else "index.html"
    return [*found, "", f"Report  {out / name}", "Next    make mlflow"]


def run_line(page: Page, run: Run) -> str:
    """A run's error, the same against PCA, its verdict; the command that evaluates it where there is none."""
    if run.evaluation is None:
        return f"not evaluated yet: {run.command}"
    verdict = str(run.evaluation.get("verdict", ""))
    key = headline_key(page.of(run.data), USES[0])
    for group in groups(page.of(run.data), key) if key else []:
        own = next((one for one in group.candidates if run in one.runs), None)
        if own is not None and key is not None:
            value = float(run.scores[key]["value"])
            beside = "the baseline" if own.is_baseline else against(own, group.baseline, str(own.entry.get("unit") or ""))
            return f"error {plain(value):<8} {beside:<22} {verdict}"
    return f"no error measured  {verdict}"


def winner_line(found: Winner) -> str:
    """One answer: model, number, against PCA, what limits it."""
    if found.best is None or found.group is None:
        return found.reason
    best = found.best
    beside = against(best, found.group.baseline, str(best.entry.get("unit") or ""))
    notes = "".join(f"; {note}" for note in found.notes()[:1])
    return f"{best.label:<14} {plain(best.value):<8} {title(found.group.key, best.entry)}, {beside}{notes}"
