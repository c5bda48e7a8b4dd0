"""A run's scores as MLflow shows them: a short description, and a page of its own among the artifacts."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from latent_atlas.evaluation.scoring import Score

ARROWS = {"min": "↓", "max": "↑"}
COLUMNS = ("score", "value", "95 % interval", "floor", "ceiling", "unit", "N", "from", "meaning")
STYLE = """body{font:14px/1.45 system-ui,sans-serif;margin:24px;color:#222}table{border-collapse:collapse}
td,th{padding:4px 14px 4px 0;text-align:left;vertical-align:top;border-bottom:1px solid #ddd}td.n{font-variant-numeric:tabular-nums;
white-space:nowrap}small{color:#666;display:block}h2{font-size:16px;margin:24px 0 4px}"""


def description(result: Mapping[str, Any]) -> str:
    """Markdown: the verdict and what each use says."""
    rows = []
    for use, key in result["headline"].items():
        found = result["scores"].get(key)
        if not found:
            rows.append(f"| {use} | – | | | | {result['headline_reasons'][use]} |")
            continue
        title = f"{found['title']} {ARROWS.get(found['direction'], '')}"
        value = f"{_number(found['value'])} {found['unit'] if found['unit'] != '1' else ''}"
        rows.append(f"| {use} | {value} | {_interval(found)} | {_bound(found, 'floor')} | {_bound(found, 'ceiling')} | {title} |")
    head = ["| for | value | 95 % interval | floor | ceiling | by |", "|---|---|---|---|---|---|"]
    return "\n".join([result["verdict"], "", *head, *rows, "", "All scores: artifact evaluation/scores.html"])


def page(result: Mapping[str, Any]) -> str:
    """HTML: every score with interval, floor, ceiling and meaning; what could not be computed, by reason."""
    kinds: dict[str, list[Score]] = {}
    missing: dict[str, list[str]] = {}
    for found in result["scores"].values():
        if found["status"] == "ok":
            kinds.setdefault(found["kind"], []).append(found)
        else:
            missing.setdefault(f"{found['status']}: {found['reason']}", []).append(found["title"])
    parts = [f"<h1>{escape(result['run'])}</h1><p>{escape(result['verdict'])}</p>"]
    for kind, rows in kinds.items():
        head = "".join(f"<th>{name}</th>" for name in COLUMNS)
        parts.append(f"<h2>{escape(kind)}</h2><table><tr>{head}</tr>{''.join(map(_row, rows))}</table>")
    if missing:
        lines = "".join(f"<li>{escape(reason)}: {escape(', '.join(names))}</li>" for reason, names in missing.items())
        parts.append(f"<h2>not computed</h2><ul>{lines}</ul>")
    title = escape(result["run"])
    return f'<!doctype html><meta charset="utf-8"><title>{title}</title><style>{STYLE}</style>{"".join(parts)}\n'


def _row(found: Score) -> str:
    cells = [
        (escape(f"{found['title']} {ARROWS.get(found['direction'], '')}"), ""),
        (_number(found["value"]), "n"),
        (f"{_interval(found)}<small>{escape(found['interval_by'] or '')}</small>", "n"),
        (_bound(found, "floor", "<small>{}</small>"), "n"),
        (_bound(found, "ceiling", "<small>{}</small>"), "n"),
        (escape(found["unit"] if found["unit"] != "1" else ""), ""),
        (str(found["provenance"].get("n", "")), "n"),
        (escape(_origin(found["provenance"])), ""),
        (escape(found["meaning"]) + (f"<small>{escape(said)}</small>" if (said := found["parts"].get("warning")) else ""), ""),
    ]
    return "<tr>" + "".join(f'<td class="{kind}">{text}</td>' for text, kind in cells) + "</tr>"


def _origin(provenance: Mapping[str, Any]) -> str:
    """Split, estimator, extractor with its hash, seed and whatever else must agree for two scores to compare."""
    said = {name: "none" if value is None else str(value)[:24] for name, value in provenance.items() if name != "n"}
    return "; ".join(f"{name}: {value}" for name, value in said.items())


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _interval(found: Score) -> str:
    return f"{found['interval'][0]:.4g} to {found['interval'][1]:.4g}" if found["interval"] else ""


def _bound(found: Score, side: str, form: str = "({})") -> str:
    if found[side] is None:
        return ""
    return f"{_number(found[side])} {form.format(escape(found[f'{side}_by']))}" if found[f"{side}_by"] else _number(found[side])
