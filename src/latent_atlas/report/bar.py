"""A score as a place between its floor and its ceiling, both measured at the same N."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from latent_atlas.report.entries import direction, number, references_of, unit
from latent_atlas.report.markup import Markup, tag

WIDTH, HEIGHT, EDGE = 112, 16, 14  # px; what lies beyond floor or ceiling is drawn in the edge
FAR = (
    30.0,
    1e4,
)  # ratios of floor to ceiling at which a distance is drawn on a logarithmic scale: a Fréchet distance of 5 to 5,000

REVERSE = {"min": "max", "max": "min", "none": "none"}


@dataclass(frozen=True)
class Scale:
    """From floor (0) to ceiling (1)."""

    floor: float
    ceiling: float
    logarithmic: bool = False

    def place(self, value: float) -> float:
        """Where a value lies: below 0 is worse than the floor, above 1 better than the ceiling."""
        if self.logarithmic:
            value = max(value, 1e-12 * self.floor)
            return math.log(value / self.floor) / math.log(self.ceiling / self.floor)
        return (value - self.floor) / (self.ceiling - self.floor)


def scale_of(entry: Mapping[str, Any]) -> Scale | None:
    """The scale of a score; ``None`` where floor or ceiling is missing, or the floor is as good as the ceiling."""
    floor, ceiling = number(entry.get("floor")), number(entry.get("ceiling"))
    if floor is None or ceiling is None or floor == ceiling:
        return None
    if (direction(entry) == "max") == (ceiling < floor) and direction(entry) != "none":
        return None
    distance = entry.get("kind") == "fidelity" and direction(entry) == "min" and unit(entry) != "" and ceiling > 0
    return Scale(floor, ceiling, distance and FAR[0] <= floor / ceiling <= FAR[1])


def at_floor(entry: Mapping[str, Any], value: float, interval: tuple[float, float] | None) -> bool:
    """Whether a value, or the worse end of its interval, is no better than the floor."""
    floor, way = number(entry.get("floor")), direction(entry)
    if floor is None or way == "none":
        return False
    low, high = interval or (value, value)
    return low <= floor if way == "max" else high >= floor


def words(entry: Mapping[str, Any], value: float, interval: tuple[float, float] | None) -> str:
    """The place in words; empty where there is no scale."""
    scale = scale_of(entry)
    if scale is None:
        floor, ceiling = number(entry.get("floor")), number(entry.get("ceiling"))
        both = floor is not None and ceiling is not None and direction(entry) != "none"
        return "its floor is as good as its ceiling: the number says nothing here" if both else ""
    if at_floor(entry, value, interval):
        if not at_floor({**entry, "direction": REVERSE[direction(entry)]}, value, interval):
            return "worse than its floor"
        return "no better than its floor" if interval is None else "cannot be told from its floor"
    place = scale.place(value)
    if interval is not None and interval[0] <= scale.ceiling <= interval[1]:
        return "cannot be told from its ceiling"
    if place >= 1:
        return "at its ceiling" if place == 1 else "beyond its ceiling"
    if place <= 0:
        return "beyond its floor"
    return f"{place:.0%} of the way from floor to ceiling" + (", on a logarithmic scale" if scale.logarithmic else "")


def bar(entry: Mapping[str, Any], value: float, interval: tuple[float, float] | None, colour: str) -> Markup | None:
    """Floor and ceiling as grey posts, references as ticks, the interval as a line, a dot for the value, hollow at the floor."""
    scale = scale_of(entry)
    if scale is None:
        return None

    def x(at: float) -> str:
        inside = EDGE + scale.place(at) * (WIDTH - 2 * EDGE)
        return f"{min(max(inside, 4), WIDTH - 4):.0f}"

    middle, right = HEIGHT // 2, WIDTH - EDGE
    rail = "rail log" if scale.logarithmic else "rail"
    parts = [
        tag("title", words(entry, value, interval)),
        tag("path", d=f"M{EDGE} {middle}H{right}", class_=rail),
        tag("path", d=f"M{EDGE} 2V{HEIGHT - 2}M{right} 2V{HEIGHT - 2}", class_="post"),
    ]
    ticks = "".join(f"M{x(one)} {middle - 3}v6" for one in references_of(entry).values())
    if ticks:
        parts.append(tag("path", d=ticks, class_="tick"))
    if interval is not None:
        parts.append(tag("path", d=f"M{x(interval[0])} {middle}H{x(interval[1])}", stroke=colour, class_="span"))
    hollow = at_floor(entry, value, interval)
    parts.append(tag("circle", cx=x(value), cy=middle, r=4, stroke=colour, fill="var(--paper)" if hollow else colour))
    return tag("svg", *parts, viewBox=f"0 0 {WIDTH} {HEIGHT}", width=WIDTH, height=HEIGHT, role="img", class_="bar")
