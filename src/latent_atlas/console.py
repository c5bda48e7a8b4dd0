"""The last words of ``make repro``: ``python -m latent_atlas.console page=<page>`` prints winners, page and next step."""

from __future__ import annotations

import sys
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
    return [*lines, "", f"Report  {root / 'reports/build' / page / 'index.html'}", f"MLflow  {start}   (the runs side by side)"]


def main() -> None:
    """Reads ``page=`` from the command line."""
    given = dict(argument.partition("=")[::2] for argument in sys.argv[1:])
    if set(given) != {"page"}:
        sys.exit("usage: python -m latent_atlas.console page=<page>")
    root = workspace.checkout()
    if not (root / "plan/pages" / f"{given['page']}.yaml").exists():
        sys.exit(
            f"console: {root / 'plan/pages'} has no page {given['page']!r}; `dvc repro plan` writes those of conf/pipeline.yaml"
        )
    print("\n".join(closing(root, given["page"])))


if __name__ == "__main__":
    main()
