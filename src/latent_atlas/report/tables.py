"""All scores of a data set: headline scores first, then one folded table for each kind; only comparable numbers are ranked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from latent_atlas.report import palette, shell
from latent_atlas.report.bar import bar
from latent_atlas.report.entries import (
    direction,
    enumerated,
    gaps,
    number,
    provenance_fields,
    reason_of,
    references_of,
    title,
    would_add,
)
from latent_atlas.report.inputs import DataSet, Run
from latent_atlas.report.markup import Markup, fold, join, listing, section, tag
from latent_atlas.report.numerals import ARROWS, numeral, origin, sentence, spread, term
from latent_atlas.report.ranking import NOT_ITS_OWN, USES, Candidate, Group, differing, groups, headline_key, plain

KINDS = {
    "reconstruction": "how much of an item survives",
    "likelihood": "how surprising held-out items are",
    "fidelity": "how real new items are, and how varied",
    "disentanglement": "whether a dimension means one thing",
    "structure": "whether alike items lie together",
    "prior": "whether draws land where items live",
    "collapse": "which parts are unused",
    "robustness": "what noise, new items and fewer dimensions cost",
}
COLUMNS = 6  # beside the model's name: seven in all


@dataclass(frozen=True)
class Column:
    """One score over the models: the largest group that may be ranked, and the groups that may not be ranked with it."""

    key: str
    group: Group
    others: tuple[Group, ...]

    @property
    def entry(self) -> Mapping[str, Any]:
        """The entry that speaks for the score."""
        return self.group.candidates[0].entry

    def find(self, label: str) -> tuple[Candidate | None, int]:
        """A model's number and the place of its group, 0 for the one that is ranked."""
        for place, group in enumerate((self.group, *self.others)):
            for one in group.candidates:
                if one.label == label:
                    return one, place
        return None, 0


def keys_by_kind(runs: Sequence[Run]) -> dict[str, list[str]]:
    """Score keys under their kind: the usual kinds first, headline scores first within each."""
    kinds: dict[str, list[str]] = {kind: [] for kind in KINDS}
    for run in runs:
        for key, entry in run.scores.items():
            keys = kinds.setdefault(str(entry.get("kind") or "other"), [])
            if key not in keys:
                keys.append(key)
    return {kind: sorted(keys, key=order_of) for kind, keys in kinds.items() if keys}


def order_of(key: str) -> tuple[int, str]:
    """Headline scores before the others, so that tables are sorted by what people ask first."""
    prefixes = [prefix for use in USES for prefix in use.prefixes]
    return next(
        (place for place, prefix in enumerate(prefixes) if key.startswith(prefix) and not key.startswith(NOT_ITS_OWN)),
        len(prefixes),
    ), key


def columns_of(runs: Sequence[Run], keys: Sequence[str]) -> list[Column]:
    """The scores that have numbers."""
    found = [(key, groups(runs, key)) for key in keys]
    return [Column(key, first[0], tuple(first[1:])) for key, first in found if first]


def headline_keys(runs: Sequence[Run]) -> list[str]:
    """The scores that answer the four uses."""
    return list(dict.fromkeys(key for use in USES if (key := headline_key(runs, use))))


def scores(runs: Sequence[Run], data: DataSet) -> Markup:
    """Every number of a data set; behind each table where its numbers come from; at the end what is missing, by reason."""
    first = columns_of(runs, headline_keys(runs))
    parts: list[Any] = [tag("h3", "Headline scores"), block(runs, first)] if first else []
    shown = {column.key for column in first}
    for kind, keys in keys_by_kind(runs).items():
        columns = columns_of(runs, [key for key in keys if key not in shown])
        if columns:
            summary = join([tag("b", kind), f" · {KINDS.get(kind, 'scores')} · {len(columns)}"])
            parts.append(fold(summary, block(runs, columns, first), class_="scores"))
    lead = (
        "Rows in the order of the first column. Bold: its interval keeps clear of all others. The bar runs from floor to ceiling, "
        "measured at the same N; grey ticks are references such as PCA; a hollow dot is no better than the floor; "
        "a dotted bar is logarithmic. Point at any number or name for its meaning."
    )
    return section("All scores", *parts, missing(runs, data), id_="scores", lead=lead)


def block(runs: Sequence[Run], columns: Sequence[Column], above: Sequence[Column] = ()) -> Markup:
    """Columns as tables of at most seven, what is not ranked together, and where the numbers come from."""
    wide = math.ceil(len(columns) / math.ceil(len(columns) / COLUMNS))  # no table of one column after one of six
    tables = [table(runs, columns[start : start + wide]) for start in range(0, len(columns), wide)]
    return tag("div", *tables, apartness(columns, above), origins(columns))


def table(runs: Sequence[Run], columns: Sequence[Column]) -> Markup:
    """Models by scores; a dot where there is no number; a letter where it is not comparable; grey rows of floors and references."""
    ranked = [one.label for column in columns for group in (column.group, *column.others) for one in group.candidates]
    labels = list(dict.fromkeys(ranked + [run.label for run in runs]))
    first = {run.label: run for run in reversed(runs)}
    rows = []
    for label in labels:
        run = first[label]
        cells = [cell(run, label, column) for column in columns]
        rows.append(tag("tr", tag("th", shell.model_link(run.name, label, run.family), scope="row"), *cells))
    head = tag("tr", tag("th", "model", scope="col"), *(tag("th", term(one.key, one.entry), scope="col") for one in columns))
    body = tag("tbody", *rows, *grey_rows(columns))
    return tag("div", tag("table", tag("thead", head), body), class_="wide-table", tabindex=0)


def cell(run: Run, label: str, column: Column) -> Markup:
    """A number with its interval and its place between floor and ceiling."""
    one, place = column.find(label)
    if one is None:
        entry = run.scores.get(column.key)
        why = reason_of(entry) if entry is not None else "not in this run's evaluation"
        return tag("td", tag("span", "·", title=why, tabindex=0, class_="num none"))
    bold = place == 0 and column.group.separated() and one is column.group.candidates[0] and direction(one.entry) != "none"
    mark = tag("sup", chr(96 + min(place, 26)), title="not ranked together: see below") if place else None
    drawn = bar(one.entry, one.value, one.interval, palette.family(one.family))
    number_ = tag("span", numeral(column.key, one, bold=bold, arrow=False), mark, spread(one), class_="nowrap")
    return tag("td", number_, drawn)


def grey_rows(columns: Sequence[Column]) -> list[Markup]:
    """Ceiling, floor and references, measured at the same N as the numbers above them."""
    found = [bounds_of(column) for column in columns]
    names = dict.fromkeys(name for bounds in found for name in bounds)
    order = [name for name in ("ceiling", "floor") if name in names] + [name for name in names if name not in ("ceiling", "floor")]
    rows = []
    for name in order:
        cells = [tag("td", *bounds.get(name, ())) for bounds in found]
        rows.append(tag("tr", tag("th", name, scope="row"), *cells, class_="grey"))
    return rows


def bounds_of(column: Column) -> dict[str, list[Any]]:
    """Name of a grey row -> what stands in it: one value, or its range over models of different width."""
    entries = [one.entry for one in column.group.candidates]
    found: dict[str, list[Any]] = {}
    for side in ("ceiling", "floor"):
        values = [value for entry in entries if (value := number(entry.get(side))) is not None]
        if values:
            by = column.entry.get(f"{side}_by")
            found[side] = [between(values), tag("small", str(by)) if by else None]
    for name in dict.fromkeys(name for entry in entries for name in references_of(entry)):
        found[named(name)] = [between([references_of(entry)[name] for entry in entries if name in references_of(entry)])]
    return found


def named(reference: str) -> str:
    """A reference as a row: those fitted to a width say so."""
    return f"{reference}, same width" if reference in ("PCA", "random encoder") else reference


def between(values: Sequence[float]) -> str:
    """One value, or the range of several."""
    low, high = plain(min(values)), plain(max(values))
    return low if low == high else f"{low} to {high}"


def apartness(columns: Sequence[Column], above: Sequence[Column] = ()) -> Markup | None:
    """Which numbers of one score may not be ranked with the others, or with its other keys here and above, and what differs."""
    lines = []
    for column in columns:
        for place, other in enumerate(column.others, 1):
            what = differing(column.group.provenance, other.provenance)
            told = f" {title(column.key, column.entry)}, {other.named()}: not ranked together with the others: {what}"
            lines.append(join([tag("sup", chr(96 + min(place, 26))), told]))
    metrics = {str(column.entry.get("metric") or column.key): column for column in above}
    for column in columns:
        metric = str(column.entry.get("metric") or column.key)
        if (first := metrics.setdefault(metric, column)) is not column:
            what = differing(first.group.provenance, column.group.provenance)
            lines.append(
                join([f"{title(first.key, first.entry)} and {title(column.key, column.entry)}: not ranked together: {what}"])
            )
    return listing(lines, class_="apart") if lines else None


def origins(columns: Sequence[Column]) -> Markup | None:
    """Meaning and provenance of every column, one click away."""
    blocks = []
    for column in columns:
        for place, group in enumerate((column.group, *column.others)):
            one = group.candidates[0]
            letter = f" ({chr(96 + min(place, 26))})" if place else ""
            name = f"{title(column.key, one.entry)} {ARROWS[direction(one.entry)]}".strip() + letter
            fields = provenance_fields(one.entry) | {"key": column.key}
            if len(one.runs) > 1:
                fields["interval"] = one.source
            blocks.append(tag("div", tag("h4", name), tag("p", sentence(column.key, one.entry)), origin(fields, "provenance")))
    return fold("What these say and where they come from", tag("div", *blocks, class_="origins")) if blocks else None


def missing(runs: Sequence[Run], data: DataSet) -> Markup | None:
    """Scores without a number, by reason; before them what labels or factors would add."""
    found = gaps((run.label, key, entry) for run in runs for key, entry in run.scores.items())
    if not found:
        return None
    add = [tag("p", line, class_="adds") for line in would_add(found, bool(data.class_names), bool(data.factor_names))]
    everyone = {run.label for run in runs}
    if told := failures(found, everyone):
        add.insert(0, tag("p", told, class_="adds"))
    return join([*add, fold(f"Without a number: {count(found)}", reasons(found, everyone), class_="scores")])


def failures(found: Mapping[str, Mapping[str, Sequence[str]]], everyone: set[str]) -> str:
    """Which scores failed, and for which models if not for all; empty where none did."""
    failed = [(name, owners) for reason, titles in found.items() if reason.startswith("failed") for name, owners in titles.items()]
    names = list(dict.fromkeys(name for name, _ in failed))
    owners = list(dict.fromkeys(owner for _, several in failed for owner in several))
    if not names:
        return ""
    whose = "" if set(owners) == everyone else f" for {', '.join(owners)}"
    return f"{len(names)} score{'s' if len(names) > 1 else ''} failed{whose}: {enumerated(names, 6)}. The reasons stand below."


def count(found: Mapping[str, Mapping[str, Any]]) -> str:
    """How many scores, for how many reasons."""
    titles = {name for names in found.values() for name in names}
    return f"{len(titles)} score{'s' if len(titles) != 1 else ''}, {len(found)} reason{'s' if len(found) != 1 else ''}"


def reasons(found: Mapping[str, Mapping[str, Sequence[str]]], everyone: set[str]) -> Markup:
    """One line for each reason; a model is named where the reason is its own."""
    lines = []
    for reason, titles in found.items():
        names = []
        for name, owners in titles.items():
            own = list(dict.fromkeys(owners))
            names.append(name if set(own) == everyone else f"{name} ({', '.join(own)})")
        lines.append(join([tag("b", f"{reason}: "), ", ".join(names)]))
    return listing(lines, class_="reasons")
