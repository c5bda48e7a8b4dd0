"""All scores of a run: what each says, its value, its place between floor and ceiling, where it comes from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from latent_atlas.report import bar, palette
from latent_atlas.report.entries import direction, number, ok, provenance_fields, references_of, title
from latent_atlas.report.inputs import DataSet, Page, Run
from latent_atlas.report.markup import Markup, fold, join, section, tag
from latent_atlas.report.numerals import ARROWS, BETTER, numeral, origin, sentence, spread
from latent_atlas.report.ranking import candidate, plain
from latent_atlas.report.tables import KINDS, headline_keys, keys_by_kind, missing

COLUMNS = ("score", "value", "floor to ceiling", "floor", "ceiling", "beside it")


def scores(page: Page, run: Run, data: DataSet) -> Markup | None:
    """Headline scores open, the rest folded by kind, what is missing by reason."""
    if not run.scores:
        return None
    first = [key for key in headline_keys(page.of(run.data)) if ok(run.scores.get(key))]
    parts: list[Any] = [table(run, first)] if first else []
    for kind, keys in keys_by_kind([run]).items():
        held = [key for key in keys if ok(run.scores[key]) and key not in first]
        if held:
            summary = join([tag("b", kind), f" · {KINDS.get(kind, 'scores')} · {len(held)}"])
            parts.append(fold(summary, table(run, held), class_="scores"))
    total = sum(ok(entry) for entry in run.scores.values())
    lead = (
        f"{total} numbers. The bar runs from floor to ceiling, both measured at the same N; grey ticks are the references beside "
        "it; a hollow dot is no better than the floor; a dotted bar is logarithmic."
    )
    return section("All its scores", *parts, missing([run], data), id_="scores", lead=lead)


def table(run: Run, keys: Sequence[str]) -> Markup:
    """One row for each score; on a narrow screen each row is a block."""
    head = tag("tr", *(tag("th", name, scope="col") for name in COLUMNS))
    rows = [row(run, key) for key in keys]
    return tag("table", tag("thead", head), tag("tbody", *rows), class_="score-table")


def row(run: Run, key: str) -> Markup:
    """A score: name, arrow, meaning; value and interval; bar; floor, ceiling, references; provenance behind a click."""
    entry, one = run.scores[key], candidate([run], key)
    name = tag(
        "span", f"{title(key, entry)} ", tag("span", ARROWS[direction(entry)], class_="arrow", title=BETTER[direction(entry)])
    )
    about = tag("p", sentence(key, entry), class_="said")
    fields = provenance_fields(entry) | {"key": key}
    drawn = bar.bar(entry, one.value, one.interval, palette.family(run.family))
    words = bar.words(entry, one.value, one.interval)
    plainly = tag("small", words) if bar.at_floor(entry, one.value, one.interval) or (drawn is None and words) else None
    return tag(
        "tr",
        tag("th", name, about, origin(fields), scope="row"),
        tag("td", numeral(key, one, arrow=False), " ", spread(one), class_="value-cell"),
        tag("td", drawn, plainly, class_="bar-cell"),
        bound(entry, "floor"),
        bound(entry, "ceiling"),
        tag("td", *(tag("span", f"{plain(value)} {name}") for name, value in references_of(entry).items()), class_="beside"),
    )


def bound(entry: Any, side: str) -> Markup:
    """A floor or a ceiling and what it is of."""
    value = number(entry.get(side))
    if value is None:
        return tag("td")
    by = entry.get(f"{side}_by")
    return tag("td", plain(value), tag("small", str(by)) if by else None, data_name=side)
