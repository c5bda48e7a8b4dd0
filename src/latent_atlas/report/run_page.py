"""The page of a run, one column from the verdict to the receipt."""

from __future__ import annotations

import numpy as np

from latent_atlas.report import charts, faults, findings, palette, pictures, receipt, run_scores, shell
from latent_atlas.report.entries import number, ok, provenance_fields, title
from latent_atlas.report.inputs import DataSet, Page, Run
from latent_atlas.report.markup import Markup, section, tag
from latent_atlas.report.numerals import numeral, origin, spread, spread_text
from latent_atlas.report.ranking import USES, against, apart, candidate, groups, headline_key, plain

LIMIT = 600_000  # bytes of a run page
DOTS = 2000


def render(page: Page, run: Run, data: DataSet) -> str:
    """<run>.html within its size: first fewer traversals, then smaller pictures, and the page says so."""
    for most, factor in ((findings.SHOWN, 1), (12, 1), (8, 1), (8, 2), (6, 2), (4, 4), (2, 8)):
        text = page_of(page, run, data, most, factor)
        if len(text.encode()) <= LIMIT:
            break
    return text


def page_of(page: Page, run: Run, data: DataSet, most: int, factor: int) -> str:
    """The page with at most ``most`` traversals and pictures shrunk by ``factor``."""
    verdict = str((run.evaluation or {}).get("verdict") or "Evaluated; no verdict was written.")
    everything = run_scores.scores(page, run, data)
    head = tag(
        "header",
        tag("h1", shell.swatch(run.family), run.name),
        tag("p", verdict, class_="verdict"),
        faults.faults(run),
        numbers(page, run),
        tag("p", tag("a", "all its scores", href="#scores"), class_="note") if everything else None,
        class_="title",
    )
    parts = [
        head,
        keeps(run, data, factor),
        draws(run, data, factor),
        faults.copies(run, factor),
        space_map(run, data),
        directions(run, data, most, factor),
        walk(run, data, factor),
        collapse(run),
        faults.widths(run),
        curves(run),
        everything,
        receipt.limits(run, factor),
        receipt.receipt(run, data),
    ]
    nav = [(page.name, "index.html"), (data.title, shell.link(data.name)), (run.name, None)]
    return shell.document(f"{run.name} · Latent Atlas", tag("div", *parts, class_="column"), nav=nav)


def numbers(page: Page, run: Run) -> Markup:
    """The numbers behind the four uses, as far as this run has them, with its place among comparable ones."""
    cells = []
    siblings = page.of(run.data)
    for use in USES:
        key = headline_key(siblings, use)
        if key is None or not ok(run.scores.get(key)):
            continue
        group = next((one for one in groups(siblings, key) if any(run in member.runs for member in one.candidates)), None)
        if group is None:
            continue
        labels = [member.label for member in group.candidates]
        own = candidate([run], key)
        place = f"{labels.index(run.label) + 1} of {len(labels)}" if len(labels) > 1 else "alone"
        member = next(one for one in group.candidates if run in one.runs)
        alike = sum(
            one is not member and None not in (one.interval, member.interval) and not apart(one, member) for one in group.candidates
        )
        place += f", cannot be told from {alike}" if alike else ""
        if len(member.runs) > 1:
            place += f" · over {len(member.runs)} seeds {plain(member.value)} {spread_text(member)}"
        beside = "the linear baseline" if own.is_baseline else against(own, group.baseline, str(own.entry.get("unit") or ""))
        cells.append(
            tag(
                "div",
                tag("h3", use.name),
                tag("p", numeral(key, own), spread(own), class_="value"),
                tag("p", title(key, own.entry), class_="metric"),
                tag("p", f"{place} · {beside}", class_="note"),
                origin(provenance_fields(own.entry) | {"key": key}),
            )
        )
    return tag("div", *cells, class_="numbers")


def keeps(run: Run, data: DataSet, factor: int) -> Markup:
    """Witnesses and reconstructions."""
    items, again = run.pictures.get("witnesses"), run.pictures.get("reconstructions")
    if again is None or items is None:
        lacking = (
            "does not both encode and decode"
            if not {"encode", "decode"} <= set(run.verbs)
            else f"wrote no pictures of its {data.observation}"
        )
        return section("What it keeps", tag("p", f"{run.label} {lacking}."), id_="keeps")
    if not pictures.drawable(items):
        return section(
            "What it keeps", tag("p", f"A {data.observation} has no picture; the numbers above say what is kept."), id_="keeps"
        )
    n = len(again)
    limits = pictures.value_range(items) if items.ndim == 2 else None
    first = tag(
        "div",
        *pictures.draw(pictures.shrunk(items[:n], factor), 80, [f"held-out item {i + 1}" for i in range(n)], limits),
        class_="strip",
    )
    second = tag(
        "div",
        *pictures.draw(pictures.shrunk(again, factor), 80, [f"reconstruction {i + 1}" for i in range(n)], limits),
        class_="strip",
    )
    strips = tag("div", first, second, class_="strips", tabindex=0)
    return section(
        "What it keeps", strips, id_="keeps", lead="Above held-out items, below their reconstructions from the code alone."
    )


def draws(run: Run, data: DataSet, factor: int) -> Markup:
    """Draws from the prior."""
    items = run.pictures.get("samples")
    if items is None or ("sample" not in run.verbs and run.verbs):
        return section("What it makes", tag("p", f"{run.label} does not draw samples: it has no prior to draw from."), id_="makes")
    if not pictures.drawable(items):
        return section(
            "What it makes", tag("p", f"A {data.observation} has no picture; it can be drawn with sample(n)."), id_="makes"
        )
    limits = pictures.value_range(items) if items.ndim == 2 else None
    strip = tag(
        "div",
        *pictures.draw(pictures.shrunk(items[:8], factor), 80, [f"draw {i + 1}" for i in range(8)], limits),
        class_="strip",
        tabindex=0,
    )
    lead = "The first eight draws from its prior, none picked."
    again = run.pictures.get("samples_mixture")
    if again is None or not pictures.drawable(again):
        return section("What it makes", strip, id_="makes", lead=lead)
    below = pictures.draw(pictures.shrunk(again[:8], factor), 80, [f"draw {i + 1} of a mixture" for i in range(8)])
    lead += " Below, those of a mixture of ten Gaussians fitted to the codes of training items."
    both = tag("div", strip, tag("div", *below, class_="strip", tabindex=0), class_="strips")
    return section("What it makes", both, id_="makes", lead=lead)


def space_map(run: Run, data: DataSet) -> Markup:
    """Codes of held-out items on a plane, coloured by label and by each factor."""
    codes = run.latents.get("codes")
    if codes is None or codes.ndim != 2 or len(codes) < 2:
        return section("Map of the space", tag("p", f"{run.label} does not encode: there are no codes to draw."), id_="map")
    pick = np.unique(np.linspace(0, len(codes) - 1, min(DOTS, len(codes))).round().astype(int))
    if "xy" in run.latents and len(run.latents["xy"]) == len(codes):
        xy, outline = run.latents["xy"][pick], run.latents.get("outline")
        said = str((run.evaluation or {}).get("chart") or "in the chart of their space")
    else:
        flat, held = findings.plane(codes)
        xy, outline = flat[pick], None
        said = f"on the plane of largest variance, which holds {held:.0%} of it" if codes.shape[1] > 2 else "as they are"
    colourings = colours_of(run, data, pick)
    inputs, panels = [], []
    for place, (name, colours, index, names, ordered) in enumerate(colourings):
        inputs.append(tag("input", type="radio", name="map", id=f"map-{place}", checked=place == 0))
        inputs.append(tag("label", name, for_=f"map-{place}"))
        drawn = charts.dots(
            xy,
            colours,
            index,
            names,
            f"Codes of {len(pick)} held-out items of {run.name}, by {name}",
            not ordered and len(names) > 1,
            outline,
        )
        panels.append(tag("div", drawn, key_of(names, colours, ordered), class_="panel"))
    shown = tag("div", *(inputs if len(colourings) > 1 else []), *panels, class_="tabs")
    lead = f"Codes of {len(pick):,} held-out items {said}.{kept_shape(run, data)}"
    return section("Map of the space", shown, id_="map", lead=lead)


def kept_shape(run: Run, data: DataSet) -> str:
    """Whether the code has as many loops as the data had before any model."""
    entry, shape = run.scores.get("loops"), data.card.get("shape") or {}
    if not ok(entry) or "loops" not in shape:
        return ""
    had, has = int(shape["loops"]), int(entry["value"])  # type: ignore[index]
    if had == has:
        return f" The data run around {had} loop{'s' if had != 1 else ''}, and so do they." if had else ""
    words = f" The data run around {had} loop{'s' if had != 1 else ''}, the codes around {has}: "
    return words + ("the code is torn." if has < had else "the code is knotted or too little trained.")


def colours_of(run: Run, data: DataSet, pick: np.ndarray) -> list[tuple[str, list[str], np.ndarray, list[str], bool]]:
    """(name, colours, index of each item, names of values, ordered?) for the label and each factor; one grey without any."""
    found: list[tuple[str, list[str], np.ndarray, list[str], bool]] = []
    labels, factors = findings.labels_of(run), run.latents.get("factors")
    if labels is not None:
        index = labels[pick]
        count = max(int(index.max()) + 1, len(data.class_names or []))
        names = data.class_names or [str(value) for value in range(count)]
        found.append(("label", palette.classes(count), index, names, False))
    if factors is not None and factors.ndim == 2 and len(factors) == len(run.latents["codes"]):
        for k in range(min(factors.shape[1], 8)):
            values = factors[pick, k]
            levels, index = np.unique(values, return_inverse=True)
            name = data.factor_names[k] if k < len(data.factor_names) else f"factor {k}"
            named = data.level_names(name, levels)
            if len(levels) > 8:
                found.append((name, palette.steps(8), findings.bins_of(values, 8), [named[0], named[-1]], True))
            else:
                ordered = len(levels) > 3
                colours = palette.steps(len(levels)) if ordered else palette.classes(len(levels))
                found.append((name, colours, index, named, ordered))
    return found or [("item", ["var(--grey)"], np.zeros(len(pick), int), ["item"], False)]


def key_of(names: list[str], colours: list[str], ordered: bool) -> Markup | None:
    """What the colours mean."""
    if len(names) < 2:
        return None
    if ordered:
        bar = [tag("i", style=f"background:{colour}") for colour in colours]
        return tag("p", names[0], tag("span", *bar, class_="ramp"), names[-1], class_="legend")
    return tag(
        "p",
        *(
            tag("span", tag("i", class_="swatch", style=f"background:{c}"), n, class_="key")
            for n, c in zip(names, colours, strict=False)
        ),
        class_="legend",
    )


def directions(run: Run, data: DataSet, most: int, factor: int) -> Markup:
    """Traversals, each under the finding about its dimension."""
    drawn, board = run.pictures.get("traversals"), findings.board(run)
    if drawn is None or len(drawn) == 0 or board is None:
        return section(
            "Its dimensions", tag("p", f"{run.label} does not both encode and decode: no dimension can be moved."), id_="directions"
        )
    table = findings.factor_table(run)
    order = findings.traversal_order(run)
    rows = []
    for place, dimension in enumerate(order[:most]):
        frames = pictures.shrunk(drawn[place], factor)
        alts = [f"dimension {dimension}, step {i + 1} of {len(frames)}" for i in range(len(frames))]
        limits = pictures.value_range(drawn) if frames.ndim == 2 else None
        strip = tag("div", *pictures.draw(frames, 56, alts, limits), class_="strip", tabindex=0)
        dead = " dead" if board.values[dimension] < board.threshold else ""
        rows.append(
            tag("figure", tag("figcaption", findings.caption(run, data, dimension, board, table)), strip, class_="direction" + dead)
        )
    total = len(board.values)
    cut = f" The {len(rows)} of {total} that carry most are drawn." if len(rows) < total else ""
    lead = f"One dimension at a time moves from low to high, the others stay at one held-out item's code.{cut}"
    return section("Its dimensions", *rows, id_="directions", lead=lead)


def walk(run: Run, data: DataSet, factor: int) -> Markup:
    """From one item to another through the space."""
    drawn = run.pictures.get("interpolations")
    if drawn is None or len(drawn) == 0:
        return section(
            "A walk between two items",
            tag("p", f"{run.label} does not both encode and decode: there is no path to show."),
            id_="walk",
        )
    frames = drawn[0] if drawn.ndim in (3, 5) else drawn
    frames = pictures.shrunk(frames, factor)
    if not pictures.drawable(frames):
        return section("A walk between two items", tag("p", f"A {data.observation} has no picture of a path."), id_="walk")
    pictures_ = pictures.draw(
        frames,
        64,
        [f"step {i} of {len(frames) - 1}" for i in range(len(frames))],
        pictures.value_range(frames) if frames.ndim == 2 else None,
    )
    strip = tag("div", *pictures_, class_="strip", tabindex=0, data_walk=True if frames.ndim == 4 else None)
    lead = "The shortest path of the space between the codes of two held-out items; its ends are their reconstructions."
    return section("A walk between two items", strip, id_="walk", lead=lead)


def collapse(run: Run) -> Markup:
    """The board of dimensions: what each carries and which are dead."""
    found = findings.board(run)
    if found is None:
        return section("What each dimension carries", tag("p", f"{run.label} does not encode: nothing to measure."), id_="collapse")
    order = found.order[: findings.SHOWN]
    total, active = len(found.values), found.active
    unit = "KL in nats" if found.is_kl else "variance of its codes"
    if active == total:
        verdict = f"All {total} dimensions carry something."
    elif active == 0:
        verdict = f"All {total} dimensions are dead: the code says nothing about the item. Lower β or train longer."
    else:
        verdict = f"{active} of {total} dimensions carry something; {total - active} are dead and can be left out."
    held = float(np.sort(found.values)[::-1][: max(1, total // 4)].sum() / max(found.values.sum(), 1e-12))
    verdict += f" The strongest quarter holds {held:.0%}."
    if found.parts is not None:
        verdict += f" {of_parts(found.parts)}"
    elif not found.is_kl:
        rate = number((run.scores.get("rate") or {}).get("value"))
        none = "There is no posterior" if rate is None else f"Its KL of {rate:.3g} nats does not fall into dimensions"
        verdict += f" {none}, hence variance instead of KL."
    if total > len(order):
        verdict += f" The {len(order)} largest of {total} are drawn."
    drawn = charts.bars(
        found.values[order], [str(int(i)) for i in order], palette.family(run.family), unit, f"{unit} by dimension", found.threshold
    )
    return section("What each dimension carries", drawn, id_="collapse", lead=verdict)


def of_parts(kl: np.ndarray) -> str:
    """The KL of each part of a code that falls into others than dimensions."""
    each = ", ".join(f"{value:.2g}" for value in kl[: findings.SHOWN])
    more = f" and {len(kl) - findings.SHOWN} more" if len(kl) > findings.SHOWN else ""
    dead = int((kl < findings.DEAD).sum())
    idle = f"; {dead} of them carry less than {findings.DEAD} nats" if dead else ""
    return f"Drawn is the variance of each coordinate: the KL is that of the code's {len(kl)} parts, {each}{more} nats{idle}."


def curves(run: Run) -> Markup:
    """Training and validation over batches."""
    history = run.training.get("history") or []
    lines: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for point in history:
        for name, value in point.items():
            if name == "step" or not isinstance(value, int | float) or not np.isfinite(value):
                continue
            split, _, base = name.rpartition("/")
            lines.setdefault(base or name, {}).setdefault(split or "train", []).append((float(point["step"]), float(value)))
    if not lines:
        fitted = run.family == "classical" or not run.training.get("step")
        said = "Fitted in one pass over the data: there is no curve." if fitted else "No curve was kept for this run."
        return section("How it was trained", tag("p", said), id_="curves")
    colour = palette.family(run.family)
    drawn = []
    for base, splits in list(lines.items())[:6]:
        series = {
            split: (
                np.array([s for s, _ in points]),
                np.array([v for _, v in points]),
                colour if "val" in split or len(splits) == 1 else "var(--grey)",
            )
            for split, points in splits.items()
        }
        drawn.append(charts.curve(series, base))
    step = run.training.get("step")
    size = run.training.get("parameters")
    lead = ", ".join(
        part
        for part in (f"{step:,} batches" if isinstance(step, int) else "", f"{size:,} parameters" if isinstance(size, int) else "")
        if part
    )
    return section("How it was trained", tag("div", *drawn, class_="curves"), id_="curves", lead=lead or None)
