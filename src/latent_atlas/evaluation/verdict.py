"""A run in one plain sentence, and the score that speaks for each use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from latent_atlas.evaluation.findings import findings
from latent_atlas.evaluation.scoring import Score
from latent_atlas.metrics.likelihood import DEAD

SHOWN = 32  # dimensions: more are not drawn one by one


def headline(scores: Mapping[str, Score], uses: Mapping[str, Sequence[str]]) -> tuple[dict[str, str | None], dict[str, str]]:
    """For each use the key of the first of its metrics that is ok, and, where there is none, the reason of the first."""
    keys: dict[str, str | None] = {}
    reasons: dict[str, str] = {}
    for use, metrics in uses.items():
        candidates = [(key, entry) for name in metrics for key, entry in scores.items() if entry["metric"] == name]
        keys[use] = next((key for key, entry in candidates if entry["status"] == "ok"), None)
        if keys[use] is None:
            reasons[use] = candidates[0][1]["reason"] if candidates else "no metric of conf/evaluation decides it"
    return keys, reasons


def verdict(scores: Mapping[str, Score], kl_per_dimension: Tensor | None, unit: str = "dimension") -> str:
    """What a reader should know first: the gravest fault if there is any, then how much of the data survives.

    All faults, with their figures, stand in evaluation.json under ``findings``; ``unit`` as there.
    """
    faults, kept = findings(scores, kl_per_dimension, unit), _kept(scores)
    if faults:
        return f"{faults[0].sentence} {kept}"
    if kl_per_dimension is None:
        return kept
    total, dead = len(kl_per_dimension), int((kl_per_dimension < DEAD).sum())
    if dead:
        carry = f"{unit}s carries" if dead == 1 else f"{unit}s carry"
        return f"{kept} {dead} of {total} {carry} less than {DEAD} nats: collapsed, {total - dead} in use."
    return f"{kept} All {total} {unit}s are in use." if total > 1 else f"{kept} Its one dimension is in use."


def _kept(scores: Mapping[str, Score]) -> str:
    error, surprise = scores.get("mse"), scores.get("distortion")
    if error and error["status"] == "ok" and error["floor"]:
        share = 100 * (1 - error["value"] / error["floor"])
        if share <= 0:
            return "Reconstructs no better than the mean item does."
        return f"Keeps {share:.0f} % of the variance of held-out items."
    if error and error["status"] == "ok":
        return f"Squared error {error['value']:.3g} on held-out items."
    if surprise and surprise["status"] == "ok":
        return f"A held-out item costs {surprise['value']:.3g} nats given its code."
    return "How much of an item survives cannot be said here."


def traversal_order(codes: Tensor | None, kl_per_dimension: Tensor | None) -> list[int]:
    """Dimensions by falling KL, else by falling variance of the codes, at most ``SHOWN``."""
    if codes is None:
        return []
    weight = kl_per_dimension
    if weight is None or len(weight) != codes.shape[1]:
        weight = codes.double().var(0, correction=0)
    found: list[int] = torch.argsort(weight, descending=True, stable=True)[:SHOWN].tolist()
    return found
