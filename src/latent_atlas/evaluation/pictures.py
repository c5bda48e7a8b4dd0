"""What a model does to images, as arrays and as PNGs: witnesses, draws of the prior, traversals, walks. Whole pixels only."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from latent_atlas.models.base import Batch, LatentModel

WITNESSES = 8
FRAMES = 9  # of a traversal and of a walk; an odd number, so that the middle is a frame
REACH = 2.0  # a traversal reaches from the 2nd to the 98th percentile of the codes
CELL = 72  # px: an image grows by the whole factor that comes nearest to this from below
GAP, MARGIN = 4, 16
Picture = NDArray[np.uint8]


def draw(model: LatentModel, witnesses: Batch, codes: Tensor | None, order: Sequence[int], seed: int) -> dict[str, Picture]:
    """Every picture that the model's verbs allow, uint8 with channels last.

    Returns:
        ``witnesses`` (8, H, W, C) always; ``reconstructions`` of them; ``samples`` (8, H, W, C), draws of the prior by ``seed``;
        ``traversals`` (D, T, H, W, C) of the dimensions ``order`` through witness 0, ``traversal_values`` (D, T) the coordinate of
        each frame; ``interpolations`` (4, T, H, W, C), geodesics between pairs of witnesses, whose ends are the reconstructions.
    """
    verbs = model.verbs()
    x = model.observed(witnesses)
    n = len(x)
    found: dict[str, Picture] = {"witnesses": pixels(x)}
    condition = {name: witnesses[name] for name in model.conditions}
    if "sample" in verbs:
        found["samples"] = pixels(model.sample(n, condition=condition or None, generator=torch.Generator().manual_seed(seed)))
    if "encode" not in verbs or "decode" not in verbs:
        return found
    z = model.encode(x, condition or None).mode  # type: ignore[operator]
    found["reconstructions"] = pixels(_decode(model, z, condition))
    if codes is not None and len(order):
        found["traversals"], found["traversal_values"] = traverse(model, z[:1], codes, order, condition)  # type: ignore[assignment]
    if n >= 2:
        pairs = torch.arange(n - n % 2).reshape(-1, 2)
        path = model.space.geodesic(z[pairs[:, 0]], z[pairs[:, 1]], torch.linspace(0, 1, FRAMES))
        frames = [pixels(_decode(model, step, {k: v[pairs[:, 0]] for k, v in condition.items()})) for step in path]
        found["interpolations"] = np.stack(frames, axis=1)
    return found


def traverse(
    model: LatentModel, anchor: Tensor, codes: Tensor, order: Sequence[int], condition: Batch
) -> tuple[Picture, NDArray[np.float32]]:
    """Moves one coordinate of the anchor (1, *shape) at a time through the range of the codes (N, d)."""
    start = model.space.coordinates(anchor)
    low, high = torch.quantile(codes[:4096].float(), torch.tensor([REACH / 100, 1 - REACH / 100]), dim=0)
    rows, values = [], []
    for dimension in order:
        moved = start.repeat(FRAMES, 1)
        moved[:, dimension] = torch.linspace(float(low[dimension]), float(high[dimension]), FRAMES)
        z = model.space.project(model.space.from_coordinates(moved))
        rows.append(pixels(_decode(model, z, {k: v[:1].expand(FRAMES, *v.shape[1:]) for k, v in condition.items()})))
        values.append(moved[:, dimension].numpy())
    return np.stack(rows), np.stack(values)


def _decode(model: LatentModel, z: Tensor, condition: Batch) -> Tensor:
    mean: Tensor = model.decode(z, condition or None).mean  # type: ignore[operator]
    return mean


def pixels(x: Tensor) -> Picture:
    """(N, C, H, W) in [0, 1] to uint8 (N, H, W, C)."""
    found: Picture = (x.detach().float().clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()
    return found


def grid(rows: Sequence[Picture]) -> Image.Image:
    """Rows of images (N, H, W, C) on white, each grown by whole pixels, two channels and more than four cut to three."""
    height, width, channels = rows[0].shape[1:]
    scale = max(1, CELL // max(height, width))
    columns = max(len(row) for row in rows)
    size = (
        2 * MARGIN + columns * (width * scale + GAP) - GAP,
        2 * MARGIN + len(rows) * (height * scale + GAP) - GAP,
    )
    canvas = np.full((size[1], size[0], 3), 255, np.uint8)
    for r, row in enumerate(rows):
        for c, image in enumerate(row):
            top, left = MARGIN + r * (height * scale + GAP), MARGIN + c * (width * scale + GAP)
            shown = np.repeat(image, 3, axis=2) if channels == 1 else image[..., [0, 1 % channels, 2 % channels]]
            canvas[top : top + height * scale, left : left + width * scale] = shown.repeat(scale, 0).repeat(scale, 1)
    return Image.fromarray(canvas)


def save(found: dict[str, Picture], folder: Path) -> list[Path]:
    """Writes pictures.npz and one PNG for each kind of picture; returns the PNGs."""
    np.savez_compressed(folder / "pictures.npz", **found)  # type: ignore[arg-type]
    sheets = {
        "reconstructions": [found["witnesses"], found["reconstructions"]] if "reconstructions" in found else [],
        "samples": [found[name] for name in ("samples", "samples_mixture") if name in found],
        "traversals": list(found.get("traversals", [])),
        "interpolations": list(found.get("interpolations", [])),
        "memorisation": [found[f"memorisation_{row}"] for row in ("samples", "train") if f"memorisation_{row}" in found],
    }
    written = []
    for name, rows in sheets.items():
        if rows:
            written.append(folder / f"{name}.png")
            grid(rows).save(written[-1], optimize=True)
    return written
