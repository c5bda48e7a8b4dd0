"""The frame of every page: head, styles, navigation."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from typing import Any
from urllib.parse import quote

from latent_atlas.report import palette
from latent_atlas.report.inputs import Page, Run
from latent_atlas.report.markup import Markup, tag

ASSETS = ("page.css", "page.js")
RESERVED = {"index", "tour"}


def asset(name: str) -> str:
    """The text of a file that pages share."""
    return resources.files("latent_atlas.report").joinpath("assets", name).read_text(encoding="utf-8")


def file_of(name: str) -> str:
    """The file of a data set's or a run's page; the names of the report's own pages are taken."""
    return f"{name}-data.html" if name in RESERVED else f"{name}.html"


def link(name: str) -> str:
    """The address of a data set's or a run's page from another page of the report."""
    return quote(file_of(name))


def document(title: str, *body: Any, nav: Sequence[tuple[str, str | None]], inline: bool = False, jump: str | None = None) -> str:
    """A whole page.

    Args:
        title: in the window's bar.
        body: what stands in ``main``.
        nav: (text, address) from the index down to this page; the last has no address.
        inline: styles and script inside the page, so that it stands alone.
        jump: the address that the browser goes on to.
    """
    styles = tag("style", Markup(asset("page.css"))) if inline else tag("link", rel="stylesheet", href="assets/page.css")
    script = tag("script", Markup(asset("page.js"))) if inline else tag("script", src="assets/page.js", defer=True)
    trail = [tag("a", text, href=href) if href else tag("span", text, aria_current="page") for text, href in nav]
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", http_equiv="refresh", content=f"0; url={jump}") if jump else None,
        tag("title", title),
        tag("link", rel="icon", href="data:,"),
        styles,
        script,
    )
    top = tag("nav", tag("span", "Latent Atlas", class_="brand"), *trail, aria_label="Where this page is")
    return "<!doctype html>\n" + tag("html", head, tag("body", top, tag("main", *body)), lang="en") + "\n"


def swatch(family: str) -> Markup:
    """The colour of a family as a small square."""
    return tag("i", class_="swatch", style=f"background:{palette.family(family)}", title=f"family: {family}")


def model_link(run_name: str, label: str, family: str) -> Markup:
    """A model with its family's colour, leading to its page."""
    return tag("span", swatch(family), tag("a", label, href=link(run_name)), class_="model")


def legend(families: Sequence[str]) -> Markup:
    """The families that occur, with their colours."""
    return tag(
        "p", *(tag("span", swatch(name), name.replace("_", " "), class_="key") for name in dict.fromkeys(families)), class_="legend"
    )


def some(runs: Sequence[Run], most: int = 6) -> str:
    """The names of a few runs."""
    return ", ".join(run.name for run in runs[:most]) + (f" and {len(runs) - most} more" if len(runs) > most else "")


def evaluating(runs: Sequence[Run]) -> str:
    """The command that evaluates runs; jobs of a sweep are started again one by one."""
    return runs[0].command if runs[0].remedy else " ".join(["dvc repro", *(f"evaluate@{run.name}" for run in runs)])


def missing_note(page: Page) -> Markup | None:
    """The runs of the plan that are not evaluated yet, with the command that does it."""
    runs = page.missing()
    return tag("p", f"Not evaluated yet: {some(runs)}. Run ", tag("code", evaluating(runs)), class_="missing") if runs else None
