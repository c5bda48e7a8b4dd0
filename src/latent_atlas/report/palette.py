"""Colours with one meaning each: a model family, a class, the value of a factor; grey is a baseline."""

from __future__ import annotations

import zlib

# Okabe and Ito's set, safe for the common colour blindnesses; grey is kept for baselines, floors and ceilings.
FAMILIES = {
    "classical": "#7a7a7a",
    "autoencoder": "#0072b2",
    "vae": "#d55e00",
    "vq": "#b8860b",
    "gan": "#009e73",
    "diffusion": "#a8518a",
    "flow": "#3a9bd1",
}
OTHERS = ("#b8860b", "#009e73", "#a8518a", "#3a9bd1", "#5b4bb5", "#8c510a")

# Paul Tol's "muted", ordered so that neighbours differ in lightness too.
CLASSES = ("#332288", "#cc6677", "#117733", "#ddaa33", "#66aadd", "#882255", "#44aa99", "#999933", "#aa4499", "#777777")

# Cividis at eight places: even steps of lightness, the same for all eyes.
STEPS = ("#00224e", "#1f3a6f", "#434e6c", "#5f636e", "#7d7c78", "#9e9676", "#c3b369", "#ead84a")


def family(name: str) -> str:
    """The colour of a model family, the same on every page and in every build."""
    return FAMILIES.get(name) or OTHERS[zlib.crc32(name.encode()) % len(OTHERS)]


def classes(count: int) -> list[str]:
    """Colours of unordered values."""
    return [CLASSES[index % len(CLASSES)] for index in range(count)]


def steps(count: int) -> list[str]:
    """Colours of ordered values, dark to light."""
    if count <= 1:
        return [STEPS[0]] * count
    return [STEPS[round(index * (len(STEPS) - 1) / (count - 1))] for index in range(count)]
