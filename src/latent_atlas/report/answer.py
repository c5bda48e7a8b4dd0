"""The first screen of a data set: which model for keeping, generating, steering, finding."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from latent_atlas.report import findings, pictures, shell
from latent_atlas.report.entries import provenance_fields, title
from latent_atlas.report.inputs import DataSet, Page, Run
from latent_atlas.report.markup import Markup, join, tag
from latent_atlas.report.numerals import interval_text, numeral, origin, spread
from latent_atlas.report.ranking import USES, Winner, against, winner

COLUMNS = 8


def winners_of(page: Page, data: DataSet) -> list[Winner]:
    """The four answers for a data set."""
    runs = page.of(data.name)
    return [winner(runs, use, data) for use in USES]


def plate(page: Page, data: DataSet) -> Markup:
    """Four rows: model, number, against PCA, pictures; under them what to run next."""
    rows = [row(found, data, page.of(data.name)) for found in winners_of(page, data)]
    return tag("section", *rows, next_step(page, data), class_="answers", aria_label="Which model for what")


def row(found: Winner, data: DataSet, runs: Sequence[Run]) -> Markup:
    """One use with its answer, or with the reason why there is none."""
    use = found.use
    name = tag("div", tag("h2", use.name), tag("p", use.question), class_="use")
    if found.best is None or found.group is None:
        shown = stand_in(found, data, runs)
        return tag(
            "article", name, tag("div", tag("p", found.reason, class_="none"), class_="who wide"), shown, class_="answer empty"
        )
    best = found.best
    key = found.group.key
    who = tag(
        "div",
        tag("p", shell.model_link(best.run.name, best.label, best.family), class_="winner"),
        *(tag("p", note, class_="note") for note in found.notes()),
        class_="who",
    )
    separated = found.group.separated()
    number = tag(
        "div",
        tag("p", numeral(key, best, bold=separated), spread(best), class_="value"),
        tag("p", title(key, best.entry), class_="metric"),
        tag("p", against(best, found.group.baseline, str(best.entry.get("unit") or "")), class_="against"),
        origin(provenance_fields(best.entry) | {"interval": interval_text(best), "key": key, "run": best.run.name}),
        class_="number",
    )
    return tag("article", name, who, number, evidence(use.name, best.run, data), class_="answer")


def stand_in(found: Winner, data: DataSet, runs: Sequence[Run]) -> Markup | None:
    """Pictures for a use without a number: the first run that can show it, named as such."""
    verb = {"keep": "decode", "generate": "sample", "steer": "decode", "find": "encode"}[found.use.name]
    able = [run for run in runs if verb in run.verbs]
    if not able:
        return None
    run = next((one for one in able if one.family != "classical"), able[0])
    shown = evidence(found.use.name, run, data)
    return tag(
        "div", shown, tag("p", "unranked, from ", shell.model_link(run.name, run.label, run.family), class_="note"), class_="proof"
    )


def evidence(use: str, run: Run, data: DataSet) -> Markup:
    """The pictures that stand for a number."""
    return {"keep": kept, "generate": generated, "steer": steered, "find": found_items}[use](run, data)


def proof(*content: object, caption: str) -> Markup:
    """Pictures with their finding."""
    return tag("figure", tag("div", *content, class_="strips", tabindex=0), tag("figcaption", caption), class_="proof")


def nothing(reason: str) -> Markup:
    """One line in the place of pictures."""
    return tag("figure", tag("figcaption", reason), class_="proof")


def kept(run: Run, data: DataSet) -> Markup:
    """Witnesses above their reconstructions."""
    items, again = run.pictures.get("witnesses"), run.pictures.get("reconstructions")
    if items is None or again is None or not pictures.drawable(items):
        return nothing(f"no pictures of a {data.observation}")
    n = min(len(items), COLUMNS)
    first = pictures.strip(items[:n], 54, [f"held-out item {i + 1}" for i in range(n)])
    second = pictures.strip(again[:n], 54, [f"its reconstruction by {run.label}" for _ in range(n)])
    return proof(first, second, caption=f"above {n} held-out items, below what {run.label} keeps of them")


def generated(run: Run, data: DataSet) -> Markup:
    """The first eight draws."""
    items = run.pictures.get("samples")
    if items is None or not pictures.drawable(items):
        return nothing(f"no pictures of samples of a {data.observation}")
    n = min(len(items), COLUMNS)
    return proof(
        pictures.strip(items[:n], 64, [f"draw {i + 1} of {run.label}" for i in range(n)]),
        caption=f"the first {n} draws from the prior, none picked",
    )


def steered(run: Run, data: DataSet) -> Markup:
    """One dimension moved from low to high."""
    drawn = run.pictures.get("traversals")
    board = findings.board(run)
    if drawn is None or len(drawn) == 0 or board is None:
        return nothing(
            f"no pictures of a {data.observation}" if "decode" in run.verbs else "no traversal: the model does not decode"
        )
    table = findings.factor_table(run)
    place = findings.best_traversal(run, table)
    order = findings.traversal_order(run)
    dimension = order[place] if place < len(order) else place
    frames = drawn[place]
    frames = frames[np.linspace(0, len(frames) - 1, min(len(frames), COLUMNS)).round().astype(int)]
    alts = [f"dimension {dimension}, step {i + 1} of {len(frames)}" for i in range(len(frames))]
    return proof(pictures.strip(frames, 64, alts), caption=findings.caption(run, data, dimension, board, table))


def found_items(run: Run, data: DataSet) -> Markup:
    """A held-out item and its nearest neighbours."""
    near = findings.neighbours(run, data)
    items = data.items(near.items) if near is not None else None
    if near is None or items is None or not pictures.drawable(items):
        return nothing("no pictures of neighbours: the data set is not at hand")
    alts = ["the item", *(f"neighbour {i}" for i in range(1, len(items)))]
    drawn = pictures.draw(items, 64, alts, pictures.value_range(items) if items.ndim == 2 else None)
    strip = tag("div", tag("span", drawn[0], class_="query"), *drawn[1:], class_="strip")
    return proof(strip, caption=findings.neighbour_caption(run, data, near))


def next_step(page: Page, data: DataSet) -> Markup:
    """One line: the run that would add most to this page."""
    reason, line = advice(page, data)
    return tag("p", tag("b", "Next: "), join([reason, " "]), tag("code", line), class_="next")


def advice(page: Page, data: DataSet) -> tuple[str, str]:
    """What is most lacking on a page, and the command that adds it."""
    lacking = page.missing(data.name)
    if lacking:
        return f"not evaluated yet: {shell.some(lacking)}.", shell.evaluating(lacking)
    runs = page.of(data.name)
    learned = sorted({run.model for run in runs if run.family != "classical"})
    seeds = {run.label: set() for run in runs}  # type: dict[str, set[int]]
    for run in runs:
        seeds[run.label].add(run.seed)
    if learned and max((len(found) for found in seeds.values()), default=0) < 2:
        models = ",".join(learned)
        return (
            "one seed cannot tell models from luck; three can.",
            f"python pipelines/train.py -m model={models} data={data.name} seed=0,1,2",
        )
    best = next((found.best for found in winners_of(page, data) if found.best is not None), None)
    if best is None:
        return "look at the runs one by one.", "make mlflow"
    reference = best.run.model_folder if best.run.remedy else best.run.name  # a sweep's job is known by its folder
    return "get the codes of your own items.", f"python pipelines/encode.py run={reference} input=<folder|npz> out=codes.npz"
