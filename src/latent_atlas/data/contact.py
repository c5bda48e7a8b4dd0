"""The contact sheet: a data set on one picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from latent_atlas.data.packing import unpack

TILE, GAP, MARGIN, COLUMNS, ROWS = 64, 6, 24, 16, 10
INK, SOFT, PAPER, BAR = (28, 32, 40), (112, 120, 132), (250, 250, 248), (70, 110, 160)
Row = tuple[str, list[int]]  # a label and the items beside it


def draw(folder: Path, card: Mapping[str, Any]) -> Image.Image:
    """The sheet of the data directory that ``card`` describes; the same directory gives the same pixels."""
    field = card["spec"]["fields"][card["spec"]["observation"]]
    return _pictures(folder, card) if field["kind"] == "image" else _histograms(folder, card)


def _pictures(folder: Path, card: Mapping[str, Any]) -> Image.Image:
    rows = _class_rows(folder, card) or _factor_rows(card) or _even_rows(card)
    entry = card["storage"][card["spec"]["observation"]]
    stored = np.load(folder / entry["file"], mmap_mode="r")
    height, width = entry["shape"][:2]
    tall, wide = _tile(height, width)
    left = MARGIN + max((int(_font(13).getlength(_short(label))) + 12 if label else 0) for label, _ in rows)
    columns = max(len(items) for _, items in rows)
    sheet, pen, top = _sheet(card, left + columns * (wide + GAP) - GAP + MARGIN, len(rows) * (tall + GAP) - GAP)
    for r, (label, items) in enumerate(rows):
        y = top + r * (tall + GAP)
        pen.text((left - 12, y + tall / 2), _short(label), INK, _font(13), anchor="rm")
        block = stored[items]
        images = unpack(block, entry["shape"]) * 255 if entry["packed"] else block * (255 if entry["divisor"] is None else 1)
        for c, image in enumerate(images):
            sheet.paste(_thumbnail(image, tall, wide), (left + c * (wide + GAP), y))
    return sheet


def _tile(height: int, width: int) -> tuple[int, int]:
    """Whole multiples of small images, so that their pixels stay square; large ones fit into a tile."""
    longest = max(height, width)
    if longest <= TILE:
        return height * (TILE // longest), width * (TILE // longest)
    factor = TILE / longest
    return max(1, round(height * factor)), max(1, round(width * factor))


def _thumbnail(image: NDArray[Any], tall: int, wide: int) -> Image.Image:
    picture = Image.fromarray((image[..., 0] if image.shape[-1] == 1 else image[..., :3]).astype(np.uint8)).convert("RGB")
    enlarged = tall >= image.shape[0]
    return picture.resize((wide, tall), Image.Resampling.NEAREST if enlarged else Image.Resampling.LANCZOS)


def _class_rows(folder: Path, card: Mapping[str, Any]) -> list[Row]:
    key = next((name for name, field in card["spec"]["fields"].items() if field["kind"] == "class"), None)
    if key is None:
        return []
    labels = np.load(folder / card["storage"][key]["file"], mmap_mode="r")
    items = [np.flatnonzero(labels == code)[:COLUMNS].tolist() for code in range(min(len(card["classes"]), ROWS))]
    return [(name, found) for name, found in zip(card["classes"], items, strict=False) if found]


def _factor_rows(card: Mapping[str, Any]) -> list[Row]:
    """One factor moves in each row, the others rest; then two rows of a fixed random draw."""
    factors, n = card["factors"], sum(card["spec"]["sizes"].values())
    if not factors or not all(factors["sizes"]) or int(np.prod(factors["sizes"])) != n:
        return []
    sizes = factors["sizes"]
    # Kinds and scales rest at their last value, the largest or the least symmetric one as a rule, positions in the middle.
    base = [size - 1 if size < 8 else size // 2 for size in sizes]
    rows: list[Row] = []
    for k, name in enumerate(factors["names"]):
        steps = np.linspace(0, sizes[k] - 1, min(COLUMNS, sizes[k])).round().astype(int)
        grid = [[step if j == k else base[j] for j in range(len(sizes))] for step in steps]
        rows.append((name, np.ravel_multi_index(tuple(np.transpose(grid)), sizes).tolist()))
    drawn = np.random.default_rng(0).integers(0, n, (2, COLUMNS))
    return rows + [("random" if r == 0 else "", items.tolist()) for r, items in enumerate(drawn)]


def _even_rows(card: Mapping[str, Any]) -> list[Row]:
    n = sum(card["spec"]["sizes"].values())
    items = np.unique(np.linspace(0, n - 1, min(n, COLUMNS * 6)).round().astype(int)).tolist()
    return [("", items[start : start + COLUMNS]) for start in range(0, len(items), COLUMNS)]


def _histograms(folder: Path, card: Mapping[str, Any]) -> Image.Image:
    """The distribution of each of the first 24 entries; of all tokens together."""
    key = card["spec"]["observation"]
    field, stored = card["spec"]["fields"][key], np.load(folder / card["storage"][key]["file"], mmap_mode="r")
    rows = np.unique(np.linspace(0, len(stored) - 1, min(len(stored), 4096)).round().astype(int))
    values = np.asarray(stored[rows]).reshape(len(rows), -1).astype(float)
    if field["kind"] == "tokens":
        panels = [("all tokens", values.ravel())]
    else:
        names = field["names"] or [f"{key}[{k}]" for k in range(values.shape[1])]
        panels = [(names[k], values[:, k]) for k in range(min(values.shape[1], 24))]
    wide, tall, columns = 180, 110, min(6, len(panels))
    lines = -(-len(panels) // columns)
    sheet, pen, top = _sheet(card, max(2 * MARGIN + columns * (wide + 16) - 16, 560), lines * (tall + 34) - 10)
    for k, (name, column) in enumerate(panels):
        x, y = MARGIN + k % columns * (wide + 16), top + k // columns * (tall + 34)
        _histogram(pen, column, (x, y, wide, tall))
        pen.text((x, y + tall + 3), f"{_short(name)}   {column.min():.3g} … {column.max():.3g}", SOFT, _font(11))
    return sheet


def _histogram(pen: ImageDraw.ImageDraw, values: NDArray[Any], box: tuple[int, int, int, int]) -> None:
    x, y, wide, tall = box
    low, high = values.min(), values.max()
    whole = high - low < 40 and bool((values == np.rint(values)).all())
    counts, _ = np.histogram(values, bins=np.arange(low - 0.5, high + 1) if whole else 30)
    step = wide / len(counts)
    for k, count in enumerate(counts / max(counts.max(), 1)):
        if count:
            pen.rectangle((x + k * step, y + tall - max(1, count * tall), x + (k + 1) * step - 2, y + tall - 1), fill=BAR)
    pen.line((x, y + tall, x + wide, y + tall), fill=SOFT)


def _sheet(card: Mapping[str, Any], width: int, height: int) -> tuple[Image.Image, ImageDraw.ImageDraw, int]:
    """Paper with the head line; where the pictures begin."""
    counts, spec = card["spec"]["sizes"], card["spec"]
    shape = "×".join(str(size) for size in spec["fields"][spec["observation"]]["shape"])
    about = f"{sum(counts.values()):,} items of {shape}   ·   " + "   ".join(f"{name} {n:,}" for name, n in counts.items())
    title, top = card["title"], MARGIN + 54
    wide = max(width, int(max(_font(20).getlength(title), _font(13).getlength(about))) + 2 * MARGIN)
    sheet = Image.new("RGB", (wide, top + height + MARGIN), PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((MARGIN, MARGIN - 6), title, INK, _font(20))
    pen.text((MARGIN, MARGIN + 22), about, SOFT, _font(13))
    return sheet, pen, top


def _font(size: int) -> Any:
    """matplotlib's DejaVu, which has the signs and letters that Pillow's own face lacks."""
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf", size)


def _short(text: str) -> str:
    return text if len(text) <= 22 else f"{text[:21]}…"
