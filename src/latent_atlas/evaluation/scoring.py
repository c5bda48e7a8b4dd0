"""From a metric's configuration to a score: a value, or the reason why there is none."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

from latent_atlas.building import locate
from latent_atlas.evaluation.arrays import Arrays
from latent_atlas.evaluation.references import TITLES, References
from latent_atlas.evaluation.vocabulary import OF_PASSES, VOCABULARY
from latent_atlas.metrics.result import Measured, NotApplicable

BUDGETS = ("quick", "standard", "full")
PLURALS = {"class": "classes", "sequence": "sequences", "image": "images", "vector": "vectors"}
Score = dict[str, Any]


def score(
    conf: Mapping[str, Any], arrays: Arrays, budget: str = "full", protocol: str = "atlas", references: References | None = None
) -> tuple[str, Score]:
    """Runs one metric: its key and its entry in evaluation.json. Never raises: a metric that does is marked failed."""
    provenance: dict[str, Any] = {}
    try:
        function = locate(conf["_target_"])
        conf = by_protocol(conf, protocol)
        wanted = requirements(function, conf.get("arguments") or {})
        # Of a definition that leaves nothing to choose the estimator is the function itself; no seed is one where nothing is drawn.
        provenance = {"estimator": named(function), "seed": None} | arrays.provenance(set(wanted)) | {"protocol": protocol}
        refuse(conf, arrays.data.spec.x.kind, budget)
        measured = once(conf, wanted, arrays, functools.partial(call, function, wanted, conf.get("arguments") or {}))
        key, found = entry(conf, {**provenance, **measured.provenance}, measured)
        found["interval_by"] = interval_by(conf, found, wanted, arrays)
        if references is not None:
            found |= bounds(
                conf, found, wanted, references, lambda given: call(function, wanted, conf.get("arguments") or {}, given)
            )
        return key, found
    except NotApplicable as error:
        return entry(conf, provenance, status="not applicable", reason=str(error))
    except Exception as error:  # whatever a metric raises is its own fault alone
        return entry(conf, provenance, status="failed", reason=f"{type(error).__name__}: {error}")


def once(conf: Mapping[str, Any], wanted: Mapping[str, bool], arrays: Arrays, compute: Callable[[Arrays], Measured]) -> Measured:
    """The metric's value; of one that asks for the model itself it is kept, since its passes leave no array."""
    if arrays.kept is None or not OF_PASSES & set(wanted):
        return compute(arrays)

    def made() -> dict[str, Any]:
        try:
            return dataclasses.asdict(compute(arrays))
        except NotApplicable as reason:
            return {"reason": str(reason)}

    on = {"target": conf["_target_"], "arguments": conf.get("arguments"), "settings": arrays.settings, "code": arrays.kept.code}
    found = arrays.kept.get(f"score-{conf['name']}", made, on | arrays.numbers(conf["name"]))
    if "reason" in found:
        raise NotApplicable(found["reason"])
    return Measured(**found)


def by_protocol(conf: Mapping[str, Any], protocol: str) -> Mapping[str, Any]:
    """The metric's configuration with the arguments of that protocol."""
    if protocol == "atlas":
        return conf
    own = conf.get("reference")
    if own is None or own is False:
        raise NotApplicable("no reference package defines it: protocol atlas alone has it")
    if isinstance(own, str):  # a package has it, and what it takes is not here
        raise NotApplicable(own)
    return {**conf, "arguments": {**(conf.get("arguments") or {}), **own}}


def interval_by(conf: Mapping[str, Any], found: Score, wanted: Mapping[str, bool], arrays: Arrays) -> str | None:
    """Where the interval came from, or why there is none where the metric says so."""
    if found["interval"] is None:
        if found["parts"].get("no_interval"):
            return str(found["parts"]["no_interval"])
        for word, what in (("refits", "fitted"), ("resamples", "drawn")):
            if word in wanted and arrays.get(word) < 2:
                return f"none: nothing is {what} anew at this budget"
        return f"none: too few items for {conf['interval_is']}" if conf.get("interval_is") else None
    if conf.get("interval_is"):
        return str(conf["interval_is"])
    if "refits" in wanted and arrays.get("refits") > 1:
        return f"{arrays.get('refits')} refits"
    return f"bootstrap, {arrays.get('resamples')} resamples" if "resamples" in wanted else "normal, over items"


def bounds(
    conf: Mapping[str, Any], found: Score, wanted: Mapping[str, bool], references: References, compute: Callable[[Any], Measured]
) -> Score:
    """Floor, ceiling and further references: the metric's own where its configuration names no stand-in."""
    result: Score = {"floor_by": conf.get("floor_is"), "ceiling_by": conf.get("ceiling_is"), "references": {}}
    for side in ("floor", "ceiling"):
        name = conf.get(side)
        value = references.value(name, conf, wanted, lambda given: compute(given).value) if name else None
        if value is not None:
            result |= {side: _finite(value), f"{side}_by": TITLES[str(name)]}
        elif found[side] is None:
            result[f"{side}_by"] = None
    for name in conf.get("references") or []:
        value = references.value(name, conf, wanted, lambda given: compute(given).value)
        if value is not None:
            result["references"][TITLES[name]] = _finite(value)
    return result


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


def named(function: Any) -> str:
    """The function by its module and name: ``reconstruction.mse``."""
    return f"{str(getattr(function, '__module__', '')).rpartition('.')[2]}.{getattr(function, '__name__', type(function).__name__)}"


def refuse(conf: Mapping[str, Any], kind: str, budget: str) -> None:
    """Raises the reason why a metric does not run on this kind of data or at this budget."""
    kinds = conf.get("observation")
    if kinds and kind not in kinds:
        raise NotApplicable(f"not defined for {PLURALS.get(kind, kind)}")
    if BUDGETS.index(conf.get("budget", "quick")) > BUDGETS.index(budget):
        raise NotApplicable(f"left out at budget {budget}: it runs from {conf['budget']} on")


def call(function: Any, wanted: Mapping[str, bool], arguments: Mapping[str, Any], arrays: Any) -> Measured:
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
        "interval_by": None,
        "floor_by": None,
        "ceiling_by": None,
        "references": {},
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
