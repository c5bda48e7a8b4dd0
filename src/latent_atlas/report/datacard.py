"""The section about the data: what it is, how it is split, what was set aside."""

from __future__ import annotations

from typing import Any

from latent_atlas.report.inputs import DataSet
from latent_atlas.report.markup import Markup, fold, join, listing, section, tag
from latent_atlas.report.ranking import plain, short


def size_line(data: DataSet) -> str:
    """One line: items, shape, labels, factors."""
    spec = data.card.get("spec", {})
    sizes = spec.get("sizes", {})
    parts = [f"{sum(int(n) for n in sizes.values()):,} items"] if sizes else []
    field = spec.get("fields", {}).get(spec.get("observation"), {})
    if field:
        parts.append(shape_of(field))
    for count, one, many in ((len(data.class_names or ()), "class", "classes"), (len(data.factor_names), "factor", "factors")):
        if count:
            parts.append(f"{count} {one if count == 1 else many}")
    return " · ".join(parts) or "no data card yet"


def shape_of(field: dict[str, Any]) -> str:
    """The observed field in words."""
    shape, kind = list(field.get("shape", [])), field.get("kind")
    if kind == "image" and len(shape) == 3:
        colour = "binary" if field.get("size") == 2 else {1: "grey", 3: "RGB"}.get(shape[0], f"{shape[0]} channels")
        return f"{shape[1]}×{shape[2]} {colour} images"
    if kind == "tokens":
        return f"sequences of {shape[0]} tokens, vocabulary {field.get('size')}"
    if kind in ("vector", "counts"):
        return f"{'vectors' if kind == 'vector' else 'counts'} of {shape[0]} columns"
    return f"{kind} of shape {'×'.join(map(str, shape))}"


def facts(data: DataSet) -> list[tuple[str, Any]]:
    """What the card says, as terms and values."""
    card, rows = data.card, []
    spec = card.get("spec", {})
    sizes = spec.get("sizes", {})
    if sizes:
        held = card.get("split", {}).get("combinations")
        by = f"test: whole combinations of {', '.join(held)}" if held else "by the content of each item"
        rows.append(("split", ", ".join(f"{name} {int(n):,}" for name, n in sizes.items()) + f" ({by})"))
    factors = card.get("factors") or {}
    if factors.get("names"):
        counts = factors.get("sizes") or [None] * len(factors["names"])
        named = [
            f"{name} ({count})" if count else f"{name} (continuous)" for name, count in zip(factors["names"], counts, strict=False)
        ]
        rows.append(("factors", ", ".join(named)))
    if data.class_names:
        shown = data.class_names[:20]
        rows.append(("classes", ", ".join(shown) + (" …" if len(data.class_names) > 20 else "")))
    for name, limits in (card.get("ranges") or {}).items():
        if (
            name == spec.get("observation")
            and isinstance(limits, list | tuple)
            and len(limits) == 2
            and all(isinstance(one, int | float) for one in limits)
        ):
            rows.append((f"range of {name}", f"{plain(float(limits[0]))} to {plain(float(limits[1]))}"))
    rows += seen(card.get("shape") or {})
    if card.get("reference_size"):
        rows.append(("reference size", f"{int(card['reference_size']):,} items for Fréchet distances"))
    if card.get("content_hash"):
        rows.append(("content", tag("code", short(card["content_hash"]), title=str(card["content_hash"]))))
    return rows


def seen(shape: dict[str, Any]) -> list[tuple[str, Any]]:
    """What was seen of the data's shape before any model, and what it advises."""
    rows: list[tuple[str, Any]] = []
    estimates = [(name, shape[key]) for name, key in (("TwoNN", "two_nn"), ("Levina-Bickel", "levina_bickel")) if key in shape]
    if estimates:
        rows.append(("intrinsic dimension", ", ".join(f"{plain(float(value))} ({name})" for name, value in estimates)))
    if "loops" in shape:
        count = int(shape["loops"])
        found = [plain(float(one)) for one in shape.get("h1_longest", [])[:count]]
        lived = f", lifetimes {', '.join(found)}" if found else ""
        noise = f"; the longest of noise {plain(float(shape['h1_noise']))}" if shape.get("h1_noise") else ""
        rows.append(("loops", f"{count}{lived}{noise} of the cloud's radius ({shape.get('points')} items)"))
        rows.append(("pieces", str(shape.get("pieces"))))
    if shape.get("advice"):
        rows.append(("shape", shape["advice"]))
    return rows


def card_section(data: DataSet, contact: str | None) -> Markup:
    """Your data: the card, the contact sheet, the files set aside."""
    if not data.card:
        return section(
            "Your data", tag("p", "No data card yet. Run ", tag("code", f"dvc repro prepare@{data.name}"), "."), id_="data"
        )
    rows = [part for name, value in facts(data) for part in (tag("dt", name), tag("dd", value))]
    excluded = data.card.get("excluded") or []
    aside = None
    if excluded:
        lines = [join([tag("code", str(one.get("item"))), f" {one.get('reason', '')}"]) for one in excluded[:200]]
        aside = fold(f"{len(excluded)} file{'s' if len(excluded) > 1 else ''} set aside", listing(lines))
    sheet = tag("img", src=contact, alt=f"Contact sheet of {data.title}", class_="contact") if contact else None
    body = tag("div", tag("dl", *rows, class_="facts"), sheet, class_="card-body")
    return section("Your data", body, aside, id_="data", lead=data.card.get("about") or size_line(data))
