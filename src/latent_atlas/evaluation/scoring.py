"""From a metric's configuration to a score: a value, or the reason why there is none."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from typing import Any

from latent_atlas.building import locate
from latent_atlas.evaluation.arrays import VOCABULARY, Arrays
from latent_atlas.metrics.result import Measured, NotApplicable

BUDGETS = ("quick", "standard", "full")
PLURALS = {"class": "classes", "sequence": "sequences", "image": "images", "vector": "vectors"}
Score = dict[str, Any]


def score(conf: Mapping[str, Any], arrays: Arrays, budget: str = "full") -> tuple[str, Score]:
    """Runs one metric: its key and its entry in evaluation.json. Never raises: a metric that does is marked failed."""
    provenance: dict[str, Any] = {}
    try:
        function = locate(conf["_target_"])
        wanted = requirements(function, conf.get("arguments") or {})
        provenance = arrays.provenance(set(wanted))
        refuse(conf, arrays.data.spec.x.kind, budget)
        measured = call(function, wanted, conf.get("arguments") or {}, arrays)
        return entry(conf, {**provenance, **measured.provenance}, measured)
    except NotApplicable as error:
        return entry(conf, provenance, status="not applicable", reason=str(error))
    except Exception as error:  # whatever a metric raises is its own fault alone
        return entry(conf, provenance, status="failed", reason=f"{type(error).__name__}: {error}")


def requirements(function: Any, arguments: Mapping[str, Any]) -> dict[str, bool]:
    """The words of the vocabulary that a metric asks for, and whether it insists."""
    found = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if name in arguments or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if name in VOCABULARY:
            found[name] = parameter.default is parameter.empty
        elif parameter.default is parameter.empty:
            raise TypeError(f"the metric asks for {name!r}; evaluation offers {', '.join(VOCABULARY)}")
    return found


def refuse(conf: Mapping[str, Any], kind: str, budget: str) -> None:
    """Raises the reason why a metric does not run on this kind of data or at this budget."""
    kinds = conf.get("observation")
    if kinds and kind not in kinds:
        raise NotApplicable(f"not defined for {PLURALS.get(kind, kind)}")
    if BUDGETS.index(conf.get("budget", "quick")) > BUDGETS.index(budget):
        raise NotApplicable(f"left out at budget {budget}: it runs from {conf['budget']} on")


def call(function: Any, wanted: Mapping[str, bool], arguments: Mapping[str, Any], arrays: Arrays) -> Measured:
    """The metric's value; a plain number is one without an interval."""
    given = {}
    for name, insists in wanted.items():
        try:
            given[name] = arrays.get(name)
        except NotApplicable:
            if insists:
                raise
    found = function(**given, **arguments)
    measured = found if isinstance(found, Measured) else Measured(float(found))
    if not math.isfinite(measured.value):
        raise ValueError(f"the value is {measured.value}")
    return measured


def entry(
    conf: Mapping[str, Any],
    provenance: Mapping[str, Any],
    measured: Measured | None = None,
    status: str = "ok",
    reason: str | None = None,
) -> tuple[str, Score]:
    """A score's key and its plain form: no NaN, ``null`` where nothing is known."""
    known = _Known(provenance)
    key = conf["key"].format_map(known) if known.complete(conf.get("key")) else conf["name"]
    title = conf["title"].format_map(known) if known.complete(conf.get("title")) else conf["name"]
    interval = measured.interval if measured else None
    return key, {
        "metric": conf["name"],
        "title": title,
        "kind": conf.get("kind", "other"),
        "meaning": conf.get("meaning", ""),
        "paper": conf.get("paper"),
        "value": measured.value if measured else None,
        "unit": conf.get("unit", ""),
        "direction": conf.get("direction", "none"),
        "status": status,
        "reason": reason,
        "interval": [float(bound) for bound in interval] if interval and all(map(math.isfinite, interval)) else None,
        "floor": _finite(measured.floor) if measured else None,
        "ceiling": _finite(measured.ceiling) if measured else None,
        "provenance": plain(provenance),
        "parts": plain(measured.parts) if measured else {},
    }


class _Known(dict[str, Any]):
    """The provenance as values for ``key`` and ``title`` templates."""

    def complete(self, template: str | None) -> bool:
        """Whether every name of the template is known."""
        if template is None:
            return False
        try:
            template.format_map(self)
        except KeyError:
            return False
        return True


def _finite(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None


def plain(value: Any) -> Any:
    """JSON's types, numbers that are not finite as ``None``."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return _finite(value)
    return value
