"""Items as pictures: images as PNG in whole pixels, vectors as profiles, tokens as words."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from latent_atlas.report.markup import Markup, tag


def as_image(array: np.ndarray) -> Image.Image:
    """(H, W, C) or (H, W), uint8 or floats in [0, 1], as a Pillow image; one channel is grey, three are RGB.

    Raises:
        ValueError: for another number of channels.
    """
    if array.dtype != np.uint8:
        array = np.rint(np.clip(np.nan_to_num(array.astype(np.float64)), 0, 1) * 255).astype(np.uint8)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim == 3 and array.shape[2] == 2:
        array = np.concatenate([array, np.zeros_like(array[:, :, :1])], axis=2)
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        raise ValueError(f"a picture is (H, W), (H, W, 1) or (H, W, 3); this array is {array.shape}")
    return Image.fromarray(array)


def png(array: np.ndarray) -> bytes:
    """The bytes of a PNG; few grey levels become a palette, which is smaller and loses nothing."""
    image = as_image(array)
    if image.mode == "L" and set(np.unique(np.asarray(image))) <= {0, 255}:
        image = image.convert("1", dither=Image.Dither.NONE)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def uri(data: bytes) -> str:
    """A picture inside the page."""
    return "data:image/png;base64," + base64.b64encode(data).decode()


def shrink(array: np.ndarray, factor: int) -> np.ndarray:
    """Mean over factor × factor blocks, cut to whole blocks."""
    if factor <= 1:
        return array
    height, width = (array.shape[0] // factor * factor, array.shape[1] // factor * factor)
    blocks = array[:height, :width].reshape(height // factor, factor, width // factor, factor, *array.shape[2:])
    return np.rint(blocks.mean(axis=(1, 3))).astype(array.dtype) if array.dtype == np.uint8 else blocks.mean(axis=(1, 3))


def shrunk(items: np.ndarray, factor: int) -> np.ndarray:
    """Images (N, H, W, C) shrunk by whole blocks; anything else as it is."""
    if factor == 1 or items.ndim != 4 or items.shape[1] < 2 * factor:
        return items
    return np.stack([shrink(item, factor) for item in items])


def image(array: np.ndarray, target: int, alt: str) -> Markup:
    """One image about ``target`` pixels wide: small ones grow by whole pixels, large ones shrink by whole blocks."""
    array = shrink(array, math.ceil(array.shape[1] / (1.5 * target)))
    scale = max(1, round(target / array.shape[1]))
    height, width = array.shape[0] * scale, array.shape[1] * scale
    return tag("img", src=uri(png(array)), width=width, height=height, alt=alt, class_="pix", title=alt)


def profile(values: np.ndarray, target: int, alt: str, limits: tuple[float, float]) -> Markup:
    """A vector as bars around zero, all of one strip on the same scale."""
    low, high = min(limits[0], 0.0), max(limits[1], 0.0)
    span = (high - low) or 1.0
    height, n = 40.0, min(len(values), 48)
    zero = height * high / span
    step = 100.0 / max(n, 1)
    bars = "".join(
        f"M{(i + 0.5) * step:.1f} {zero:.1f}V{height * (high - float(np.clip(v, low, high))) / span:.1f}"
        for i, v in enumerate(np.nan_to_num(values[:n].astype(float)))
    )
    stroke = f"{max(step * 0.7, 0.8):.1f}"
    return tag(
        "svg",
        tag("title", alt),
        tag("path", d=f"M0 {zero:.1f}H100", class_="axis"),
        tag("path", d=bars, class_="bars", stroke_width=stroke),
        viewBox=f"0 0 100 {height:.0f}",
        width=round(target * 1.4),
        height=round(target * 0.8),
        role="img",
        aria_label=alt,
        class_="profile",
        preserveAspectRatio="none",
    )


def words(values: np.ndarray, alt: str) -> Markup:
    """Tokens as their numbers; probabilities (L, V) as the likeliest ones."""
    tokens = values.argmax(axis=-1) if values.ndim == 2 else values
    shown = " ".join(str(int(token)) for token in tokens[:12]) + (" …" if len(tokens) > 12 else "")
    return tag("span", shown, class_="words", title=alt)


def drawable(items: np.ndarray | None) -> bool:
    """Whether ``draw`` has a picture for these items."""
    return items is not None and len(items) > 0 and items.ndim in (2, 3, 4)


def draw(items: np.ndarray, target: int, alts: Sequence[str], limits: tuple[float, float] | None = None) -> list[Markup]:
    """One picture for each item: (N, H, W, C) images, (N, d) floats as profiles, (N, L) integers or (N, L, V) as tokens."""
    if items.ndim == 4:
        return [image(item, target, alt) for item, alt in zip(items, alts, strict=False)]
    if items.ndim == 3 or np.issubdtype(items.dtype, np.integer):
        return [words(item, alt) for item, alt in zip(items, alts, strict=False)]
    low, high = limits or value_range(items)
    return [profile(item, target, alt, (low, high)) for item, alt in zip(items, alts, strict=False)]


def value_range(items: np.ndarray) -> tuple[float, float]:
    """The span of values that profiles share."""
    finite = items[np.isfinite(items)] if np.issubdtype(items.dtype, np.floating) else items
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)


def strip(items: np.ndarray, target: int, alts: Sequence[str], **attributes: Any) -> Markup:
    """A row of pictures."""
    limits = None if items.ndim != 2 else value_range(items)
    return tag("div", *draw(items, target, alts, limits), class_="strip", **attributes)
