"""Which numbers may stand beside each other, in which order, and who wins each use."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from latent_atlas.report.entries import direction, interval_of, mapping, number, ok, reason_of, references_of, source_of
from latent_atlas.report.inputs import DataSet, Run

BASELINE = "pca"
EXACT = 1e-6  # of the floor, as in evaluation/findings.py: PCA as wide as the data errs by rounding, no ratio to it means anything
OUTCOMES = ("dimensions",)  # fields of provenance that a model itself decides


@dataclass(frozen=True)
class Use:
    """One of the four things that people do with a latent space; there is no best model without one of them."""

    name: str
    question: str
    prefixes: tuple[str, ...]
    verbs: tuple[str, ...]
    lacking: str


USES = (
    Use("keep", "Which keeps most of an item?", ("mse",), ("encode", "decode"), "no model here both encodes and decodes"),
    Use("generate", "Which makes the best new items?", ("fid_",), ("sample",), "no model here draws samples"),
    Use("steer", "Whose dimensions mean one thing each?", ("mig",), ("encode",), "needs labels of factors"),
    Use("find", "Whose neighbours are alike?", ("knn", "trustworthiness"), ("encode",), "needs labels"),
)


# Fréchet distances of what is not drawn from the model's own prior.
NOT_ITS_OWN = tuple(f"fid_{what}_" for what in ("recon", "gaussian", "mixture", "knn", "flow", "riemannian"))


@dataclass(frozen=True)
class Candidate:
    """One model with its seeds: what is ranked."""

    label: str
    family: str
    runs: tuple[Run, ...]
    value: float
    interval: tuple[float, float] | None
    source: str
    entry: Mapping[str, Any]

    @property
    def run(self) -> Run:
        """The run whose pictures stand for the model: the first in the plan, never picked by its score."""
        return self.runs[0]

    @property
    def is_baseline(self) -> bool:
        """Whether this is the linear baseline."""
        return self.run.model == BASELINE


@dataclass(frozen=True)
class Group:
    """Candidates whose numbers share one provenance key, best first."""

    key: str
    provenance: dict[str, Any]
    candidates: tuple[Candidate, ...]

    @property
    def direction(self) -> str:
        """min, max or none."""
        return direction(self.candidates[0].entry)

    @property
    def baseline(self) -> Candidate | None:
        """The best linear baseline among them."""
        return next((candidate for candidate in self.candidates if candidate.is_baseline), None)

    def named(self) -> str:
        """Its models, the first four by name."""
        labels = [one.label for one in self.candidates]
        return ", ".join(labels[:4]) + (f" and {len(labels) - 4} more" if len(labels) > 4 else "")

    def separated(self) -> bool:
        """Whether the interval of the first keeps clear of all the others'."""
        return len(self.candidates) > 1 and all(apart(self.candidates[0], other) for other in self.candidates[1:])


def provenance(run: Run, key: str) -> dict[str, Any]:
    """The fields that have to agree before two numbers are compared: data, key, unit and where the number came from."""
    entry = run.scores[key]
    given = mapping(entry.get("provenance"))
    # How many dimensions are alive is what a model is like; those of an extractor are how it was looked at.
    outcome = () if "extractor" in given or "hash" in given else OUTCOMES
    fields = {name: value for name, value in given.items() if name not in outcome}
    return {"data": run.data, "score": key, "unit": entry.get("unit"), **fields}


def differing(a: Mapping[str, Any], b: Mapping[str, Any]) -> str:
    """The fields in which two provenance keys differ, with both values: "n differs (500, 300)"."""
    fields = [name for name in dict.fromkeys([*a, *b]) if a.get(name) != b.get(name)]
    told = [name for name in fields if name != "score"] or fields  # the key only repeats what the fields say
    return ", ".join(f"{name} differs ({short(a.get(name))}, {short(b.get(name))})" for name in told)


def short(value: Any) -> str:
    """A provenance value for reading: long hashes cut."""
    text = "none" if value is None else str(value) if not isinstance(value, dict | list) else json.dumps(value, sort_keys=True)
    return text if len(text) <= 28 else text[:12] + "…"


def apart(a: Candidate, b: Candidate) -> bool:
    """Whether two intervals exclude each other; without intervals nothing is known, hence not."""
    if a.interval is None or b.interval is None:
        return False
    return a.interval[1] < b.interval[0] or b.interval[1] < a.interval[0]


def candidate(runs: Sequence[Run], key: str) -> Candidate:
    """Runs of one model that differ by seed as one: the mean, and the t interval over seeds; one run: its own interval."""
    entries = [run.scores[key] for run in runs]
    values = [float(entry["value"]) for entry in entries]
    mean = math.fsum(values) / len(values)
    half = t_half(values)
    interval, source = interval_of(entries[0]), source_of(entries[0])
    if half:
        interval, source = (mean - half, mean + half), f"95 % t interval over {len(values)} seeds"
    elif len(values) > 1:
        source = f"the same for {len(values)} seeds; {source if interval else 'no interval'}"
    elif interval is None:
        source = "one seed: no interval"
    return Candidate(runs[0].label, runs[0].family, tuple(runs), mean, interval, source, entries[0])


def t_half(values: Sequence[float]) -> float:
    """Half the width of Student's 95 % interval of a mean; 0 for one value, and for values that do not differ."""
    n = len(values)
    if n < 2 or max(values) - min(values) <= 1e-12 * max(map(abs, values)):
        return 0.0
    from scipy.special import stdtrit

    return float(stdtrit(n - 1, 0.975)) * statistics.stdev(values) / math.sqrt(n)


def groups(runs: Iterable[Run], key: str) -> list[Group]:
    """The runs that have a score, split by provenance key, each best first; the largest group leads, with the baseline at a tie."""
    keyed: dict[str, dict[str, list[Run]]] = {}
    provenances: dict[str, dict[str, Any]] = {}
    for run in runs:
        if not ok(run.scores.get(key)):
            continue
        found = provenance(run, key)
        text = json.dumps(found, sort_keys=True, default=str)
        provenances[text] = found
        keyed.setdefault(text, {}).setdefault(run.label, []).append(run)
    result = []
    for text, models in keyed.items():
        members = [candidate(seeds, key) for seeds in models.values()]
        sign = -1.0 if direction(members[0].entry) == "max" else 1.0
        members.sort(key=lambda member: (sign * member.value, member.label))
        result.append(Group(key, provenances[text], tuple(members)))
    return sorted(result, key=lambda group: (-len(group.candidates), group.baseline is None, group.key))


def headline_key(runs: Sequence[Run], use: Use) -> str | None:
    """The score that answers a use on these runs: what the evaluations name, else the first key that fits and has numbers."""
    votes: dict[str, int] = {}
    for run in runs:
        named = ((run.evaluation or {}).get("headline") or {}).get(use.name)
        if named and ok(run.scores.get(named)):
            votes[named] = votes.get(named, 0) + 1
    if votes:
        return max(votes, key=lambda key: votes[key])
    for prefix in use.prefixes:
        for run in runs:
            for key, entry in run.scores.items():
                if key.startswith(prefix) and not key.startswith(NOT_ITS_OWN) and ok(entry):
                    return key
    return None


@dataclass(frozen=True)
class Winner:
    """The answer to one use on one data set, or the reason why there is none."""

    use: Use
    data: str
    group: Group | None
    reason: str = ""
    others: tuple[Group, ...] = ()

    @property
    def best(self) -> Candidate | None:
        """The model with the best number."""
        return self.group.candidates[0] if self.group else None

    def indistinguishable(self) -> list[str]:
        """Models whose intervals overlap the winner's; none are named where there is no interval."""
        if self.group is None or self.group.candidates[0].interval is None:
            return []
        best, *rest = self.group.candidates
        return [other.label for other in rest if other.interval is not None and not apart(best, other)]

    def notes(self) -> list[str]:
        """What limits the answer, in words."""
        if self.best is None or self.group is None:
            return []
        own = self.group.provenance
        notes = [f"not ranked with {one.named()}: {differing(own, one.provenance)}" for one in self.others]
        names = self.indistinguishable()
        if names:
            seeds = len(self.best.runs)
            notes.insert(0, "cannot be told from " + ", ".join(names) + (f" at {seeds} seeds" if seeds > 1 else ""))
        elif self.best.interval is None:
            notes.insert(0, self.best.source)
        if len(self.group.candidates) == 1 and not self.others:
            notes.append("the only model with this number")
        if len(self.best.runs) > 1 and not names:
            notes.append(f"mean of {len(self.best.runs)} seeds")
        return notes


def winner(runs: Sequence[Run], use: Use, data: DataSet) -> Winner:
    """The best model for a use among the runs of one data set."""
    key = headline_key(runs, use)
    if key is None:
        return Winner(use, data.name, None, missing_reason(runs, use, data))
    first, *others = groups(runs, key)
    return Winner(use, data.name, first, "", (*others, *relatives(runs, first)))


def relatives(runs: Sequence[Run], group: Group) -> list[Group]:
    """The same metric under other keys (another N, another extractor), of models that the group does not hold."""
    metric = group.candidates[0].entry.get("metric")
    inside = {one.label for one in group.candidates}
    keys = dict.fromkeys(key for run in runs for key, entry in run.scores.items() if ok(entry) and entry.get("metric") == metric)
    found = [other for key in keys if key != group.key and metric for other in groups(runs, key)]
    return [other for other in found if not inside & {one.label for one in other.candidates}]


def missing_reason(runs: Sequence[Run], use: Use, data: DataSet) -> str:
    """Why nothing answers a use: labels, verbs, or the reason that the evaluation gives."""
    if not runs:
        return "no run of this data set has been evaluated yet"
    if not any(set(use.verbs) <= set(run.verbs) for run in runs if run.verbs):
        return use.lacking if use.name in ("keep", "generate") else "no model here encodes"
    if use.name == "steer" and not data.factor_names:
        return "needs labels: a table of factors beside the items"
    if use.name == "find" and not (data.factor_names or data.class_names):
        return "needs labels: one class or factor for each item"
    entries = (entry for run in runs for key, entry in run.scores.items() if key.startswith(use.prefixes))
    said = [reason_of(entry) for entry in entries if entry.get("reason")]
    said += [str(mapping((run.evaluation or {}).get("headline_reasons")).get(use.name) or "") for run in runs]
    return next(filter(None, said), "") or "not scored: no metric for it in this evaluation"


def against(best: Candidate, baseline: Candidate | None, unit: str) -> str:
    """A number beside the linear baseline's: a ratio of errors where both are positive distances, else the difference.

    Without a run of the baseline it is PCA of the same width, as the evaluation measured it.
    """
    if best.is_baseline:
        return "nothing beats the linear baseline"
    reference = baseline.value if baseline is not None else references_of(best.entry).get("PCA")
    if reference is None:
        return "no PCA beside it"
    a, b = best.value, reference
    if plain(abs(a - b)) == "0":
        return "the same as PCA"
    if best.entry.get("direction") == "min" and a > 0 and b > 0 and unit not in ("nats", "bits/dim"):
        if b <= EXACT * (number(best.entry.get("floor")) or 0.0) < a:
            return "PCA of this width is exact"
        change = a / b - 1.0
        if abs(change) < 0.005:
            return "the same as PCA"
        return f"{abs(change):.0%} {'less' if change < 0 else 'more'} than PCA"
    sign = "+" if a >= b else "−"
    return f"{sign}{plain(abs(a - b))}{' ' + unit if unit not in ('', '1') else ''} against PCA"


def plain(value: float) -> str:
    """Three significant digits; thousands in full, very small numbers as powers of ten."""
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 999.5:  # rounded to three digits it would become 1e+03
        return f"{value:,.0f}".replace("-", "−")
    if size < 0.0001:
        mantissa, exponent = f"{value:.2e}".split("e")
        return f"{mantissa}×10{str(int(exponent)).translate(str.maketrans('-0123456789', '⁻⁰¹²³⁴⁵⁶⁷⁸⁹'))}".replace("-", "−")
    digits = f"{value:.3g}"
    return digits.replace("-", "−")
