"""One model over its seeds: means with t intervals, the agreement of what seeds find, and which models cannot be told apart."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from latent_atlas.report import shell
from latent_atlas.report.entries import title
from latent_atlas.report.inputs import Run
from latent_atlas.report.markup import Markup, listing, section, tag
from latent_atlas.report.numerals import numeral, spread, term
from latent_atlas.report.ranking import USES, Candidate, Group, apart, groups, headline_key, plain

ITEMS = 5000  # whose codes are compared
PAIRS = 12  # of models that are named


@dataclass(frozen=True)
class Agreement:
    """UDR over the seeds of one model, or the reason why there is none."""

    value: float | None
    floor: float | None = None
    ceiling: float | None = None
    span: tuple[float, float] | None = None
    n: int = 0
    seeds: int = 0
    reason: str = ""


def by_label(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """The runs of each model."""
    found: dict[str, list[Run]] = {}
    for run in runs:
        found.setdefault(run.label, []).append(run)
    return found


def agreement(runs: Sequence[Run]) -> Agreement:
    """Do the seeds of one model find the same dimensions (UDR)? From the codes of the same items in each latents.npz."""
    if len(runs) < 2:
        return Agreement(None, reason="one seed")
    latents = [run.latents for run in runs]
    codes = [one.get("codes") for one in latents]
    if any(one is None or one.ndim != 2 or len(one) < 3 for one in codes):
        return Agreement(None, reason="a seed has no codes")
    index = [one.get("index") for one in latents]
    if any(len(one) != len(codes[0]) for one in codes) or not all(  # type: ignore[arg-type]
        one is not None and index[0] is not None and np.array_equal(one, index[0]) for one in index
    ):
        return Agreement(None, reason="the seeds' codes are of different items")
    kl = [one.get("kl_per_dimension") for one in latents]
    known = all(one is not None and one.shape == (code.shape[1],) for one, code in zip(kl, codes, strict=True))  # type: ignore
    # Only where a model has seeds: its module needs torch, which takes longer to import than a page to build.
    from latent_atlas.metrics.result import NotApplicable
    from latent_atlas.metrics.unsupervised import udr

    try:
        used = [one[:ITEMS] for one in codes if one is not None]
        given = [one for one in kl if one is not None] if known else None
        found = udr(used, given)
        # The same code twice: what full agreement gives at this N and width.
        itself = [udr([one] * 2, [given[k]] * 2 if given else None).value for k, one in enumerate(used)]
    except NotApplicable as error:
        return Agreement(None, reason=str(error))
    pairs = found.parts["pairs"]
    ends = min(pairs), max(pairs)
    return Agreement(found.value, found.floor, statistics.median(itself), ends, int(found.provenance["n"]), len(runs))


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


MEANING = (
    "UDR: do the seeds of one model find the same dimensions, up to sign and order? 1 is all of them; higher is better. "
    "Median over pairs of seeds of how well each dimension of one is a single dimension of the other (Duan et al. 2020)."
)


def number(key: str, group: Group, label: str) -> Markup:
    """A model's mean and interval."""
    one = next((one for one in group.candidates if one.label == label), None)
    return tag("td", numeral(key, one, arrow=False), " ", spread(one)) if one else tag("td", tag("span", "·", class_="none"))


def udr_cell(found: Agreement) -> Markup:
    """UDR with the span of its pairs and chance."""
    if found.value is None or found.span is None or found.floor is None or found.ceiling is None:
        return tag("td", tag("span", "·", title=found.reason, tabindex=0, class_="num none"))
    told = (
        f"{MEANING} Pairs of {found.seeds} seeds from {plain(found.span[0])} to {plain(found.span[1])}; shuffled items give "
        f"{plain(found.floor)}, a seed with itself {plain(found.ceiling)}; N = {found.n:,}, similarity: Spearman."
    )
    shown = tag("span", plain(found.value), class_="num", tabindex=0, title=told)
    return tag("td", shown, tag("small", f"chance {plain(found.floor)}, with itself {plain(found.ceiling)}"))


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
