"""The shape of a data set before any model: intrinsic dimension, pieces and loops, and what they advise."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from latent_atlas.data.datamodule import DataModule
from latent_atlas.metrics.dimension import levina_bickel, two_nn
from latent_atlas.metrics.homology import loops, persistence, pieces
from latent_atlas.metrics.result import NotApplicable

KINDS = ("image", "vector")
ITEMS = 2000  # for the intrinsic dimension
POINTS = 400  # for persistent homology
SHOWN = 3  # lifetimes


def shape_of_data(folder: Path, seed: int = 0) -> dict[str, Any] | None:
    """The shape of a data directory's training items, for its card; ``None`` for kinds of data that have none here.

    Args:
        folder: a data directory.
        seed: of the subsample.
    """
    data = DataModule(folder, resident=False)
    if data.spec.x.kind not in KINDS:
        return None
    picked = np.random.default_rng(seed).permutation(data.rows("train"))[:ITEMS]
    return shape_of(data.take(np.sort(picked))[data.spec.observation].flatten(1), seed)


def shape_of(x: Tensor, seed: int = 0) -> dict[str, Any]:
    """What is known of the shape of items (N, d), as plain numbers; what cannot be had is left out.

    Lifetimes are in units of the cloud's radius; ``noise`` is the longest lifetime that is no loop.
    """
    found: dict[str, Any] = {"n": len(x), "seed": seed}
    for name, estimate in (("two_nn", two_nn), ("levina_bickel", levina_bickel)):
        try:
            value = float(estimate(x).value)
        except NotApplicable:
            continue
        if math.isfinite(value):
            found[name] = round(value, 3)
    try:
        homology = persistence(x, POINTS, seed=seed)
    except NotApplicable as reason:
        return found | {"advice": f"No shape can be seen: {reason}."}
    count, lifetimes = loops(homology), homology.lifetimes
    ratios = homology.ratios
    order = np.argsort(-ratios, kind="stable")
    found |= {
        "points": sum(homology.sizes),
        "pieces": pieces(homology),
        "loops": count,
        "h0_longest": [round(float(one), 4) for one in homology.pieces[:SHOWN]],
        "h1_longest": [round(float(one), 4) for one in lifetimes[order[: max(count, SHOWN)]]],
        "h1_noise": round(float(lifetimes[order[count:]].max()), 4) if len(lifetimes) > count else 0.0,
    }
    return found | {"advice": advice(found)}


def advice(found: dict[str, Any]) -> str:
    """One sentence: what the data looks like, and what to try."""
    known = [found[name] for name in ("two_nn", "levina_bickel") if name in found]
    count, parts = found["loops"], found["pieces"]
    seen = [f"about {_span(known)}"] if known else []
    seen.append({0: "no loop", 1: "one loop", 2: "two loops"}.get(count, f"{count} loops"))
    if parts > 1:
        seen.append(f"{parts} separate pieces")
    small = not known or min(known) < 4
    if count and small:
        advised = "torus_vae, a product of circles" if count > 1 or not known or min(known) >= 1.5 else "torus_vae with one circle"
    elif parts > 1:
        advised = "gm_vae, a mixture as the prior"
    else:
        size = max(2, round(2 * max(known))) if known else 10
        advised = f"vae with {size} latent dimensions"
    text = f"{', '.join(seen)}: try {advised}."
    return text[0].upper() + text[1:]


def _span(values: list[float]) -> str:
    """Both estimates in whole numbers: one number where they agree."""
    low, high = (max(1, round(one)) for one in (min(values), max(values)))
    span = str(low) if low == high else f"{low} to {high}"
    return f"{span} dimension{'s' if high > 1 else ''}"
