"""One model over its seeds: means with t intervals, the agreement of what seeds find, and which models cannot be told apart."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

from latent_atlas.evaluation import seeds as evaluation
from latent_atlas.evaluation.seeds import INTERVAL, MEANING, Agreement
from latent_atlas.report import shell
from latent_atlas.report.entries import title
from latent_atlas.report.inputs import Page, Run
from latent_atlas.report.markup import Markup, listing, section, tag
from latent_atlas.report.numerals import numeral, rounded, spread, term
from latent_atlas.report.ranking import USES, Candidate, Group, apart, groups, headline_key, plain

PAIRS = 12  # of models that are named


def by_label(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """The runs of each model."""
    found: dict[str, list[Run]] = {}
    for run in runs:
        found.setdefault(run.label, []).append(run)
    return found


def agreement(runs: Sequence[Run]) -> Agreement:
    """Do the seeds of one model find the same dimensions (UDR)? From the codes of the same items in each latents.npz."""
    return evaluation.agreement([run.latents for run in runs])


def plain_numbers(page: Page) -> dict[str, dict[str, Any]]:
    """UDR of each model with seeds, as JSON has it: data set -> model -> score."""
    found = {
        data: {label: agreement(runs).plain() for label, runs in by_label(page.of(data)).items() if len(runs) > 1}
        for data in page.data
    }
    return {data: models for data, models in found.items() if models}


def over_seeds(runs: Sequence[Run]) -> Markup | None:
    """A table of the models with seeds; ``None`` while every model has one."""
    models = {label: found for label, found in by_label(runs).items() if len(found) > 1}
    if not models:
        return None
    keys = [key for use in USES if (key := headline_key(runs, use))]
    leading = {key: groups(runs, key)[0] for key in dict.fromkeys(keys)}
    head = [tag("th", "model", scope="col"), tag("th", "seeds", scope="col")]
    head += [tag("th", term(key, group.candidates[0].entry), scope="col") for key, group in leading.items()]
    head.append(tag("th", tag("span", "UDR ↑", class_="num", tabindex=0, title=MEANING), scope="col"))
    rows = []
    for label, found in models.items():
        cells = [number(key, group, label) for key, group in leading.items()]
        name = shell.model_link(found[0].name, label, found[0].family)
        rows.append(tag("tr", tag("th", name, scope="row"), tag("td", str(len(found))), *cells, udr_cell(agreement(found))))
    lone = [label for label, found in by_label(runs).items() if len(found) == 1]
    note = f"One seed only, hence not here: {', '.join(lone)}." if lone else None
    table = tag("table", tag("thead", tag("tr", *head)), tag("tbody", *rows))
    return section(
        "Over seeds",
        tag("div", table, class_="wide-table", tabindex=0),
        told_apart(models, list(leading.values())),
        tag("p", note, class_="note") if note else None,
        id_="seeds",
        lead="Mean over the seeds of a model with the 95 % interval of Student's t: what another training would change.",
    )


def number(key: str, group: Group, label: str) -> Markup:
    """A model's mean and interval."""
    one = next((one for one in group.candidates if one.label == label), None)
    return tag("td", numeral(key, one, arrow=False), " ", spread(one)) if one else tag("td", tag("span", "·", class_="none"))


def udr_cell(found: Agreement) -> Markup:
    """UDR with its interval, the span of its pairs and chance."""
    if found.value is None or found.span is None or found.floor is None or found.ceiling is None:
        return tag("td", tag("span", "·", title=found.reason, tabindex=0, class_="num none"))
    told = (
        f"{MEANING} Pairs of {found.seeds} seeds from {plain(found.span[0])} to {plain(found.span[1])}; {interval_text(found)}; "
        f"shuffled items give {plain(found.floor)}, a seed with itself {plain(found.ceiling)}; N = {found.n:,}, by ranks."
    )
    shown = tag("span", plain(found.value), class_="num", tabindex=0, title=told)
    return tag(
        "td",
        shown,
        " ",
        tag("span", plus_minus(found), class_="spread") if found.interval else None,
        tag("small", f"chance {plain(found.floor)}, with itself {plain(found.ceiling)}"),
    )


def plus_minus(found: Agreement) -> str:
    """± and half the interval; nothing where there is none."""
    if not found.interval:
        return ""
    half = (found.interval[1] - found.interval[0]) / 2
    return f"± {rounded(half) if half > 1e-6 else 0}"  # pairs that agree but for rounding


def interval_text(found: Agreement) -> str:
    """The interval and where it came from, or why there is none."""
    if not found.interval:
        return "no interval: one pair"
    return f"95 % interval {plain(found.interval[0])} to {plain(found.interval[1])} ({INTERVAL})"


def told_apart(models: dict[str, list[Run]], leading: Sequence[Group]) -> Markup | None:
    """Which pairs of models cannot be told apart at their number of seeds, for each headline score."""
    lines = []
    for group in leading:
        members = [one for one in group.candidates if one.label in models]
        if len(members) < 2 or group.direction == "none":
            continue
        name = title(group.key, members[0].entry)
        same = [(a, b) for a, b in combinations(members, 2) if not apart(a, b)]
        if not same:
            both = f"{members[0].label} and {members[1].label} are" if len(members) == 2 else f"all {len(members)} models are"
            lines.append(f"{name}: {both} told apart{at(*members)}.")
            continue
        shown = ", ".join(f"{a.label} and {b.label}{at(a, b)}" for a, b in same[:PAIRS])
        more = f" and {len(same) - PAIRS} more pairs" if len(same) > PAIRS else ""
        lines.append(f"{name}: cannot be told apart: {shown}{more}.")
    return listing(lines, class_="apart") if lines else None


def at(*members: Candidate) -> str:
    """The number of seeds of some models."""
    counts = sorted({len(one.runs) for one in members})
    return f" (at {' and '.join(map(str, counts))} seeds)"
