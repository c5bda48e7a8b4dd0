"""The one DataModule: batches by index from memory or a memory map, without worker processes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latent_atlas.data import drawing
from latent_atlas.data.packing import unpack
from latent_atlas.data.pairs import Pairs
from latent_atlas.data.reader import DataError
from latent_atlas.data.spec import SPLITS, DataSpec
from latent_atlas.data.store import load_arrays, read_card

Batch = dict[str, Tensor]
Rows = NDArray[np.int64]
PAIR = "pair"  # the field of an item's partner


class DataModule:
    """A prepared data directory as batches: dicts of tensors of ``spec.fields`` plus ``index``, the item numbers (B,) int64.

    Batch t of training is row block t mod m of a permutation of the training items that is seeded by (seed, t div m), with
    m = max(1, N // batch_size): the order is a pure function of (seed, t), so a fit resumes anywhere. So are the pictures of a
    set that is binarized anew at each step; elsewhere an item of it has one draw of its own.

    Args:
        folder: a data directory.
        resident: read the arrays into memory (faster) or map them.
        pairs: ``{"differing": k}`` draws a partner for each item of a batch of ``train_batch`` and ``batches``, the field ``pair``:
            an item of the same split that differs in k factors, in training a pure function of (seed, t) too. ``None`` draws none.
    """

    def __init__(self, folder: Path | str, resident: bool = True, pairs: Mapping[str, int] | None = None) -> None:
        self.folder = Path(folder)
        self.card: dict[str, Any] = read_card(self.folder)
        self.spec = DataSpec.from_dict(self.card["spec"])
        self.arrays = load_arrays(self.folder, self.card, resident)
        self._split = np.load(self.folder / "split.npy")
        self._rows = {name: np.flatnonzero(self._split == code) for code, name in enumerate(SPLITS)}
        self._drawn = any(entry.get("drawn") for entry in self.card["storage"].values())
        self._order: tuple[tuple[int, int], Rows] | None = None
        self._pairs: Pairs | None = None
        if pairs:
            self._pairs = Pairs(self._crossed(), self._split, **pairs)
            self.spec = replace(self.spec, fields={**self.spec.fields, PAIR: self.spec.x})

    def __len__(self) -> int:
        return len(self._split)

    def rows(self, split: str) -> Rows:
        """The item indices of a split, ascending."""
        if split not in self._rows:
            raise ValueError(f"split is {split!r}; it is one of {', '.join(SPLITS)}")
        return self._rows[split]

    def take(self, indices: Sequence[int] | NDArray[Any] | Tensor) -> Batch:
        """The batch of these items, in this order."""
        return self._take(np.asarray(indices, np.int64))

    def _take(self, rows: Rows, noise: np.random.Generator | None = None) -> Batch:
        return {name: self._tensor(name, rows, noise) for name in self.arrays} | {"index": torch.from_numpy(rows.copy())}

    def _paired(self, rows: Rows, *seeds: int, noise: np.random.Generator | None = None) -> Batch:
        """The batch of these items, with partners where they are asked for; ``seeds`` are of the draw and do not end in 0."""
        batch = self._take(rows, noise)
        if self._pairs is not None:
            batch[PAIR] = self._tensor(self.spec.observation, self._pairs.partners(rows, np.random.default_rng(seeds)), noise)
        return batch

    def _tensor(self, name: str, rows: Rows, noise: np.random.Generator | None = None) -> Tensor:
        entry, dtype = self.card["storage"][name], getattr(torch, self.spec.fields[name].dtype)
        block = self.arrays[name].take(rows, axis=0)
        if entry["packed"]:
            block = unpack(block, entry["shape"])
        if drawn := entry.get("drawn"):
            block = drawing.of_items(block, rows) if noise is None else drawing.at_step(block, noise)
        tensor = torch.from_numpy(block).to(dtype)
        if entry["divisor"] and not drawn:
            tensor.div_(entry["divisor"])
        # Channels lie last on disk and stay last in memory: a permuted view is torch's channels_last format, at no cost.
        return tensor.permute(0, *(1 + axis for axis in entry["order"])) if entry["order"] else tensor

    def train_batch(self, step: int, seed: int, batch_size: int) -> Batch:
        """Batch number ``step`` of a training run."""
        rows = self._rows["train"]
        per_pass = max(1, len(rows) // batch_size)
        block = (step % per_pass) * batch_size
        items = self._permuted(seed, step // per_pass)[block : block + batch_size]
        # Made only where it is used: a generator costs as much as the batch.
        noise = np.random.default_rng([seed, step, drawing.STREAM]) if self._drawn else None
        return self._paired(items, seed, step, 1, noise=noise)

    def train_batches(self, start: int, stop: int, seed: int, batch_size: int) -> Iterator[Batch]:
        """Batches ``start`` to ``stop - 1`` of a training run."""
        for step in range(start, stop):
            yield self.train_batch(step, seed, batch_size)

    def _permuted(self, seed: int, lap: int) -> Rows:
        if self._order is None or self._order[0] != (seed, lap):
            self._order = ((seed, lap), np.random.default_rng([seed, lap]).permutation(self._rows["train"]))
        return self._order[1]

    def batches(self, split: str, batch_size: int, limit: int | None = None) -> Iterator[Batch]:
        """A split in item order with its tail, at most ``limit`` items."""
        rows = self.rows(split)[:limit]
        for start in range(0, len(rows), batch_size):
            yield self._paired(rows[start : start + batch_size], start, 2)

    def witnesses(self, n: int = 8) -> Batch:
        """n held-out items fixed by the data set's content, the same for every model; fewer where there are fewer."""
        return self.take(self.card["witnesses"][:n])

    def at(self, factors: Sequence[Sequence[int]] | NDArray[Any] | Tensor) -> Batch:
        """The items with these factors (B, K), of a set that holds every combination once, in order; else raises ``DataError``."""
        return self.take(np.ravel_multi_index(tuple(np.asarray(factors, np.int64).T), self._crossed()))

    def _crossed(self) -> tuple[int, ...]:
        """The sizes of the factors of a set that holds every combination of them once, in order; else raises ``DataError``."""
        known = self.card["factors"]
        if known is None or not all(known["sizes"]) or int(np.prod(known["sizes"])) != len(self):
            raise DataError(f"{self.card['name']}: it does not hold every combination of its factors, so it has no item for each")
        return tuple(known["sizes"])
