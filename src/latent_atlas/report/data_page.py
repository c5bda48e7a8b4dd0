"""The page of a data set and the index over all of them."""

from __future__ import annotations

from latent_atlas.report import answer, datacard, pictures, plates, seeds, shell, tables
from latent_atlas.report.entries import title
from latent_atlas.report.inputs import DataSet, Page
from latent_atlas.report.markup import Markup, tag
from latent_atlas.report.numerals import numeral
from latent_atlas.report.ranking import against


def render(page: Page, data: DataSet, contact: str | None) -> str:
    """<data>.html: answers, the front, the plate of witnesses, the data, all scores."""
    runs = page.of(data.name)
    parts = [
        ("front", plates.front(runs, data) if runs else None),
        ("witnesses", plates.witnesses(runs, data) if runs else None),
        ("seeds", seeds.over_seeds(runs) if runs else None),
        ("data", datacard.card_section(data, contact)),
        ("scores", tables.scores(runs, data) if runs else None),
    ]
    shown = [(name, part) for name, part in parts if part is not None]
    jumps = tag("p", *(tag("a", name, href=f"#{name}") for name, _ in shown), class_="jumps")
    head = tag("header", tag("h1", data.title), tag("p", datacard.size_line(data), class_="lead"), jumps, class_="title")
    body = [head, answer.plate(page, data), *(part for _, part in shown)]
    return shell.document(f"{data.title} · Latent Atlas", *body, nav=[(page.name, "index.html"), (data.title, None)])


def index(page: Page) -> str:
    """index.html, whole in itself: a card for each data set; with a single one the browser goes straight on."""
    names = list(page.data)
    cards = [card(page, page.data[name]) for name in names]
    head = tag("header", tag("h1", "Which latent space describes the data?"), tag("p", lead(page), class_="lead"), class_="title")
    jump = shell.link(names[0]) if len(names) == 1 else None
    body = [head, tag("div", *cards, class_="cards"), shell.missing_note(page)]
    return shell.document(f"{page.name} · Latent Atlas", *body, nav=[(page.name, None)], inline=True, jump=jump)


def lead(page: Page) -> str:
    """How much the report rests on."""
    done = sum(run.evaluation is not None for run in page.runs)
    models = len({run.label for run in page.runs})
    sets = f"{len(page.data)} data set{'s' if len(page.data) != 1 else ''}"
    count = f"{done} of {len(page.runs)} runs evaluated: {models} models on {sets}."
    return f"{count} No model is best for everything, hence four answers each."


def card(page: Page, data: DataSet) -> Markup:
    """A data set at a glance: contact strip and the four winners."""
    rows = []
    for found in answer.winners_of(page, data):
        if found.best is None or found.group is None:
            rows.append(tag("tr", tag("th", found.use.name, scope="row"), tag("td", found.reason, class_="none", colspan=3)))
            continue
        best = found.best
        unit = str(best.entry.get("unit") or "")
        rows.append(
            tag(
                "tr",
                tag("th", found.use.name, scope="row"),
                tag("td", shell.model_link(best.run.name, best.label, best.family)),
                tag("td", numeral(found.group.key, best), tag("small", title(found.group.key, best.entry))),
                tag("td", tag("small", against(best, found.group.baseline, unit))),
            )
        )
    return tag(
        "article",
        tag("h2", tag("a", data.title, href=shell.link(data.name))),
        tag("p", datacard.size_line(data), class_="note"),
        contact_strip(page, data),
        tag("table", tag("tbody", *rows)),
        class_="card",
    )


def contact_strip(page: Page, data: DataSet) -> Markup | None:
    """Eight witnesses of the data set, from the first run that shows them."""
    for run in page.of(data.name):
        items = run.pictures.get("witnesses")
        if items is not None and pictures.drawable(items):
            shown = items[:8]
            return pictures.strip(shown, 48, [f"held-out item {i + 1}" for i in range(len(shown))])
    return None
