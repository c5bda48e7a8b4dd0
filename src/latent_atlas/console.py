"""The first and last words of ``make repro``.

``python -m latent_atlas.console free`` says in one line who else runs the pipeline of this checkout, and fails then;
``page=<page>`` prints winners, page and next step.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from latent_atlas import workspace


def closing(root: Path, page: str) -> list[str]:
    """Four winners for each data set of a page that stands, where the page lies, and the line that starts MLflow's pages.

    Nothing is built here, so it says the same whether the report was just made or was up to date.
    """
    import yaml

    from latent_atlas.report.inputs import read_page
    from latent_atlas.report.winners import winner_line, winners_of

    section = yaml.safe_load((root / "plan/pages" / f"{page}.yaml").read_text(encoding="utf-8"))["report"]
    found = read_page(section, root)
    lines: list[str] = []
    for data in found.data.values():
        lines += ["", f"{data.title}: which model for what"]
        lines += [f"  {one.use.name:<9} {winner_line(one)}" for one in winners_of(found, data)]
    start = "make mlflow" if (root / "Makefile").exists() else "mlflow ui"
    lines += ["", f"Report  {root / 'reports/build' / page / 'index.html'}", f"MLflow  {start}   (the runs side by side)"]
    if (root / ".venv/bin/activate").exists() and os.environ.get("VIRTUAL_ENV") != str(root / ".venv"):
        lines += ["Shell   . .venv/bin/activate   (once, before dvc ... and python pipelines/...)"]
    return lines


def busy(root: Path) -> str | None:
    """One line about another ``dvc repro`` that runs a stage in this checkout now, if there is one.

    DVC itself stops at the first stage that both want, in five lines that advise to delete its lock.
    """
    import psutil

    for pid, command in sorted(_lockers(root / ".dvc/tmp/rwlock")):
        try:
            alive = any("dvc" in word for word in psutil.Process(pid).cmdline())
        except psutil.Error:
            alive = False  # it was killed, and DVC will see that, too
        if alive:
            return f"another `{command}` (process {pid}) is at work in {root}: wait until it ends, or stop it with `kill {pid}`"
    return None


def _lockers(path: Path) -> Iterator[tuple[int, str]]:
    """Process and command of everybody in DVC's table of who reads and writes what."""
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    for entry in [*table.get("write", {}).values(), *(one for readers in table.get("read", {}).values() for one in readers)]:
        words = entry["cmd"].split()
        yield int(entry["pid"]), " ".join(["dvc", *words[1:]])


def main() -> None:
    """Reads ``free`` or ``page=`` from the command line."""
    root = workspace.checkout()
    if sys.argv[1:] == ["free"]:
        sys.exit(busy(root))
    given = dict(argument.partition("=")[::2] for argument in sys.argv[1:])
    if set(given) != {"page"}:
        sys.exit("usage: python -m latent_atlas.console page=<page>, or free")
    if not (root / "plan/pages" / f"{given['page']}.yaml").exists():
        sys.exit(
            f"console: {root / 'plan/pages'} has no page {given['page']!r}; `dvc repro plan` writes those of conf/pipeline.yaml"
        )
    print("\n".join(closing(root, given["page"])))


if __name__ == "__main__":
    main()
