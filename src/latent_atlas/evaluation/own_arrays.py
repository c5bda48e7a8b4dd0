"""Arrays that come from anywhere, checked before anything is computed of them; their scores as a flat JSON, whole or not at all."""

from __future__ import annotations

import contextlib
import json
import math
import os
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latent_atlas.metrics.result import Measured, NotApplicable

PROTOCOLS = ("atlas", "reference")
UNREADABLE = (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError)
Array = NDArray[Any]


class ScoreError(ValueError):
    """Arrays that cannot be scored; the message names the file, what is wrong and what to do."""


def read_arrays(path: Path) -> dict[str, Array]:
    """Every array of an .npz.

    Raises:
        ScoreError: no such file, or no .npz of plain arrays.
    """
    if not path.is_file():
        raise ScoreError(f"{path}: there is no such file")
    try:
        file = np.load(path, allow_pickle=False)
        if isinstance(file, np.ndarray):
            raise ScoreError(f"{path}: a single array without a name; needed is an .npz of named arrays (numpy.savez)")
        with file:
            return {name: file[name] for name in file.files}
    except ScoreError:
        raise
    except UNREADABLE as error:
        raise ScoreError(f"{path}: not an .npz of plain arrays ({(str(error) or type(error).__name__).splitlines()[0]})") from error


def check_table(path: Path, name: str, array: Array, least: int = 1, finite: bool = True) -> None:
    """Raises ``ScoreError`` unless the array is a table (N, columns) of numbers with ``least`` rows."""
    real = np.issubdtype(array.dtype, np.integer) or np.issubdtype(array.dtype, np.floating)
    if array.ndim != 2 or not real or not array.shape[1]:
        raise ScoreError(f"{path}: {name} is {array.dtype} of shape {array.shape}; needed is a table (N, columns) of numbers")
    if finite and not np.isfinite(array).all():
        raise ScoreError(f"{path}: {name} has {int((~np.isfinite(array)).sum())} entries that are NaN or infinite")
    if len(array) < least:
        raise ScoreError(f"{path}: {name} has {len(array)} rows; at least {least} are needed")


def check_out(out: Path) -> None:
    """Raises ``ScoreError`` where the file could not be written in the end: before the work and not after it."""
    folder = next(parent for parent in out.absolute().parents if parent.exists())
    if out.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise ScoreError(f"cannot write {out}: {'it is a folder' if out.is_dir() else f'{folder} takes no files'}")


def attempt(
    compute: Callable[[], Measured],
    names: Mapping[str, str],
    reasons: dict[str, str],
    floor: Callable[[], Measured] | None = None,
    ceiling: Callable[[], Measured] | None = None,
) -> dict[str, Any]:
    """The values of a score by name, or nothing and its reason: a metric's fault is its own, and no NaN is handed on.

    Beside the first stand ``_interval``, ``_floor``, ``_ceiling``, ``_estimator``, ``_bins``, ``_warning``, as far as they exist.

    Args:
        compute: the score.
        names: of the results -> "" for the value, or the part that holds it.
        reasons: takes the reason of what is missing.
        floor: the same score of a stand-in, where it does not know its own floor.
        ceiling: the same for the ceiling.
    """
    try:
        measured = compute()
        values = [measured.parts[part] if part else measured.value for part in names.values()]
    except NotApplicable as reason:
        reasons |= dict.fromkeys(names, str(reason))
        return {}
    except Exception as error:
        reasons |= dict.fromkeys(names, f"failed: {type(error).__name__}: {error}")
        return {}
    found: dict[str, Any] = {}
    for name, value in zip(names, values, strict=True):
        if value is None or not math.isfinite(value):
            reasons[name] = f"the value is {value}"
        else:
            found[name] = float(value)
    first = next(iter(names))
    return found | _beside(first, measured, floor, ceiling) if first in found else found


def _beside(first: str, measured: Measured, *stand_ins: Callable[[], Measured] | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if measured.interval and all(map(math.isfinite, measured.interval)):
        found[f"{first}_interval"] = [float(bound) for bound in measured.interval]
    for side, stand_in in zip(("floor", "ceiling"), stand_ins, strict=True):
        bound = getattr(measured, side)
        if bound is None and stand_in is not None:
            with contextlib.suppress(Exception):  # a floor that cannot be had must not cost the score that stands on it
                bound = stand_in().value
        if bound is not None and math.isfinite(bound):
            found[f"{first}_{side}"] = float(bound)
    if "warning" in measured.parts:
        found[f"{first}_warning"] = measured.parts["warning"]
    return found | {f"{first}_{word}": measured.provenance[word] for word in ("estimator", "bins") if word in measured.provenance}


def write_scores(found: Mapping[str, Any], out: Path | None) -> None:
    """Prints the scores, and writes them to a file whole or not at all."""
    text = json.dumps(found, indent=1, allow_nan=False, ensure_ascii=False)
    if out is None:
        print(text)
        return
    partial = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(text + "\n", encoding="utf-8")
        partial.replace(out)
    except OSError as error:
        raise ScoreError(f"cannot write {out}: {error.strerror}") from error
    finally:
        if partial.parent.is_dir():
            partial.unlink(missing_ok=True)
    missing = len(found.get("not_applicable", {}))
    scores = sum(isinstance(value, float) and not name.endswith(("_floor", "_ceiling")) for name, value in found.items())
    print(f"{scores} scores in {out}" + f", {missing} without a value" * (missing > 0))
