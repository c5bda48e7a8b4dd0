"""Small data sets drawn with numpy, in the format of a prepared data directory."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from latent_atlas.data.reader import Contents, Stored, blocks, class_field, factor_field
from latent_atlas.data.spec import Field
from latent_atlas.data.splits import Split
from latent_atlas.data.store import write

KINDS = ("image", "binary", "vector", "tokens", "counts")


def observations(kind, grid, shape, rng):
    """Items whose content is a function of two factors in {0..3} and a little noise: (array on disk, Stored)."""
    n, (a, b) = len(grid), (grid[:, :1], grid[:, 1:2])
    if kind in ("image", "binary"):
        c, h, w = shape or (1, 16, 16)
        rows, columns = np.arange(h)[None, :, None], np.arange(w)[None, None, :]
        bar = (np.abs(rows - (a[..., None] + 0.5) * h / 4) < h / 8) | (np.abs(columns - (b[..., None] + 0.5) * w / 4) < w / 8)
        if kind == "binary":
            bits = (bar[..., None].repeat(c, -1) ^ (rng.random((n, h, w, c)) < 0.02)).astype(np.uint8)
            return np.packbits(bits.reshape(n, -1), axis=1), Stored(Field("image", (c, h, w), size=2), "uint8", packed=True)
        grey = bar[..., None] * 180 + rng.integers(0, 60, (n, h, w, c))
        return grey.astype(np.uint8), Stored(Field("image", (c, h, w), size=256), "uint8")
    if kind == "vector":
        (d,) = shape or (6,)
        x = np.hstack([a, b]) @ np.random.default_rng(1).normal(size=(2, d)) + 0.1 * rng.normal(size=(n, d))
        x = (x - x.mean(0)) / x.std(0)
        return x.astype(np.float32), Stored(Field("vector", (d,), names=tuple(f"column {k}" for k in range(d))), "float32")
    (length,) = shape or (8,)
    if kind == "tokens":
        tokens = (a + b * np.arange(length) + (rng.random((n, length)) < 0.05)) % 7
        return tokens.astype(np.int64), Stored(Field("tokens", (length,), "int64", 7), "int64")
    counts = rng.poisson(1 + a + b * (np.arange(length) % 2))
    return counts.astype(np.int32), Stored(Field("counts", (length,)), "int32")


def write_data(tmp, kind="image", n=160, factors=False, labels=False, shape=None, name=None, seed=0):
    """Writes ``tmp/<name>`` and returns its path.

    kind: one of KINDS; shape: of one item as in ``spec.x.shape``.
    Every split has an item (n >= 3): 70 % train, 10 % val, 20 % test.
    """
    rng = np.random.default_rng(seed)
    grid = np.stack([np.arange(n) % 4, np.arange(n) // 4 % 4], axis=1)
    rows, stored = observations(kind, grid, shape, rng)
    observation = "image" if kind in ("image", "binary") else "x"
    fields, arrays = {observation: stored}, {observation: rows}
    if factors:
        fields["factors"], arrays["factors"] = factor_field(["a", "b"], [4, 4]), grid
    if labels:
        fields["labels"], arrays["labels"] = class_field(["w", "x", "y", "z"]), grid[:, 0]
    record = {"kind": stored.field.kind, "size": None, "range": None}
    assigned = np.resize([0, 2, 1, 0, 0, 2, 0, 0, 0, 0], n)
    name = name or f"drawn-{kind}"
    write(
        Contents(observation, fields, lambda: blocks(arrays), record, n),
        Path(tmp) / name,
        name=name,
        split=Split(0.1, 0.2),
        reference_size=int((assigned == 2).sum()),
        title=f"Drawn {kind}",
        assigned=assigned,
    )
    return Path(tmp) / name
