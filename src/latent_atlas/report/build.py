"""Writes a page of the report, whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from latent_atlas.report import data_page, run_page, seeds, shell
from latent_atlas.report.inputs import DataSet, Page, read_page

CONTACT_LIMIT = 2_000_000


def build(section: Mapping[str, Any], root: Path, out: Path) -> Page:
    """Builds the report that a plan section describes and puts it in the place of the old one.

    Args:
        section: ``{page, runs: [...]}`` from ``plan/pages/<page>.yaml``.
        root: the directory of ``evaluations/``, ``models/`` and ``data/``.
        out: the folder of the page; an old one stays as it is unless everything was written.

    Raises:
        ReportError: for an input that cannot be read, named with the command that makes it anew.
    """
    page = read_page(section, Path(root))
    out = Path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        draft.chmod(0o755)
        write(page, draft)
        replace(draft, out)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return page


def write(page: Page, folder: Path) -> None:
    """All files of a page."""
    (folder / "assets").mkdir()
    for name in shell.ASSETS:
        (folder / "assets" / name).write_text(shell.asset(name), encoding="utf-8")
    for data in page.data.values():
        text = data_page.render(page, data, contact_sheet(data, folder))
        (folder / shell.file_of(data.name)).write_text(text, encoding="utf-8")
        for run in page.of(data.name):
            (folder / shell.file_of(run.name)).write_text(run_page.render(page, run, data), encoding="utf-8")
    if found := seeds.plain_numbers(page):
        (folder / "seeds.json").write_text(json.dumps(found, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    (folder / "index.html").write_text(data_page.index(page), encoding="utf-8")


def contact_sheet(data: DataSet, folder: Path) -> str | None:
    """Copies the contact sheet into the page's assets and gives its address."""
    source = data.folder / "contact.png"
    if not source.exists() or source.stat().st_size > CONTACT_LIMIT:
        return None
    name = f"contact-{data.name}.png"
    shutil.copyfile(source, folder / "assets" / name)
    return "assets/" + shell.quote(name)


def replace(draft: Path, out: Path) -> None:
    """Moves the finished folder into place; a reader sees the old page or the new one."""
    if not out.exists():
        os.replace(draft, out)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{out.name}-old-", dir=out.parent))
    os.replace(out, old / "page")
    try:
        os.replace(draft, out)
    except OSError:
        os.replace(old / "page", out)
        raise
    finally:
        shutil.rmtree(old, ignore_errors=True)
