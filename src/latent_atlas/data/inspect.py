"""A look at the user's own data before anything is trained: what it is, and the conf/data file that fits it."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from latent_atlas.data.array_file import open_arrays
from latent_atlas.data.arrays import Arrays
from latent_atlas.data.image_folder import LABEL_COLUMNS, ImageFolder, scan
from latent_atlas.data.reader import Contents, DataError
from latent_atlas.data.splits import Split
from latent_atlas.data.table import CATEGORIES, Table, read_frame, values

SIDES = (64, 32, 28)  # for which there are convolutional networks
FEATURES = 64  # of the extractor: Fréchet distances need twice as many items
TABLES = (".csv", ".tsv", ".parquet")


@dataclass(frozen=True)
class Inspection:
    """What was found at a path.

    Args:
        path: absolute.
        kind: ``image_folder``, ``arrays`` or ``table``.
        name: a short name for files and runs.
        n: items that can be used, as far as headers tell.
        shape: of one item as models will see it.
        observation: its kind, ``image`` or ``vector``.
        classes: of the labels, or nothing.
        factors: their names and numbers of values (0 is continuous).
        set_aside: (item, reason) of what will not be used.
        notes: what was decided, one line each.
        conf: the content of ``conf/data/<name>.yaml``.
    """

    path: Path
    kind: str
    name: str
    n: int
    shape: tuple[int, ...]
    observation: str
    classes: tuple[str, ...] = ()
    factors: dict[str, int] = field(default_factory=dict)
    set_aside: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    conf: dict[str, Any] = field(default_factory=dict)


def inspect(path: Path | str) -> Inspection:
    """Looks at a folder of images, an ``.npz`` or ``.npy`` file, a CSV or Parquet table; raises ``DataError`` in one line."""
    path = Path(path).expanduser().absolute()
    if not path.exists():
        raise DataError(f"{path} does not exist")
    suffix = path.suffix.lower()
    if path.is_dir():
        return _folder(path)
    if suffix in (".npz", ".npy"):
        file = open_arrays(path)
        reader: dict[str, Any] = {"path": str(path)}
        return _described(path, "arrays", "arrays.Arrays", reader, Arrays(**reader).open(split_for(file.shape[0])), [])
    if suffix in TABLES:
        return _table(path)
    raise DataError(f"{path}: own data is a folder of images, an .npz or .npy file, or a .csv, .tsv or .parquet table")


def slug(path: Path) -> str:
    """``Fotos Müller.2024`` to ``fotos_mueller_2024``: letters, digits and underscores, for files, stages and runs."""
    stem = unicodedata.normalize("NFC", path.name if path.is_dir() else path.stem).lower()
    for letter, plain in (("ä", "ae"), ("ö", "oe"), ("ü", "ue"), ("ß", "ss")):
        stem = stem.replace(letter, plain)
    ascii_only = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "_", ascii_only).strip("_") or "own_data"


def split_for(n: int) -> Split:
    """Small sets hold more out, so that scores have enough items."""
    return Split(0.1, 0.2) if n < 20_000 else Split(0.05, 0.1)


def reference_size(n: int, split: Split) -> int:
    """N of Fréchet distances: nearly all of test (a fixed number that a few more or less items do not change), at most 5,000."""
    likely = int(n * split.test - 2 * np.sqrt(n * split.test))
    return max(1, min(5000, likely if likely < 4 * FEATURES else likely // 100 * 100))


def _folder(path: Path) -> Inspection:
    found, excluded = scan(path)
    if not found:
        raise DataError(f"{path}: no images in this folder" + (f"; the first file: {': '.join(excluded[0])}" if excluded else ""))
    table = _annotation_table(path, list(found))
    sizes = Counter(size for _, size in found.values())
    size, note = _chosen_size(sizes)
    reader: dict[str, Any] = {"path": str(path), "size": size, "fit": "crop" if _oblong(sizes) else "resize", "channels": "auto"}
    reader |= {"labels": "auto", "table": None if table is None else str(table), "strict": False}
    contents = ImageFolder(**reader).open(split_for(len(found)))
    return _described(path, "image_folder", "image_folder.ImageFolder", reader, contents, [note])


def _chosen_size(sizes: Counter[tuple[int, int]]) -> tuple[int | None, str]:
    """Kept where all agree and a network takes it; else the largest of ``SIDES`` that enlarges few images."""
    (height, width), *others = sizes
    if not others and height == width and (height in SIDES or height <= 16):
        return None, f"all images are {width}×{height} and stay so"
    shorter = sorted(min(size) for size in sizes.elements())
    typical = shorter[len(shorter) // 10]
    side = next((side for side in SIDES if side <= typical), SIDES[-1])
    what = f"images are {width}×{height}" if not others else f"images have {len(sizes)} sizes"
    return side, f"{what}; they are resized to {side}×{side} (reader.size)"


def _oblong(sizes: Counter[tuple[int, int]]) -> bool:
    """Whether squeezing into a square would distort most images."""
    far = sum(n for (height, width), n in sizes.items() if max(height, width) > 1.2 * min(height, width))
    return 2 * far > sum(sizes.values())


def _annotation_table(path: Path, names: list[str]) -> Path | None:
    """A CSV in the folder that names its images."""
    from latent_atlas.data.image_folder import match

    for table in sorted(path.glob("*.csv")):
        try:
            _, rows = match(table, names)
        except DataError:
            continue
        if len(set(rows) & set(names)) > len(names) / 2:
            return table
    return None


def _table(path: Path) -> Inspection:
    frame = read_frame(path)
    label = next((name for name in frame if str(name).lower() in (*LABEL_COLUMNS, "target", "species")), None)
    if label is not None and frame[label].nunique() > max(2, min(CATEGORIES, len(frame) // 2)):
        label = None
    ignore = [str(name) for name in frame if name != label and _identifier(frame[name], path)]
    gaps = bool(frame.drop(columns=ignore).isna().to_numpy().any())
    reader: dict[str, Any] = {
        "path": str(path),
        "label": label,
        "factors": [],
        "ignore": ignore,
        "missing": "drop" if gaps else "error",
    }
    notes = [f"column {name!r} looks like an identifier and is left out (reader.ignore)" for name in ignore]
    if gaps:
        notes.append("rows with an empty value are left out (reader.missing)")
    return _described(path, "table", "table.Table", reader, Table(**reader).open(split_for(len(frame))), notes)


def _identifier(series: Any, path: Path) -> bool:
    """Texts with too many values, types that are no numbers, or a numbering of the rows."""
    try:
        column = values(series.dropna(), path)
    except DataError:
        return True
    if column.dtype.kind == "U":
        return len(np.unique(column)) > CATEGORIES
    name = str(series.name).lower()
    numbered = len(column) > 2 and bool((np.diff(column) == 1).all())
    return numbered and (name in ("id", "index", "nr", "no", "row", "unnamed: 0") or name.endswith("_id"))


def _described(path: Path, kind: str, target: str, reader: dict[str, Any], contents: Contents, notes: list[str]) -> Inspection:
    fields = {name: stored.field for name, stored in contents.fields.items()}
    x, labels, factors = fields[contents.observation], fields.get("labels"), fields.get("factors")
    n, name = contents.total or 0, slug(path)
    split = split_for(n)
    if kind == "image_folder":
        n -= sum(reason.startswith("not in ") for _, reason in contents.excluded)
    conf = {
        "name": name,
        "title": path.name if path.is_dir() else path.stem,
        "about": f"Own data: {path}",
        "reader": {"_target_": f"latent_atlas.data.{target}", **reader},
        "split": {"val": split.val, "test": split.test},
        "reference_size": reference_size(n, split),
        "provides": {"observation": x.kind, "fields": [key for key in ("labels", "factors") if key in fields]},
    }
    if n < 10 * FEATURES:
        notes = [*notes, f"Fréchet distances need {2 * FEATURES} held-out items; of {n} about {round(n * split.test)} are"]
    return Inspection(
        path=path,
        kind=kind,
        name=name,
        n=n,
        shape=x.shape,
        observation=x.kind,
        classes=labels.names if labels else (),
        factors=dict(zip(factors.names, factors.size, strict=True)) if factors and isinstance(factors.size, tuple) else {},
        set_aside=list(contents.excluded),
        notes=notes,
        conf=conf,
    )
