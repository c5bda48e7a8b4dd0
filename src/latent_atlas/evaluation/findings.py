"""What is wrong with a run: one plain sentence each, the figures behind it, and what to try. Only where the scores are present."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from latent_atlas.evaluation.scoring import Score
from latent_atlas.metrics.likelihood import DEAD

# Where a difference becomes a fault: stated here, since each is a choice.
LITTLE = 0.1  # nats in the whole code
PCA_MARGIN = 1.005  # times PCA's error: PCA itself, fitted to other items, is not to be called worse than PCA
EXACT = 1e-6  # of the mean item's error: of as many dimensions as the data has, PCA and a flow both give back all but rounding
LEARNED_BY_HEART = 1.5  # times the training error
MODES = 0.5  # of the modes that other real items reach
ENTRIES = 0.1  # of the codebook
HOLES = 0.2  # of prior draws; 0.01 is none
Scores = Mapping[str, Score]


@dataclass(frozen=True)
class Finding:
    """A fault of a run.

    Args:
        name: of the fault.
        sentence: what is wrong, with its figures, and what to try.
        figures: by the name of their score.
        remedy: what to try.
    """

    name: str
    sentence: str
    figures: Mapping[str, float]
    remedy: str

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {"name": self.name, "sentence": self.sentence, "figures": dict(self.figures), "remedy": self.remedy}


def findings(scores: Scores, kl_per_dimension: Tensor | None, unit: str = "dimension") -> list[Finding]:
    """The faults of a run, the gravest first; ``unit`` is what each KL is of: a dimension or another part of the code."""
    found = [posterior_collapse(scores, kl_per_dimension, unit), *(rule(scores) for rule in RULES)]
    return [finding for finding in found if finding is not None]


def posterior_collapse(scores: Scores, kl_per_dimension: Tensor | None, unit: str = "dimension") -> Finding | None:
    """Most dimensions carry nothing, or the code as a whole says nothing about its item."""
    remedy = "try a KL warm-up or a lower β"
    information = measured(scores, "latent_information")
    if kl_per_dimension is not None:
        total, dead = len(kl_per_dimension), int((kl_per_dimension < DEAD).sum())
        figures: dict[str, float] = {"dead": dead, f"{unit}s": total, "threshold": DEAD}
        if dead == total:
            sentence = f"Posterior collapse: none of {total} {unit}s carries {DEAD} nats; {remedy}."
            return Finding("posterior collapse", sentence, figures, remedy)
        if dead > total / 2:
            sentence = f"{dead} of {total} {unit}s carry less than {DEAD} nats: posterior collapse; {remedy}."
            return Finding("posterior collapse", sentence, figures, remedy)
    if information is not None and information["value"] < LITTLE:
        value = max(0.0, information["value"])
        sentence = f"The code holds {value:.2g} nats of information about its item: posterior collapse; {remedy}."
        return Finding("posterior collapse", sentence, {"latent_information": information["value"]}, remedy)
    return None


def worse_than_pca(scores: Scores) -> Finding | None:
    """A model with an error above that of PCA of the same width has not earned its training."""
    error = measured(scores, "mse")
    linear = (error or {}).get("references", {}).get("PCA")
    if error is None or not linear:
        return None
    rounding = EXACT * (error["floor"] or 0.0)
    # A code as wide as the data is not held against PCA, which is the identity then.
    if linear <= rounding or error["value"] <= PCA_MARGIN * linear:
        return None
    remedy = "train longer or widen the net" if lacking(scores, "rate") else "train longer, widen the net, or lower β"
    sentence = f"Squared error {error['value']:.3g} against {linear:.3g} of PCA of the same width: no better than PCA; {remedy}."
    return Finding("no better than PCA", sentence, {"mse": error["value"], "pca": linear}, remedy)


def memorisation(scores: Scores) -> Finding | None:
    """Training items are reproduced far better than others, beyond what chance allows."""
    gap = measured(scores, "generalization_gap")
    if gap is None or not gap["parts"].get("train") or not gap["interval"] or gap["interval"][0] <= 0:
        return None
    held, seen = gap["parts"]["held_out"], gap["parts"]["train"]
    if held < LEARNED_BY_HEART * seen:
        return None
    remedy = "try more data, a smaller net, or stop earlier"
    sentence = f"Held-out items have {held / seen:.1f} times the error of training items: memorisation; {remedy}."
    return Finding("memorisation", sentence, {"held_out": held, "train": seen}, remedy)


def copied_samples(scores: Scores) -> Finding | None:
    """Samples lie nearer to training items than held-out items do, significantly: the model hands out its training set."""
    near = measured(scores, "memorisation")
    if near is None or near["ceiling"] is None or not near["interval"] or near["direction"] not in ("min", "max"):
        return None
    low, high = near["interval"]
    sign, bound = (1, low) if near["direction"] == "min" else (-1, high)
    if sign * (bound - near["ceiling"]) <= 0 or math.isclose(near["value"], near["ceiling"], rel_tol=0.1, abs_tol=0.02):
        return None
    remedy = "try more data or a smaller net"
    sentence = f"{near['title']} is {near['value']:.3g}, of other real items {near['ceiling']:.3g}: memorisation; {remedy}."
    return Finding("memorisation", sentence, {"memorisation": near["value"], "real": near["ceiling"]}, remedy)


def mode_collapse(scores: Scores) -> Finding | None:
    """Samples reach far fewer of the data's modes than other real items."""
    reached = measured(scores, "mode_coverage")
    if reached is None or reached["value"] >= MODES * (reached["ceiling"] or 1.0):
        return None
    count, modes = reached["parts"]["reached"], reached["parts"]["modes"]
    remedy = "try a prior fitted to the codes, or a weaker discriminator where there is one"
    sentence = f"Samples reach {count} of {modes} modes of the data: mode collapse; {remedy}."
    return Finding("mode collapse", sentence, {"reached": count, "modes": modes}, remedy)


def idle_codebook(scores: Scores) -> Finding | None:
    """Few entries of the codebook are ever used."""
    use = measured(scores, "codebook_use")
    if use is None or use["value"] >= ENTRIES * (use["ceiling"] or 1.0):
        return None
    used, entries = use["parts"]["used"], use["provenance"]["entries"]
    remedy = "try restarting dead entries or a smaller codebook"
    sentence = f"{used} of {entries} codebook entries are used: codebook collapse; {remedy}."
    return Finding("codebook collapse", sentence, {"used": used, "entries": entries}, remedy)


def holes(scores: Scores) -> Finding | None:
    """Much of the prior lies where no item of the data does. No fault of a model that draws nothing, such as a fitted chart."""
    share = measured(scores, "prior_holes")
    if share is None or share["value"] < HOLES or lacking(scores, "fid", "mode_coverage"):
        return None
    # Without a KL there is no β to raise: nothing, or another term, draws the codes to the prior.
    remedy = "draw from a density fitted to the codes" + ("" if lacking(scores, "rate") else ", or raise β")
    sentence = (
        f"{100 * share['value']:.0f} % of the prior lies in holes, where no item lives: samples from there are a gamble; {remedy}."
    )
    return Finding("holes", sentence, {"prior_holes": share["value"]}, remedy)


RULES: tuple[Callable[[Scores], Finding | None], ...] = (
    worse_than_pca,
    memorisation,
    copied_samples,
    mode_collapse,
    idle_codebook,
    holes,
)


def measured(scores: Scores, metric: str) -> Score | None:
    """The first score of that metric that has a value."""
    return next((entry for entry in scores.values() if entry["metric"] == metric and entry["status"] == "ok"), None)


def lacking(scores: Scores, *metrics: str) -> bool:
    """Whether these are listed and none has a value."""
    listed = [entry["status"] for entry in scores.values() if entry["metric"] in metrics]
    return bool(listed) and "ok" not in listed
