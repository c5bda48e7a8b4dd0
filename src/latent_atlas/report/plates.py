"""The plate of witnesses and the front: all models of a data set beside each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from latent_atlas.report import charts, palette, pictures, shell
from latent_atlas.report.entries import number, ok, title
from latent_atlas.report.inputs import DataSet, Run
from latent_atlas.report.markup import Markup, section, tag
from latent_atlas.report.numerals import numeral
from latent_atlas.report.ranking import USES, Candidate, Group, groups, headline_key

ROWS = 16  # models drawn at most: beyond that eyes no longer compare


def ranked(runs: Sequence[Run]) -> tuple[Group | None, list[tuple[Run, Candidate | None]]]:
    """Models in the order of what they keep; those without the number follow unranked."""
    key = headline_key(runs, USES[0])
    found = groups(runs, key) if key else []
    first = found[0] if found else None
    rows: list[tuple[Run, Candidate | None]] = [(one.run, one) for one in first.candidates] if first else []
    seen = {run.label for run, _ in rows}
    for run in runs:
        if run.label not in seen:
            seen.add(run.label)
            rows.append((run, None))
    return first, rows


def witnesses(runs: Sequence[Run], data: DataSet) -> Markup | None:
    """Rows are models in rank order, columns the eight witnesses; a switch shows the eight prior draws instead."""
    group, rows = ranked(runs)
    originals = next((run.pictures["witnesses"] for run, _ in rows if pictures.drawable(run.pictures.get("witnesses"))), None)
    if originals is None:
        return section(
            "The plate of witnesses",
            tag("p", f"No pictures of a {data.observation} were written by the evaluations."),
            id_="witnesses",
        )
    n = min(len(originals), 8)
    limits = pictures.value_range(originals) if originals.ndim == 2 else None
    head = tag(
        "div",
        tag("div", "held-out items", class_="who"),
        tag("div", *cells(originals[:n], "held-out item", limits), class_="strip"),
        class_="row truth",
    )
    body = [witness_row(run, one, group, n, limits) for run, one in rows[:ROWS]]
    more = f" {len(rows) - ROWS} more models have their own pages." if len(rows) > ROWS else ""
    order = (
        f"Models in the order of their {title(group.key, group.candidates[0].entry)}, the best first."
        if group
        else "Models without a common number, unordered."
    )
    switch = tag(
        "div",
        tag("input", type="radio", name="view", id="view-recon", checked=True),
        tag("label", "reconstructions", for_="view-recon"),
        tag("input", type="radio", name="view", id="view-draws"),
        tag("label", "prior draws", for_="view-draws"),
        tag("div", head, *body, class_="witnesses", tabindex=0),
        class_="switch",
    )
    return section(
        "The plate of witnesses",
        switch,
        id_="witnesses",
        lead=f"{order} The same {n} held-out items for every model, fixed by the data.{more}",
    )


def cells(items: np.ndarray, what: str, limits: tuple[float, float] | None) -> list[Markup]:
    """Pictures of one row, each named by its column."""
    return pictures.draw(items, 88, [f"{what} {i + 1}" for i in range(len(items))], limits)


def witness_row(run: Run, one: Candidate | None, group: Group | None, n: int, limits: tuple[float, float] | None) -> Markup:
    """A model: its name, its number, its reconstructions and its draws."""
    number = numeral(group.key, one) if one is not None and group is not None else tag("span", "unranked", class_="note")
    strips = []
    lacking = {"reconstructions": "does not both encode and decode", "samples": "does not draw samples"}
    for name, what, class_ in (("reconstructions", "reconstruction", "recon"), ("samples", "draw", "draws")):
        items = run.pictures.get(name)
        if items is not None and pictures.drawable(items):
            content = cells(items[:n], f"{run.label}: {what}", limits)
        else:
            content = [tag("span", lacking[name], class_="note")]
        strips.append(tag("div", *content, class_=f"strip {class_}"))
    return tag("div", tag("div", shell.model_link(run.name, run.label, run.family), number, class_="who"), *strips, class_="row")


def front(runs: Sequence[Run], data: DataSet) -> Markup | None:
    """Held-out error against each other use; a tab for each that has numbers for at least two models."""
    base = headline_key(runs, USES[0])
    if base is None:
        return None
    tabs, silent = [], []
    choices = [("keep", "rate", "rate")] + [(use.name, headline_key(runs, use), use.name) for use in USES[1:]]
    for name, key, _ in choices:
        drawn = front_chart(runs, base, key) if key and key != base else None
        if drawn is None:
            silent.append(name)
        else:
            tabs.append((name, drawn))
    if not tabs:
        return None
    parts = []
    for place, (name, _) in enumerate(tabs):
        parts.append(tag("input", type="radio", name="front", id=f"front-{place}", checked=place == 0))
        parts.append(tag("label", name, for_=f"front-{place}"))
    panels = [tag("div", drawn, class_="panel") for _, drawn in tabs]
    note = (
        tag("p", f"No tab for {', '.join(silent)}: fewer than two comparable models have that number.", class_="note")
        if silent
        else None
    )
    lead = "Each point is a model; a filled one is beaten by no other on both numbers. A click opens it."
    switch = tag("div", *parts, *panels, class_="tabs")
    return section("The front", switch, shell.legend([run.family for run in runs]), note, id_="front", lead=lead)


def front_chart(runs: Sequence[Run], base: str, key: str) -> Markup | None:
    """One scatter of the candidates that have both numbers in the leading groups of both keys."""
    across, up = groups(runs, base), groups(runs, key)
    if not across or not up:
        return None
    ys = {one.label: one for one in up[0].candidates}
    pairs = [(one, ys[one.label]) for one in across[0].candidates if one.label in ys]
    if len(pairs) < 2:
        return None
    sign = -1.0 if up[0].direction == "max" else 1.0
    members = charts.front_members([(x.value, sign * y.value) for x, y in pairs])
    marks = [
        charts.Mark(
            x.label,
            x.value,
            y.value,
            palette.family(x.family),
            shell.link(x.run.name),
            x.interval,
            y.interval,
            x.is_baseline,
            member,
        )
        for (x, y), member in zip(pairs, members, strict=True)
    ]
    floors: dict[str, tuple[str, float]] = {}
    if across[0].baseline is not None:
        floors["PCA"] = ("x", across[0].baseline.value)
    floor = next((y.entry["floor"] for _, y in pairs if ok(y.entry) and number(y.entry.get("floor")) is not None), None)
    span = [y.value for _, y in pairs]
    # A floor far outside would press all points into a corner; the tables give it anyway.
    if floor is not None and min(span) - (max(span) - min(span)) <= floor <= max(span) + (max(span) - min(span)):
        floors["floor"] = ("y", float(floor))
    names = title(base, across[0].candidates[0].entry), title(key, up[0].candidates[0].entry)
    best = [mark.label for mark in marks if mark.member]
    label = f"{names[1]} against {names[0]}; not beaten on both: {', '.join(best)}"
    up_is = {"min": "← better", "max": "better →"}.get(up[0].direction, "less is a shorter code")
    return charts.scatter(marks, f"{names[0]} · ← better", f"{names[1]} · {up_is}", label, floors)
