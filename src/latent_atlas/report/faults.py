"""What is wrong with a run, shown: its faults with figures and what to try, near copies of training items, error by width."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from latent_atlas.report import charts, palette, pictures
from latent_atlas.report.entries import direction, interval_of, mapping, number, numbers, ok, title
from latent_atlas.report.inputs import Run
from latent_atlas.report.markup import Markup, join, section, tag
from latent_atlas.report.ranking import plain

PAIRS = 8


def measured(run: Run, metric: str) -> tuple[str, Mapping[str, Any]] | None:
    """Key and entry of the first score of a metric that has a number."""
    return next(((key, entry) for key, entry in run.scores.items() if entry.get("metric") == metric and ok(entry)), None)


def faults(run: Run) -> Markup | None:
    """Every fault with its figures and what to try, the gravest first; a sentence that the verdict has said is not repeated."""
    evaluation = run.evaluation or {}
    found, verdict = evaluation.get("findings"), str(evaluation.get("verdict") or "")
    if not isinstance(found, list):
        return None
    lines = [fault(one, verdict) for one in found if isinstance(one, Mapping) and one.get("sentence")]
    return tag("ul", *lines, class_="faults", aria_label="Faults") if lines else None


def fault(one: Mapping[str, Any], verdict: str) -> Markup:
    """One fault: its name, its sentence unless it stands above, its figures, its remedy."""
    figures = [
        f"{str(name).replace('_', ' ')} {plain(value)}"
        for name, found in mapping(one.get("figures")).items()
        if (value := number(found)) is not None
    ]
    sentence, remedy = str(one["sentence"]), str(one.get("remedy") or "")
    told = None if sentence in verdict else sentence + " "
    attempt = f"{remedy[:1].upper()}{remedy[1:]}. " if remedy and remedy not in sentence else None
    name = str(one.get("name") or "fault")
    return tag("li", tag("b", name[:1].upper() + name[1:] + ". "), told, attempt, tag("small", " · ".join(figures)))


def copies(run: Run, factor: int) -> Markup | None:
    """The samples nearest to training items above these items; ``None`` where the evaluation drew none."""
    above, below = run.pictures.get("memorisation_samples"), run.pictures.get("memorisation_train")
    if above is None or below is None or not pictures.drawable(above) or above.shape != below.shape:
        return None
    found = measured(run, "memorisation")
    entry = found[1] if found else {}
    n = min(len(above), PAIRS)
    distances = distances_of(entry)
    far = [f", distance {plain(distances[i])}" if i < len(distances) else "" for i in range(n)]
    limits = pictures.value_range(np.concatenate([above, below])) if above.ndim == 2 else None
    rows = [
        tag("div", *pictures.draw(pictures.shrunk(items[:n], factor), 80, alts, limits), class_="strip")
        for items, alts in (
            (above, [f"sample {i + 1}" for i in range(n)]),
            (below, [f"nearest training item of sample {i + 1}{far[i]}" for i in range(n)]),
        )
    ]
    lead = f"{copying(run, entry, distances[:n])} Above the {n} samples that lie nearest to a training item, below that item."
    return section("Does it copy?", tag("div", *rows, class_="strips", tabindex=0), id_="copies", lead=lead.strip())


def distances_of(entry: Mapping[str, Any]) -> list[float]:
    """The distance of each pair."""
    pairs = mapping(entry.get("parts")).get("pairs")
    rows = pairs if isinstance(pairs, list) else []
    found = [number(row[2]) if isinstance(row, list | tuple) and len(row) == 3 else None for row in rows]
    return [value for value in found if value is not None] if None not in found else []


def copying(run: Run, entry: Mapping[str, Any], distances: list[float]) -> str:
    """Whether samples lie nearer to training items than chance allows, as a sentence."""
    value, chance = number(entry.get("value")), number(entry.get("ceiling"))
    if value is None or chance is None:
        return ""
    span = interval_of(entry) or (value, value)
    worse = span[0] > chance if direction(entry) != "max" else span[1] < chance
    said = f"{run.label} hands out training items" if worse else "Its samples are no copies"
    share = f"{percent(value)} of its samples lie as near to training items as the nearest {percent(chance)} of held-out items do"
    near = number(mapping(entry.get("parts")).get("threshold"))
    inside = f", {sum(one <= near for one in distances)} of these {len(distances)} among them" if near and distances else ""
    return f"{said}: {share}{inside}."


def percent(share: float) -> str:
    """A share in percent, small ones with a decimal."""
    return f"{share:.0%}" if share == 0 or share >= 0.1 or share == round(share, 2) else f"{share:.1%}"


def widths(run: Run) -> Markup | None:
    """Error when only the strongest dimensions are kept, PCA of the same number of components in grey."""
    found = measured(run, "error_by_width")
    parts = mapping(found[1].get("parts")) if found else {}
    xs, ys = numbers(parts.get("widths")), numbers(parts.get("errors"))
    if found is None or xs is None or ys is None or len(xs) != len(ys) or len(xs) < 2:
        return None
    needed, total = float(found[1]["value"]), xs[-1]
    same, holds = number(parts.get("pca_same_error")), number(parts.get("data"))
    top = max(total, *(value for value in (same, holds, 4.0) if value is not None))
    shown = [charts.Line(run.label, xs, ys, palette.family(run.family))]
    px, py = numbers(parts.get("pca_widths")), numbers(parts.get("pca_errors"))
    if px and py and len(px) == len(py):
        kept = [(x, y) for x, y in zip(px, py, strict=True) if x <= top]
        shown.insert(0, charts.Line("PCA", [x for x, _ in kept], [y for _, y in kept], "var(--grey)"))
    said = [f"{needed:.0f} of {total:.0f} dimensions give nearly the error of all of them"]
    if px and py:
        beside = f"PCA needs {same:.0f} components for that error" if same is not None else "PCA does not reach that error"
        said.append(beside + (f" with {px[-1]:.0f} components" if same is None else ""))
    if holds is not None:
        said.append(f"{holds:.0f} components hold 95 % of the variance of the data")
    drawn = charts.lines(
        shown,
        {f"{needed:.0f} needed": needed} | ({f"{same:.0f} for PCA": same} if same is not None else {}),
        "dimensions kept, the strongest first",
        "squared error",
        f"{title(*found)}: {'; '.join(said)}",
    )
    return section("How many dimensions it needs", drawn, id_="widths", lead=join(["; ".join(said), "."]))
