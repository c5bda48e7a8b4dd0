"""HTML and SVG as text that is escaped by construction."""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import Any

VOID = {"img", "meta", "link", "br", "hr", "input"}


class Markup(str):
    """Text that is markup already; a plain string is escaped when it is placed in a tag."""

    __slots__ = ()


def join(parts: Iterable[Any], between: str = "") -> Markup:
    """Parts one after the other: markup stays, anything else is escaped, ``None`` is left out."""
    return Markup(
        between.join(
            part if isinstance(part, Markup) else html.escape(str(part), quote=False) for part in parts if part is not None
        )
    )


def tag(name: str, /, *children: Any, **attributes: Any) -> Markup:
    """One element; ``class_`` gives ``class``, ``aria_label`` gives ``aria-label``, ``True`` a bare attribute, ``None`` none."""
    opening = name
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        attribute = key.rstrip("_").replace("_", "-")
        opening += f" {attribute}" if value is True else f' {attribute}="{html.escape(str(value))}"'
    if name in VOID:
        return Markup(f"<{opening}>")
    return Markup(f"<{opening}>{join(children)}</{name}>")


def fold(summary: Any, *children: Any, open_: bool = False, class_: str | None = None) -> Markup:
    """Detail that opens on a click, also from the keyboard."""
    return tag("details", tag("summary", summary), *children, open=open_, class_=class_)


def section(title: str, *children: Any, id_: str | None = None, lead: Any = None) -> Markup:
    """A part of a page under its heading, with one leading sentence."""
    return tag("section", tag("h2", title), tag("p", lead, class_="lead") if lead else None, *children, id=id_)


def command(line: str) -> Markup:
    """A line to copy into a terminal."""
    return tag("code", line, class_="command", tabindex=0)


def listing(items: Iterable[Any], class_: str | None = None) -> Markup:
    """A plain list."""
    return tag("ul", *(tag("li", item) for item in items), class_=class_)
