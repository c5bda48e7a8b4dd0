"""One score as evaluation.json holds it, read so that an older or damaged entry lacks a field instead of breaking a page."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Entry = Mapping[str, Any]
LEFT_OUT = re.compile(r"left out at budget \w+: it runs from (\w+) on")
NAMED = re.compile(r"\b(domain|module)_[0-9a-f]{6,}\b")  # an extractor with the beginning of its hash
SAMPLE = re.compile(r" \((?:[^()]*, )?N = [\d,]+\)")  # of which there is none where there is no number
LABELS, FACTORS = re.compile(r"\b(?:needs|no) labels\b"), re.compile(r"\b(?:needs|no) factors\b")

# Fields of provenance in the order and the words in which people read them; others follow under their own names.
FIELDS = {
    "n": "N",
    "n_train": "N of training items",
    "split": "split",
    "protocol": "protocol",
    "extractor": "extractor",
    "hash": "extractor hash",
    "likelihood": "likelihood",
    "estimator": "estimator",
    "bins": "bins",
    "seed": "seed of the draws",
}


def number(value: Any) -> float | None:
    """A finite number, else nothing."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def numbers(values: Any) -> list[float] | None:
    """A list of finite numbers, else nothing."""
    found = [number(value) for value in values] if isinstance(values, list | tuple) else [None]
    return [value for value in found if value is not None] if None not in found else None


def ok(entry: Entry | None) -> bool:
    """Whether a score entry holds a number."""
    return isinstance(entry, Mapping) and entry.get("status") == "ok" and number(entry.get("value")) is not None


def interval_of(entry: Entry) -> tuple[float, float] | None:
    """The interval, the lower end first."""
    ends = numbers(entry.get("interval"))
    return (min(ends), max(ends)) if ends is not None and len(ends) == 2 else None


def source_of(entry: Entry) -> str:
    """Where an interval came from: items, the bootstrap, refits."""
    said = entry.get("interval_by") or mapping(entry.get("provenance")).get("interval") or "interval over items"
    return str(said)


def mapping(value: Any) -> Mapping[str, Any]:
    """The value if it is a mapping, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def references_of(entry: Entry) -> dict[str, float]:
    """What stands beside a score at the same N (PCA, random encoder, raw observations), as far as it is a number."""
    found = {str(name): number(value) for name, value in mapping(entry.get("references")).items()}
    return {name: value for name, value in found.items() if value is not None}


def title(key: str, entry: Entry) -> str:
    """The name of a score for people; an extractor's hash stands in its provenance."""
    return NAMED.sub(r"\1", str(entry.get("title") or key))


def direction(entry: Entry) -> str:
    """min, max or none."""
    found = entry.get("direction")
    return found if found in ("min", "max") else "none"


def unit(entry: Entry) -> str:
    """The unit, empty for a plain number."""
    found = str(entry.get("unit") or "")
    return "" if found == "1" else found


def provenance_fields(entry: Entry) -> dict[str, Any]:
    """Everything that a number rests on, under names for people, in one order."""
    given = mapping(entry.get("provenance"))
    found = {words: given[name] for name, words in FIELDS.items() if name in given}
    found |= {name.replace("_", " "): value for name, value in given.items() if name not in FIELDS and name != "interval"}
    if interval_of(entry) is not None:
        found["interval"] = f"95 %, {source_of(entry)}"
    for side in ("floor", "ceiling"):
        edge, by = number(entry.get(side)), entry.get(f"{side}_by")
        if edge is not None:
            found[side] = f"{edge:.4g} ({by})" if by else f"{edge:.4g}"
    if said := mapping(entry.get("parts")).get("warning"):
        found["warning"] = said
    return found | ({"defined in": entry["paper"]} if entry.get("paper") else {})


def reason_of(entry: Entry) -> str:
    """Why there is no number, in few words."""
    reason = str(entry.get("reason") or "no reason given").rstrip(".")
    if found := LEFT_OUT.fullmatch(reason):
        return f"runs from {found[1]}"
    return f"failed ({reason})" if entry.get("status") == "failed" else reason


def gaps(scores: Iterable[tuple[str, str, Entry]]) -> dict[str, dict[str, list[str]]]:
    """Reason -> title -> owners, of (owner, key, entry) without a number: faults first, then what the data lacks, then the rest."""
    found: dict[str, dict[str, list[str]]] = {}
    for owner, key, entry in scores:
        if not ok(entry):
            name = SAMPLE.sub("", title(key, mapping(entry)))
            found.setdefault(reason_of(mapping(entry)), {}).setdefault(name, []).append(owner)
    order = ("failed", "needs", "the ", "not defined")

    def place(reason: str) -> tuple[int, str]:
        return next((i for i, start in enumerate(order) if reason.startswith(start)), len(order)), reason

    return {reason: found[reason] for reason in sorted(found, key=place)}


def would_add(missing: Mapping[str, Mapping[str, Any]], labels: bool, factors: bool) -> list[str]:
    """What labels or factors would add to data without them, one sentence each.

    Args:
        missing: of ``gaps``.
        labels: whether the data has labels.
        factors: whether it has factors.
    """
    wanted = (
        (labels, LABELS, "Labels, one class for each item,"),
        (factors, FACTORS, "A table of factors beside the items"),
    )
    lines = []
    for had, pattern, what in wanted:
        titles = [name for reason, found in missing.items() if pattern.search(reason) for name in found]
        if titles and not had:
            lines.append(f"{what} would add {len(titles)} score{'s' if len(titles) > 1 else ''}: {enumerated(titles)}.")
    return lines


def enumerated(names: Sequence[str], most: int = 40) -> str:
    """Names after each other, the later ones counted."""
    shown = list(dict.fromkeys(names))
    return ", ".join(shown[:most]) + (f" and {len(shown) - most} more" if len(shown) > most else "")
