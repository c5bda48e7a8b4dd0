"""RESULTS.md: a committed summary of a page, with the commands beside the figures and a few pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from latent_atlas.report import findings, pictures
from latent_atlas.report.answer import winners_of
from latent_atlas.report.datacard import size_line
from latent_atlas.report.inputs import DataSet, Page, Run, read_page
from latent_atlas.report.numerals import ARROWS, title
from latent_atlas.report.plates import ranked
from latent_atlas.report.ranking import groups, plain
from latent_atlas.report.winners import winner_line

PREFERRED = ("mse", "psnr", "nelbo", "fid_", "mig", "knn", "trustworthiness")
COLUMNS = 6
LABEL, GAP = 130, 6


def write(section: Mapping[str, Any], root: Path, path: Path) -> Path:
    """Writes the summary of a page to ``path`` and its pictures into ``pictures/`` beside it.

    Raises:
        ReportError: for an input that cannot be read.
    """
    page, path = read_page(section, root), Path(path)
    folder = path.parent / "pictures"
    folder.mkdir(parents=True, exist_ok=True)
    parts = [
        "# Results",
        f"Written from evaluations of the page `{page.name}` by",
        f"```\ndvc repro report@{page.name}\npython pipelines/report.py page={page.name} results={path.as_posix()}\n```",
        "Every number is on held-out items; the report (`reports/build`) has intervals, provenance and the reasons for gaps.",
    ]
    for data in page.data.values():
        parts += data_part(page, data, folder)
    text = "\n\n".join(part for part in parts if part) + "\n"
    draft = path.with_name(f".{path.name}.new")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)
    return path


def data_part(page: Page, data: DataSet, folder: Path) -> list[str]:
    """A data set: the four answers, the table, one or two pictures."""
    runs = page.of(data.name)
    parts = [f"## {data.title}", size_line(data) + "."]
    if missing := page.missing(data.name):
        parts.append("Not evaluated yet: " + ", ".join(f"`{run.name}` (`{run.command}`)" for run in missing) + ".")
    if not runs:
        return parts
    answers = winners_of(page, data)
    parts.append("\n".join(f"- **{one.use.name}**: {' '.join(winner_line(one).split())}" for one in answers))
    parts.append(table(runs))
    if (plate := witness_plate(runs)) is not None:
        plate.save(folder / f"{data.name}-witnesses.png", optimize=True)
        parts.append(f"![Held-out items and their reconstructions](pictures/{data.name}-witnesses.png)")
        parts.append("First row: held-out items, the same for every model. Below: what each model keeps of them.")
    steered = answers[2].best.run if answers[2].best else None
    if steered is not None and (sheet := traversal_plate(steered, data)) is not None:
        drawn, captions = sheet
        drawn.save(folder / f"{data.name}-traversals.png", optimize=True)
        parts.append(f"![Dimensions of {steered.name}](pictures/{data.name}-traversals.png)")
        parts.append(f"`{steered.name}`, one dimension a row:\n" + "\n".join(f"- {text}" for text in captions))
    return parts


def keys_of(runs: Sequence[Run]) -> list[str]:
    """The scores of the table: the first that fits each preferred beginning and has a number."""
    found = []
    for prefix in PREFERRED:
        keys = dict.fromkeys(
            key for run in runs for key in run.scores if key.startswith(prefix) and not key.startswith("fid_recon")
        )
        found += [key for key in keys if groups(runs, key)][:1]
    return found[:COLUMNS]


def table(runs: Sequence[Run]) -> str:
    """Models by scores; a number outside its column's leading provenance stands in parentheses."""
    keys = keys_of(runs)
    columns = {key: groups(runs, key) for key in keys}
    names = [title(key, columns[key][0].candidates[0].entry) for key in keys]
    arrows = [ARROWS.get(columns[key][0].direction, "") for key in keys]
    head = ["run", *(f"{name} {arrow}".strip() for name, arrow in zip(names, arrows, strict=True)), "command"]
    rows = [head, ["---"] + ["---:"] * len(keys) + ["---"]]
    for run in runs:
        cells = [cell(run, columns[key]) for key in keys]
        rows.append([run.name, *cells, f"`{run.command}`"])
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    note = "\n\nNumbers in parentheses come from elsewhere (another extractor, likelihood or N) and are not ranked with the others."
    return "\n".join(lines) + (note if any("(" in one for row in rows[2:] for one in row[1:-1]) else "")


def cell(run: Run, found: Sequence[Any]) -> str:
    """A run's own number."""
    for place, group in enumerate(found):
        if any(run in one.runs for one in group.candidates):
            text = plain(float(run.scores[group.key]["value"]))
            return text if place == 0 else f"({text})"
    return "–"


def plate_of(rows: Sequence[tuple[str, np.ndarray]], size: int) -> Image.Image:
    """Named rows of images (N, H, W, C), each grown by whole pixels to about ``size``."""
    first = rows[0][1]
    scale = max(1, round(size / first.shape[2]))
    height, width = first.shape[1] * scale, first.shape[2] * scale
    canvas = Image.new("RGB", (LABEL + len(first) * (width + GAP) + GAP, GAP + len(rows) * (height + GAP)), "white")
    pen, font = ImageDraw.Draw(canvas), ImageFont.load_default(15)
    for r, (name, items) in enumerate(rows):
        top = GAP + r * (height + GAP)
        pen.text((GAP, top + height / 2), name, "#1d1c1a", font, anchor="lm")
        for c, item in enumerate(items):
            image = pictures.as_image(item).resize((width, height), Image.Resampling.NEAREST)
            canvas.paste(image, (LABEL + c * (width + GAP), top))
    return canvas


def witness_plate(runs: Sequence[Run]) -> Image.Image | None:
    """Models in rank order below the held-out items; ``None`` where the data has no images."""
    rows = [(run, run.pictures.get("reconstructions")) for run, _ in ranked(runs)[1]]
    drawn = [(run.label, again[:8]) for run, again in rows if again is not None and again.ndim == 4]
    if not drawn:
        return None
    truth = next(run.pictures["witnesses"] for run, again in rows if again is not None)
    return plate_of([("held-out items", truth[:8]), *drawn], 64)


def traversal_plate(run: Run, data: DataSet) -> tuple[Image.Image, list[str]] | None:
    """The dimensions of a run that carry something, six at most, with the finding about each."""
    drawn, board = run.pictures.get("traversals"), findings.board(run)
    if drawn is None or drawn.ndim != 5 or board is None:
        return None
    factors = findings.factor_table(run)
    order = findings.traversal_order(run)
    alive = [(row, dimension) for row, dimension in enumerate(order) if board.values[dimension] >= board.threshold][:6]
    if not alive:
        return None
    captions = [findings.caption(run, data, dimension, board, factors) for _, dimension in alive]
    return plate_of([(f"dimension {dimension}", drawn[row]) for row, dimension in alive], 64), captions
