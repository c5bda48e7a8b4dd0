"""RESULTS.md: a committed summary of a page, with the commands beside the figures and a few pictures."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from latent_atlas.report import findings, pictures, seeds
from latent_atlas.report.answer import winners_of
from latent_atlas.report.datacard import size_line
from latent_atlas.report.entries import provenance_fields, title
from latent_atlas.report.inputs import DataSet, Page, Run, read_page
from latent_atlas.report.numerals import ARROWS, said, spread_text
from latent_atlas.report.plates import ranked
from latent_atlas.report.ranking import candidate, differing, plain
from latent_atlas.report.tables import Column, bounds_of, columns_of, headline_keys
from latent_atlas.report.winners import winner_line

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
        "Every number is on held-out items with its 95 % interval, beside a floor and a ceiling at the same N. "
        "The report (`reports/build`) has all scores, provenance and the reasons for gaps.",
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
    parts.append(seeds_lines(runs))
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


def table(runs: Sequence[Run]) -> str:
    """Runs by headline scores with their intervals; below them ceiling, floor and PCA at the same N.

    A number outside its column's leading provenance stands in parentheses.
    """
    columns = columns_of(runs, headline_keys(runs))
    if not columns:
        return "No headline score has a number yet."
    names = [f"{title(one.key, one.entry)} {ARROWS[one.group.direction]}".strip() for one in columns]
    rows = [["run", *names, "command"], ["---"] + ["---:"] * len(columns) + ["---"]]
    for run in runs:
        rows.append([run.name, *(cell(run, column) for column in columns), f"`{run.command}`"])
    bounds = [bounds_of(column) for column in columns]
    for name, shown in (("ceiling", "*ceiling*"), ("floor", "*floor*"), ("PCA, same width", "*PCA, same width*")):
        if any(name in one for one in bounds):
            rows.append([shown, *(markdown(one.get(name)) for one in bounds), ""])
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    said = [f"**{name}** {lead(column)}" for name, column in zip(names, columns, strict=True)]
    notes = [f"- {one}" for one in said] + [f"- {line}" for column in columns for line in apart(column)]
    return "\n".join(lines) + "\n\n" + "\n".join(notes)


def seeds_lines(runs: Sequence[Run]) -> str:
    """UDR of each model with seeds, beside chance and a seed with itself, or why it has none; nothing while every model has one."""
    lines = []
    for label, found in seeds.by_label(runs).items():
        if len(found) < 2:
            continue
        one = seeds.agreement(found)
        if one.value is None or one.floor is None or one.ceiling is None or one.span is None:
            lines.append(f"- {label}, {len(found)} seeds: no UDR, {one.reason}.")
            continue
        span = f"pairs from {plain(one.span[0])} to {plain(one.span[1])}" if len(found) > 2 else "one pair"
        by = f"; interval: {seeds.INTERVAL}" if one.interval else ""
        about = f"{span}; chance {plain(one.floor)}, a seed with itself {plain(one.ceiling)}; N = {one.n:,}{by}"
        value = f"{plain(one.value)} {seeds.plus_minus(one)}".strip()
        lines.append(f"- {label}, {one.seeds} seeds: UDR ↑ {value} ({about}).")
    asked = "Whether seeds of a model find the same dimensions, up to sign and order (1 is all of them):"
    return f"{asked}\n" + "\n".join(lines) if lines else ""


def lead(column: Column) -> str:
    """What a score says, where its intervals come from, N."""
    fields = provenance_fields(column.entry)
    sources = dict.fromkeys(one.source for one in column.group.candidates if one.interval is not None)
    parts = [
        f"N = {fields['N']:,}" if isinstance(fields.get("N"), int) else "",
        f"interval: {'; '.join(sources)}" if sources else "",
    ]
    about = ", ".join(part for part in parts if part)
    return said(column.key, column.entry) + (f" ({about})" if about else "") + "."


def apart(column: Column) -> list[str]:
    """Which numbers in parentheses are not ranked, and what differs."""
    name = title(column.key, column.entry)
    return [
        f"{name}, {one.named()}: not ranked together: {differing(column.group.provenance, one.provenance)}."
        for one in column.others
    ]


def markdown(bound: Sequence[Any] | None) -> str:
    """A floor, ceiling or reference and what it is of."""
    if not bound:
        return ""
    value, *by = [re.sub(r"<[^>]+>", "", str(part)) for part in bound if part is not None]
    return f"{value} ({', '.join(by)})" if by else value


def cell(run: Run, column: Column) -> str:
    """A run's own number and interval."""
    for place, group in enumerate((column.group, *column.others)):
        if any(run in one.runs for one in group.candidates):
            own = candidate([run], group.key)
            first = place == 0 and run in group.candidates[0].runs and group.separated() and group.direction != "none"
            text = f"{'**' if first else ''}{plain(own.value)}{'**' if first else ''} {spread_text(own)}".strip()
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
