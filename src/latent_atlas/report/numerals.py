"""Numbers as people see them: value, interval, arrow for better, meaning on hover and focus, provenance one click away."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from latent_atlas.report.markup import Markup, fold, tag
from latent_atlas.report.ranking import Candidate, plain, short

ARROWS = {"min": "↓", "max": "↑", "none": ""}
BETTER = {"min": "lower is better", "max": "higher is better", "none": "neither way is better"}


def title(key: str, entry: Mapping[str, Any]) -> str:
    """The name of a score for people."""
    return str(entry.get("title") or key)


def meaning(key: str, entry: Mapping[str, Any]) -> str:
    """One line: what the number says, its unit, which way is better, floor and ceiling where known."""
    parts = [str(entry.get("meaning") or title(key, entry)).rstrip(".")]
    if entry.get("unit") not in (None, "", "1"):
        parts.append(f"in {entry['unit']}")
    parts.append(BETTER.get(str(entry.get("direction")), BETTER["none"]))
    edges = (("floor", "knowing nothing gives"), ("ceiling", "the data allows at best"))
    parts += [f"{words} {plain(float(entry[name]))}" for name, words in edges if isinstance(entry.get(name), int | float)]
    return "; ".join(parts)


def interval_text(candidate: Candidate) -> str:
    """The interval, or that there is none."""
    if candidate.interval is None:
        return candidate.source
    return f"[{plain(candidate.interval[0])}, {plain(candidate.interval[1])}], {candidate.source}"


def spread(candidate: Candidate) -> Markup | None:
    """The interval beside a value: ± where it is even, both ends where it is not; nothing where there is none."""
    if candidate.interval is None:
        return None
    low, high = candidate.value - candidate.interval[0], candidate.interval[1] - candidate.value
    even = abs(low - high) <= 0.1 * max(low, high, 1e-12)
    text = f"± {rounded((low + high) / 2)}" if even else f"{plain(candidate.interval[0])} to {plain(candidate.interval[1])}"
    return tag("span", text, class_="spread", title=candidate.source)


def rounded(value: float) -> str:
    """Two significant digits: an uncertainty has no more."""
    return plain(float(f"{value:.2g}"))


def numeral(key: str, candidate: Candidate, *, bold: bool = False, arrow: bool = True) -> Markup:
    """A value that explains itself on hover and on focus."""
    entry = candidate.entry
    text = plain(candidate.value)
    mark = ARROWS.get(str(entry.get("direction")), "") if arrow else ""
    inner: list[Any] = [tag("strong", text) if bold else text]
    if mark:
        inner.append(tag("span", mark, class_="arrow", aria_hidden="true"))
    return tag(
        "span", *inner, class_="num", tabindex=0, title=f"{title(key, entry)}: {meaning(key, entry)}. {interval_text(candidate)}."
    )


def term(key: str, entry: Mapping[str, Any]) -> Markup:
    """The name of a score with its arrow and its meaning on hover and focus."""
    arrow = ARROWS.get(str(entry.get("direction")), "")
    return tag("span", f"{title(key, entry)} {arrow}".rstrip(), class_="num", tabindex=0, title=meaning(key, entry))


def origin(fields: Mapping[str, Any], summary: str = "where from") -> Markup:
    """Provenance behind one click."""
    rows = [part for name, value in fields.items() if value not in (None, "") for part in (tag("dt", name), tag("dd", full(value)))]
    return fold(summary, tag("dl", *rows), class_="origin")


def full(value: Any) -> Markup:
    """A provenance value; a long one without spaces, such as a hash, is cut for reading and whole on hover."""
    text = str(value) if isinstance(value, str) and " " in value else short(value)
    return tag("span", text, title=None if text == str(value) else str(value))
