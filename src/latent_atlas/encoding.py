"""New data through a trained model: codes, ids and the error of each item."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from latent_atlas.data.preprocess import read_new
from latent_atlas.loading import LoadError, find, load_folder, read_config


@dataclass(frozen=True)
class Encoded:
    """What ``encode_file`` wrote: the number of items, of dimensions, and (item, reason) of those set aside."""

    items: int
    dimensions: int
    rejected: list[tuple[str, str]]


def encode_file(run: str, source: Path, out: Path, batch_size: int = 256) -> Encoded:
    """Encodes ``source`` with the training preprocessing of ``run`` and writes ``out``, whole or not at all.

    The file holds ``codes`` (N, d) float32, ``ids`` (N,) and, where the model decodes, ``error`` (N,): the mean squared error of
    each item's reconstruction in the data's own units (images in [0, 1]).

    Raises:
        LoadError: no such run, or a model without ``encode``.
        DataError: the source is missing, or its items have another shape or kind than the training data.
    """
    folder = find(run)
    model = load_folder(folder)
    if "encode" not in model.verbs():
        raise LoadError(f"{run} cannot encode: the model offers {', '.join(model.verbs())}")
    if out.suffix != ".npz":
        raise LoadError(f"out={out}: codes are written as .npz")
    arrays, ids, rejected = read_new(read_config(folder)["preprocessing"], model.spec, source)
    codes, errors = [], []
    with torch.inference_mode():
        for start in range(0, len(arrays), batch_size):
            x = torch.as_tensor(np.asarray(arrays[start : start + batch_size]))
            z = model.encode(x).mode  # type: ignore[operator]
            codes.append(model.space.coordinates(z).numpy())
            if "decode" in model.verbs():
                mean = model.decode(z).mean  # type: ignore[operator]
                if mean.shape == x.shape:  # tokens are decoded to probabilities: no squared error
                    errors.append(((mean - x) ** 2).flatten(1).mean(1).numpy())
    result = {"codes": np.concatenate(codes).astype(np.float32), "ids": np.asarray(ids)}
    if errors:
        result["error"] = np.concatenate(errors).astype(np.float32)
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        with partial.open("wb") as file:
            np.savez(file, **result)  # type: ignore[arg-type]
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)
    return Encoded(len(result["codes"]), result["codes"].shape[1], list(rejected))
