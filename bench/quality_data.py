"""What the quality bench trains on and how it scores: one part of fashion_mnist, and one scorer for the images of both sides."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from setting import ROOT

from latent_atlas.data.datamodule import DataModule
from latent_atlas.data.fashion_mnist import FashionMnist
from latent_atlas.data.prepare import prepare
from latent_atlas.data.reader import Chunk, Contents
from latent_atlas.data.splits import Split
from latent_atlas.data.store import item_digests

SPLIT = {"val": 0.2, "test": 0.2}  # of 70,000: enough for 10,000 of each


class Part:
    """The first items of each split of fashion_mnist, as many as asked for."""

    def __init__(self, counts: Sequence[int]) -> None:
        self.counts = counts

    def open(self, split: Split) -> Contents:
        contents = FashionMnist().open(split)
        return replace(contents, chunks=lambda: self.kept(contents, split), total=sum(self.counts))

    def kept(self, contents: Contents, split: Split) -> Iterator[Chunk]:
        left = list(self.counts)
        for chunk in contents.chunks():
            assigned = split.assign(item_digests(contents.fields["image"], chunk["image"]))
            parts = [np.flatnonzero(assigned == code)[:count] for code, count in enumerate(left)]
            left = [count - len(part) for count, part in zip(left, parts, strict=True)]
            rows = np.sort(np.concatenate(parts))
            yield {name: array[rows] for name, array in chunk.items()}


def make(folder: Path, train: int, held_out: int) -> dict[str, Any]:
    """``folder``/data, /features and /images.npz (``train`` and ``test``, uint8, as both sides get them); the extractor's card."""
    from latent_atlas.evaluation.features import make_features
    from latent_atlas.planning.compose import Composer

    data = folder / "data"
    reader = {"_target_": "quality_data.Part", "counts": [train, held_out, held_out]}
    prepare({"name": "fashion_mnist", "data": {"reader": reader, "split": SPLIT, "reference_size": held_out}}, data)
    module = DataModule(data)
    found = {name: len(module.rows(name)) for name in ("train", "test")}
    assert found == {"train": train, "test": held_out}, found
    with Composer(ROOT) as composer:
        extractor = composer.compose(["data=fashion_mnist", "model=vae"])["evaluation"]["extractor"]
    card = make_features({"extractor": extractor}, data, folder / "features")
    index = np.load(folder / "features" / "statistics.npz")["index"]  # held-out items in the order of the reference features
    pixels = np.load(data / "image.npy").transpose(0, 3, 1, 2)
    np.savez(folder / "images.npz", train=pixels[module.rows("train")], test=pixels[index])
    return card


class Scorer:
    """Squared error and Fréchet distances of arrays of images, whoever made them: one extractor, trained once."""

    def __init__(self, folder: Path) -> None:
        import torch

        from latent_atlas.evaluation.extractors import load_features

        torch.set_num_threads(1)
        self.features = load_features(folder / "features", DataModule(folder / "data").spec.x)
        self.real = torch.from_numpy(np.load(folder / "images.npz")["test"]).float().div_(255)

    def __call__(self, path: Path) -> dict[str, float]:
        """Of a file of arrays: ``reconstructions``, and samples by the name of their sampler."""
        import torch

        from latent_atlas.metrics.frechet import frechet
        from latent_atlas.metrics.reconstruction import in_range, mse, same_shape

        with np.load(path) as file:
            arrays = {name: torch.from_numpy(images) for name, images in file.items()}
        found = {"mse": mse(self.real, arrays["reconstructions"]).value}
        for name, images in arrays.items():
            same_shape(self.real, images)
            in_range(images)
            found[f"fid, {name}"] = frechet(self.features.real, self.features.extract(images))
        return found
