"""Drawings as inline SVG: light, sharp, readable from disk, in the page's own colours."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from latent_atlas.report.markup import Markup, tag
from latent_atlas.report.ranking import plain


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers within a range, at most about ``count``."""
    if not math.isfinite(low) or not math.isfinite(high) or high <= low:
        return [low]
    raw = (high - low) / max(count, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw)
    first = math.ceil(low / step - 1e-9)
    return [round(index * step, 12) for index in range(first, math.floor(high / step + 1e-9) + 1)]


@dataclass(frozen=True)
class Frame:
    """Linear axes on a canvas."""

    x: tuple[float, float]
    y: tuple[float, float]
    width: float = 720
    height: float = 360
    left: float = 64
    right: float = 24
    top: float = 16
    bottom: float = 44

    def px(self, value: float) -> float:
        """The horizontal place of a value."""
        low, high = self.x
        return self.left + (value - low) / ((high - low) or 1) * (self.width - self.left - self.right)

    def py(self, value: float) -> float:
        """The vertical place of a value, upwards."""
        low, high = self.y
        return self.height - self.bottom - (value - low) / ((high - low) or 1) * (self.height - self.top - self.bottom)

    def axes(self, xlabel: str, ylabel: str, xcount: int = 6, ycount: int = 5) -> list[Markup]:
        """Ticks, light lines, names."""
        parts = []
        for value in ticks(*self.y, ycount):
            y = f"{self.py(value):.1f}"
            parts.append(tag("path", d=f"M{self.left:.0f} {y}H{self.width - self.right:.0f}", class_="grid"))
            parts.append(tag("text", plain(value), x=self.left - 8, y=y, class_="tick", text_anchor="end", dy="0.32em"))
        base = self.height - self.bottom
        for value in ticks(*self.x, xcount):
            parts.append(tag("text", plain(value), x=f"{self.px(value):.1f}", y=base + 18, class_="tick", text_anchor="middle"))
        parts.append(tag("path", d=f"M{self.left:.0f} {base:.0f}H{self.width - self.right:.0f}", class_="axis"))
        middle = (self.left + self.width - self.right) / 2
        parts.append(tag("text", xlabel, x=f"{middle:.0f}", y=self.height - 6, class_="name", text_anchor="middle"))
        up = f"rotate(-90 14 {(self.top + base) / 2:.0f})"
        parts.append(tag("text", ylabel, x=14, y=f"{(self.top + base) / 2:.0f}", class_="name", text_anchor="middle", transform=up))
        return parts

    def svg(self, label: str, parts: Sequence[Markup], class_: str = "chart") -> Markup:
        """The drawing with its description."""
        return tag(
            "svg",
            tag("title", label),
            *parts,
            viewBox=f"0 0 {self.width:.0f} {self.height:.0f}",
            role="img",
            aria_label=label,
            class_=class_,
        )


def padded(values: Sequence[float], share: float = 0.08) -> tuple[float, float]:
    """The range of values with some air; a single value gets a range around it."""
    low, high = min(values), max(values)
    air = (high - low) * share or abs(high) * 0.1 or 1.0
    return low - air, high + air


@dataclass(frozen=True)
class Mark:
    """A model on the front: place, seed bands, colour, address."""

    label: str
    x: float
    y: float
    colour: str
    href: str
    xband: tuple[float, float] | None = None
    yband: tuple[float, float] | None = None
    baseline: bool = False
    member: bool = False


def front_members(points: Sequence[tuple[float, float]]) -> list[bool]:
    """Which points no other point beats on both axes, both the smaller the better."""
    return [
        not any((a <= x and b <= y) and (a < x or b < y) for j, (a, b) in enumerate(points) if j != i)
        for i, (x, y) in enumerate(points)
    ]


def scatter(marks: Sequence[Mark], xlabel: str, ylabel: str, label: str, floors: Mapping[str, tuple[str, float]]) -> Markup:
    """The front: models by two numbers, bands of seeds, the baseline and floors in grey; only members of the front are named."""
    xs = reach([mark.x for mark in marks], [mark.xband for mark in marks])
    ys = reach([mark.y for mark in marks], [mark.yband for mark in marks])
    xs += [value for axis, value in floors.values() if axis == "x"]
    ys += [value for axis, value in floors.values() if axis == "y"]
    frame = Frame(padded(xs), padded(ys, 0.12))
    parts = frame.axes(xlabel, ylabel)
    bottom, right = frame.height - frame.bottom, frame.width - frame.right
    for name, (axis, value) in floors.items():
        if axis == "x":
            at = frame.px(value)
            parts.append(tag("path", d=f"M{at:.1f} {frame.top}V{bottom}", class_="floor"))
            parts.append(tag("text", name, x=f"{at + 4:.1f}", y=bottom - 6, class_="tick"))
        else:
            at = frame.py(value)
            parts.append(tag("path", d=f"M{frame.left} {at:.1f}H{right}", class_="floor"))
            parts.append(tag("text", name, x=right, y=f"{at - 5:.1f}", class_="tick", text_anchor="end"))
    for mark in marks:
        parts.append(
            tag("a", *mark_parts(frame, mark), href=mark.href, aria_label=f"{mark.label}: {plain(mark.x)}, {plain(mark.y)}")
        )
    taken: list[tuple[float, float]] = []
    for mark in sorted(marks, key=lambda one: frame.py(one.y)):
        if mark.member or mark.baseline:
            parts.append(name_of(frame, mark, taken))
    return frame.svg(label, parts)


def reach(values: Sequence[float], bands: Sequence[tuple[float, float] | None]) -> list[float]:
    """The values and the ends of their bands; a band much wider than all values, as of two seeds, is cut: points stay apart."""
    low, high = min(values), max(values)
    air = (high - low) or abs(high) * 0.2 or 1.0
    ends = [end for band in bands if band is not None for end in band]
    return [*values, *(min(max(end, low - air), high + air) for end in ends)]


def mark_parts(frame: Frame, mark: Mark) -> list[Markup]:
    """Whiskers and the point itself: filled for members of the front, hollow for the others."""
    x, y = frame.px(mark.x), frame.py(mark.y)
    parts = [tag("title", f"{mark.label}: {plain(mark.x)}, {plain(mark.y)}")]
    if mark.xband:
        ends = [min(max(frame.px(end), frame.left), frame.width - frame.right) for end in mark.xband]
        whisker = f"M{ends[0]:.1f} {y:.1f}H{ends[1]:.1f}"
        parts.append(tag("path", d=whisker, stroke=mark.colour, class_="whisker"))
    if mark.yband:
        ends = [min(max(frame.py(end), frame.top), frame.height - frame.bottom) for end in mark.yband]
        whisker = f"M{x:.1f} {ends[0]:.1f}V{ends[1]:.1f}"
        parts.append(tag("path", d=whisker, stroke=mark.colour, class_="whisker"))
    fill = mark.colour if mark.member or mark.baseline else "var(--paper)"
    parts.append(tag("circle", cx=f"{x:.1f}", cy=f"{y:.1f}", r=7, fill=fill, stroke=mark.colour, stroke_width=2))
    return parts


def cut(name: str, most: int = 32) -> str:
    """A name that fits beside a point; the whole one stands on hover."""
    return name if len(name) <= most else name[: most - 1].rstrip(" ,·") + "…"


def name_of(frame: Frame, mark: Mark, taken: list[tuple[float, float]]) -> Markup:
    """A label beside its point, moved down until it hits no other, to the left of it near the right edge."""
    x, y = frame.px(mark.x), frame.py(mark.y) - 10
    left = x > frame.width * 0.78
    while any(abs(y - b) < 14 and abs(x - a) < 130 for a, b in taken):
        y += 14
    taken.append((x, y))
    return tag(
        "text",
        cut(mark.label),
        x=f"{x + (-10 if left else 10):.1f}",
        y=f"{y:.1f}",
        class_="mark",
        text_anchor="end" if left else None,
    )


def dots(
    xy: np.ndarray,
    colours: Sequence[str],
    index: np.ndarray,
    names: Sequence[str],
    label: str,
    centres: bool,
    outline: np.ndarray | None = None,
) -> Markup:
    """A map of codes: one path of round dots for each colour, names at the medians where the values are classes, and the outline
    (P, 2) of the chart, which is then wholly in view.
    """
    size, edge = 460.0, 18.0
    low, high = np.quantile(xy, 0.002, axis=0), np.quantile(xy, 0.998, axis=0)
    if outline is not None:
        low, high = np.minimum(low, outline.min(axis=0)), np.maximum(high, outline.max(axis=0))
    span = float(max((high - low).max(), 1e-9))
    middle, reach = (low + high) / 2, (high - low) / span / 2 if outline is not None else np.array([0.5, 0.5])
    height = max(2 * float(reach[1]) * (size - 2 * edge) + 2 * edge, size / 2)
    shrink, centre = (size - 2 * edge) * np.array([1, -1]), np.array([size, height]) / 2
    places = np.clip((xy - middle) / span, -0.5, 0.5) * shrink + centre
    parts, text = [], []
    if outline is not None:
        path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in (outline - middle) / span * shrink + centre)
        parts.append(tag("path", d=path, class_="outline"))
    medians = [np.median(places[index == value], axis=0) for value in range(len(colours)) if (index == value).any()]
    gaps = [float(np.abs(a - b).max()) for i, a in enumerate(medians) for b in medians[:i]]
    # Names on top of each other say only that the values are not apart; the key below names them anyway.
    centres = centres and bool(gaps) and float(np.median(gaps)) > 60 and min(gaps) > 9
    for value, colour in enumerate(colours):
        rows = places[index == value]
        if len(rows) == 0:
            continue
        path = "".join(f"M{x:.0f} {y:.0f}h0" for x, y in rows)
        parts.append(tag("path", d=path, stroke=colour, class_="dots"))
        if centres:
            x, y = np.median(rows, axis=0)
            text.append(tag("text", names[value], x=f"{x:.0f}", y=f"{y:.0f}", class_="centre", text_anchor="middle", dy="0.35em"))
    box = f"0 0 {size:.0f} {height:.0f}"
    return tag("svg", tag("title", label), *parts, *text, viewBox=box, role="img", aria_label=label, class_="map")


def bars(values: np.ndarray, names: Sequence[str], colour: str, ylabel: str, label: str, threshold: float | None) -> Markup:
    """One bar for each dimension, grey below the threshold."""
    top = float(max(values.max(initial=0.0), threshold or 0.0, 1e-9))
    frame = Frame((0, max(len(values), 1)), (0, top * 1.08), height=240, bottom=44)
    parts = frame.axes("latent dimension, in the order of what it carries", ylabel, xcount=0)
    parts = [part for part in parts if 'text-anchor="middle"' not in part or 'class="name"' in part]
    step = frame.px(1) - frame.px(0)
    for place, (value, name) in enumerate(zip(values, names, strict=True)):
        x, y = frame.px(place) + step * 0.12, frame.py(float(value))
        fill = colour if threshold is None or value >= threshold else "var(--grey)"
        bar = tag(
            "rect",
            tag("title", f"dimension {name}: {plain(float(value))}"),
            x=f"{x:.1f}",
            y=f"{min(y, frame.py(0) - 1):.1f}",
            width=f"{step * 0.76:.1f}",
            height=f"{max(frame.py(0) - y, 1):.1f}",
            fill=fill,
        )
        parts.append(bar)
        if step > 15 or place % math.ceil(18 / step) == 0:
            parts.append(tag("text", name, x=f"{x + step * 0.38:.1f}", y=frame.height - 28, class_="tick", text_anchor="middle"))
    return frame.svg(label, parts)


def curve(lines: Mapping[str, tuple[np.ndarray, np.ndarray, str]], title: str) -> Markup:
    """One quantity over training batches: a line for each split, named at its end."""
    xs = np.concatenate([steps for steps, _, _ in lines.values()])
    ys = np.concatenate([values for _, values, _ in lines.values()])
    # A first value far above the rest would flatten what matters.
    high = (
        float(ys.max())
        if len(ys) < 8
        else min(float(ys.max()), float(np.quantile(ys, 0.95) + 2 * (np.quantile(ys, 0.95) - ys.min())))
    )
    low = float(ys.min())
    air = (high - low) * 0.08 or abs(high) * 0.1 or 1.0
    frame = Frame((float(xs.min()), float(xs.max())), (low - air, high + air), width=340, height=200, left=56, right=26, bottom=40)
    parts = frame.axes("batches", "", xcount=3, ycount=4)
    for name, (steps, values, colour) in lines.items():
        points = " ".join(f"{frame.px(float(x)):.1f},{max(frame.py(float(y)), 2):.1f}" for x, y in thin(steps, values))
        parts.append(tag("polyline", tag("title", name), points=points, stroke=colour, class_="line"))
        if len(values) == 1:
            parts.append(
                tag("circle", cx=f"{frame.px(float(steps[0])):.1f}", cy=f"{frame.py(float(values[0])):.1f}", r=3, fill=colour)
            )
    ends = ", ".join(f"{name} ends at {plain(float(values[-1]))}" for name, (_, values, _) in lines.items())
    legend = [tag("span", tag("i", style=f"background:{colour}"), name, class_="key") for name, (_, _, colour) in lines.items()]
    return tag(
        "figure",
        tag("figcaption", tag("b", title), " ", *legend),
        frame.svg(f"{title} over training: {ends}", parts),
        class_="curve",
    )


@dataclass(frozen=True)
class Line:
    """A named line on the chart of ``lines``."""

    name: str
    xs: Sequence[float]
    ys: Sequence[float]
    colour: str


def lines(shown: Sequence[Line], posts: Mapping[str, float], xlabel: str, ylabel: str, label: str) -> Markup:
    """Lines over one axis, each with a dot at its points where they are few, and dashed grey posts at named places."""
    top = max(max(line.ys) for line in shown)
    frame = Frame((0, max(max(line.xs) for line in shown)), (0, top * 1.08 or 1.0), height=300, top=24)
    parts = frame.axes(xlabel, ylabel)
    base = frame.height - frame.bottom
    for place, (name, at) in enumerate(sorted(posts.items(), key=lambda one: one[1])):
        x, up = frame.px(at), frame.top + 14 + 17 * place
        parts.append(tag("path", d=f"M{x:.1f} {frame.top - 8}V{base:.0f}", class_="floor"))
        left = x > frame.width * 0.6
        anchor = "end" if left else None
        parts.append(tag("text", name, x=f"{x + (-6 if left else 6):.1f}", y=up, class_="tick", text_anchor=anchor))
    for line in shown:
        points = [(f"{frame.px(x):.1f}", f"{frame.py(y):.1f}") for x, y in zip(line.xs, line.ys, strict=True)]
        parts.append(tag("polyline", points=" ".join(map(",".join, points)), stroke=line.colour, class_="line"))
        if len(points) <= 16:
            parts += [tag("circle", cx=x, cy=y, r=3, fill=line.colour) for x, y in points]
    keys = [tag("span", tag("i", style=f"background:{line.colour}"), line.name, class_="key") for line in shown]
    return tag("figure", tag("p", *keys, class_="legend"), frame.svg(label, parts), class_="curve")


def thin(steps: np.ndarray, values: np.ndarray, most: int = 160) -> list[tuple[float, float]]:
    """At most ``most`` points of a line, the last always among them."""
    keep = np.unique(np.linspace(0, len(steps) - 1, min(most, len(steps))).round().astype(int))
    return [(float(steps[i]), float(values[i])) for i in keep]
