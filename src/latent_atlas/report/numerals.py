"""Numbers as people see them: value, interval, arrow for better, meaning on hover and focus, provenance one click away."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from latent_atlas.report import bar
from latent_atlas.report.entries import direction, number, title, unit
from latent_atlas.report.markup import Markup, fold, tag
from latent_atlas.report.ranking import Candidate, plain, short

ARROWS = {"min": "↓", "max": "↑", "none": ""}
BETTER = {"min": "lower is better", "max": "higher is better", "none": "neither way is better"}


def meaning(key: str, entry: Mapping[str, Any]) -> str:
    """One line: what the number says, its unit, which way is better, floor and ceiling where known."""
    parts = [said(key, entry), BETTER[direction(entry)]]
    edges = (("floor", "knowing nothing gives"), ("ceiling", "the data allows at best"))
    parts += [f"{words} {plain(edge)}" for name, words in edges if (edge := number(entry.get(name))) is not None]
    return "; ".join(parts)


def said(key: str, entry: Mapping[str, Any]) -> str:
    """What a number says, with its unit, for one who does not know the metric."""
    words = str(entry.get("meaning") or title(key, entry)).rstrip(".")
    if not unit(entry) or unit(entry).lower() in words.lower():
        return words
    return f"{words} In {unit(entry)}" if words.endswith("?") else f"{words}, in {unit(entry)}"


def sentence(key: str, entry: Mapping[str, Any]) -> str:
    """What a number says, with its full stop."""
    words = said(key, entry)
    return words if words.endswith("?") else f"{words}."


def interval_text(candidate: Candidate) -> str:
    """The interval, or that there is none."""
    if candidate.interval is None:
        return candidate.source
    return f"[{plain(candidate.interval[0])}, {plain(candidate.interval[1])}], {candidate.source}"


def spread(candidate: Candidate) -> Markup | None:
    """The interval beside a value, its source on hover; nothing where there is none."""
    return tag("span", spread_text(candidate), class_="spread", title=candidate.source) if candidate.interval else None


def spread_text(candidate: Candidate) -> str:
    """± where the interval is even, both ends where it is not; nothing where there is none."""
    if candidate.interval is None:
        return ""
    low, high = candidate.value - candidate.interval[0], candidate.interval[1] - candidate.value
    even = abs(low - high) <= 0.1 * max(low, high, 1e-12)
    return f"± {rounded((low + high) / 2)}" if even else f"{plain(candidate.interval[0])} to {plain(candidate.interval[1])}"


def rounded(value: float) -> str:
    """Two significant digits: an uncertainty has no more."""
    return re.sub(r"(\.\d)0×", r"\1×", plain(float(f"{value:.2g}")))


def numeral(key: str, candidate: Candidate, *, bold: bool = False, arrow: bool = True) -> Markup:
    """A value that explains itself on hover and on focus."""
    entry = candidate.entry
    text = plain(candidate.value)
    mark = ARROWS[direction(entry)] if arrow else ""
    inner: list[Any] = [tag("strong", text) if bold else text]
    if mark:
        inner.append(tag("span", mark, class_="arrow", aria_hidden="true"))
    place = bar.words(entry, candidate.value, candidate.interval)
    told = [f"{title(key, entry)}: {meaning(key, entry)}", interval_text(candidate), *([place] if place else [])]
    return tag("span", *inner, class_="num", tabindex=0, title=". ".join(told) + ".")


def term(key: str, entry: Mapping[str, Any]) -> Markup:
    """The name of a score with its arrow and its meaning on hover and focus."""
    arrow = ARROWS[direction(entry)]
    return tag("span", f"{title(key, entry)} {arrow}".rstrip(), class_="num", tabindex=0, title=meaning(key, entry))


def origin(fields: Mapping[str, Any], summary: str = "where from") -> Markup:
    """Provenance behind one click."""
    rows = [part for name, value in fields.items() if value not in (None, "") for part in (tag("dt", name), tag("dd", full(value)))]
    return fold(summary, tag("dl", *rows), class_="origin")


def full(value: Any) -> Markup:
    """A provenance value; a long one without spaces, such as a hash, is cut for reading and whole on hover."""
    text = str(value) if isinstance(value, str) and " " in value else short(value)
    return tag("span", text, title=None if text == str(value) else str(value))
