"""All scores: one table for each kind of metric, only comparable numbers in one column."""

from __future__ import annotations

from collections.abc import Sequence

from latent_atlas.report import shell
from latent_atlas.report.inputs import Run
from latent_atlas.report.markup import Markup, fold, join, listing, section, tag
from latent_atlas.report.numerals import ARROWS, numeral, origin, term, title
from latent_atlas.report.ranking import USES, Group, differing, groups, ok

KINDS = ("reconstruction", "likelihood", "fidelity", "disentanglement", "structure", "collapse")
COLUMNS = 6  # beside the model's name: seven in all


def keys_by_kind(runs: Sequence[Run]) -> dict[str, list[str]]:
    """Score keys under their kind: the usual kinds first, keys in the order of their titles."""
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
        (place for place, prefix in enumerate(prefixes) if key.startswith(prefix) and "recon" not in key), len(prefixes)
    ), key


def scores(runs: Sequence[Run]) -> Markup:
    """Every number of a data set, folded; behind each table where its numbers come from and why others are missing."""
    parts = []
    for kind, keys in keys_by_kind(runs).items():
        columns = [group for key in keys for group in groups(runs, key)]
        tables = [table(runs, columns[start : start + COLUMNS]) for start in range(0, len(columns), COLUMNS)]
        count = f"{len(columns)} column{'s' if len(columns) != 1 else ''}" if columns else "no numbers"
        summary = join([tag("b", kind), f" · {count}"])
        parts.append(fold(summary, *tables, apartness(columns), origins(columns), reasons(runs, keys), class_="scores"))
    lead = "Sorted by the first column. A number is bold only where its interval keeps clear of all others in its column."
    return section("All scores", *parts, id_="scores", lead=lead)


def header(group: Group, twins: int) -> Markup:
    """A column's name; where one score has several provenances, the letter tells them apart."""
    entry = group.candidates[0].entry
    return tag("th", term(group.key, entry), tag("sup", chr(96 + twins)) if twins else None, scope="col")


def table(runs: Sequence[Run], columns: Sequence[Group]) -> Markup:
    """Models by columns; a dot where a number is not there or not comparable with this column."""
    cells = [{one.label: one for one in group.candidates} for group in columns]
    labels = list(dict.fromkeys([label for column in cells for label in column] + [run.label for run in runs]))
    first = {run.label: run for run in reversed(runs)}
    keys = [group.key for group in columns]
    twins = [keys[: i + 1].count(key) if keys.count(key) > 1 else 0 for i, key in enumerate(keys)]
    rows = []
    for label in labels:
        run = first[label]
        row = [tag("th", shell.model_link(run.name, label, run.family), scope="row")]
        for group, column in zip(columns, cells, strict=True):
            one = column.get(label)
            if one is None:
                row.append(tag("td", tag("span", "·", title=why(run, group), tabindex=0, class_="num none")))
                continue
            bold = group.separated() and one is group.candidates[0] and group.direction in ("min", "max")
            row.append(tag("td", numeral(group.key, one, bold=bold, arrow=False)))
        rows.append(tag("tr", *row))
    head = tag("tr", tag("th", "model", scope="col"), *(header(group, twin) for group, twin in zip(columns, twins, strict=True)))
    return tag("div", tag("table", tag("thead", head), tag("tbody", *rows)), class_="wide-table", tabindex=0)


def why(run: Run, group: Group) -> str:
    """The reason for a dot."""
    entry = run.scores.get(group.key)
    if entry is None:
        return "not in this run's evaluation"
    if ok(entry):
        return "comes from elsewhere: see the other column of this score"
    return f"{entry.get('status')}: {entry.get('reason') or 'no reason given'}"


def apartness(columns: Sequence[Group]) -> Markup | None:
    """Which columns of one score may not be ranked together, and what differs."""
    lines, seen = [], {}  # type: list[str], dict[str, Group]
    for group in columns:
        if group.key in seen:
            name = title(group.key, group.candidates[0].entry)
            lines.append(f"{name}: not ranked together, they differ in {differing(seen[group.key].provenance, group.provenance)}")
        else:
            seen[group.key] = group
    return listing(lines, class_="apart") if lines else None


def origins(columns: Sequence[Group]) -> Markup | None:
    """Provenance of every column."""
    if not columns:
        return None
    blocks = []
    for group in columns:
        entry = group.candidates[0].entry
        name = f"{title(group.key, entry)} {ARROWS.get(group.direction, '')}".strip()
        blocks.append(
            tag("div", tag("h4", name), tag("p", str(entry.get("meaning") or "")), origin(group.provenance, "provenance"))
        )
    return fold("What these say and where they come from", tag("div", *blocks, class_="origins"))


def reasons(runs: Sequence[Run], keys: Sequence[str]) -> Markup | None:
    """Scores without a number, by reason."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for run in runs:
        for key in keys:
            entry = run.scores.get(key)
            if entry is not None and not ok(entry):
                reason = str(entry.get("reason") or "no reason given")
                found.setdefault((title(key, entry), str(entry.get("status")), reason), []).append(run.name)
    if not found:
        return None
    lines = [
        join([tag("b", name), f" {status}: {reason} ", tag("span", f"({', '.join(names)})", class_="note")])
        for (name, status, reason), names in found.items()
    ]
    return fold(f"Without a number: {len(lines)}", listing(lines))
