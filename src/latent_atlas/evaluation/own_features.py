"""Fidelity scores of features or images that come from anywhere: arrays or folders in, flat numbers out, no model needed."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latent_atlas.evaluation.own_arrays import PROTOCOLS, ScoreError, attempt, check_table, read_arrays
from latent_atlas.metrics import fidelity, frechet
from latent_atlas.metrics.result import Measured
from latent_atlas.threads import torch_threads

DIMENSIONS, STEPS = 64, 400  # of the extractor that two folders are compared by
LEAST = 8  # images on each side
RESAMPLES = 50  # of the Fréchet distance's interval
LEAST_ROWS = 6  # of features: 5 neighbours of each
Call = tuple[Callable[..., Measured], dict[str, Any]]


def score_features(path: Path, protocol: str = "atlas", seed: int = 0) -> dict[str, Any]:
    """fid, kid, and precision, recall, density, coverage at k = 3 and 5 of an .npz with ``real`` and ``fake``, (N, f) each.

    ``reference``: KID as one subset of the first min(N, M) rows; neighbourhoods with < as prdc has them.

    Raises:
        ScoreError: arrays that are missing or do not fit each other.
    """
    given = read_arrays(path)
    for name in ("real", "fake"):
        if name not in given:
            raise ScoreError(f"{path}: it has {', '.join(given) or 'no arrays'}; needed are real and fake")
        check_table(path, name, given[name], LEAST_ROWS)
    real, fake = given["real"], given["fake"]
    if real.shape[1] != fake.shape[1]:
        raise ScoreError(f"{path}: real has {real.shape[1]} features, fake has {fake.shape[1]}")
    return compare(torch.from_numpy(real), torch.from_numpy(fake), protocol, seed)


def compare(real: Tensor, fake: Tensor, protocol: str, seed: int) -> dict[str, Any]:
    """The scores of two sets of features (N, f) and (M, f)."""
    if protocol not in PROTOCOLS:
        raise ScoreError(f"protocol={protocol}: it is one of {', '.join(PROTOCOLS)}")
    reference, whole = protocol == "reference", real
    found: dict[str, Any] = {"protocol": protocol, "seed": seed, "n_real": len(real), "n_fake": len(fake)}
    n, d = min(len(real), len(fake)), real.shape[1]
    if not reference:
        # Equal N, and not the first rows of a file that may be sorted.
        rng = np.random.default_rng(seed)
        real, fake = (part[torch.from_numpy(rng.permutation(len(part))[:n])] for part in (real, fake))
        found["n"] = n
    reasons: dict[str, str] = {}
    # The published packages give a number however few samples there are; it then stands with a warning.
    fid = (_published_fid, {}) if reference else (frechet.fid, {"resamples": RESAMPLES})
    calls: dict[str, Call] = {"fid": fid, "kid": (fidelity.kid, {})}
    for k in (3, 5):
        for score in (fidelity.precision, fidelity.recall, fidelity.density, fidelity.coverage):
            calls[f"{score.__name__}_k{k}"] = (score, {"k": k, "strict": reference, "all_rows": reference})
    halves = None if reference else split_in_two(whole, n, seed)
    for name, (score, settings) in calls.items():
        once = {word: value for word, value in settings.items() if word != "resamples"}
        ceiling = functools.partial(score, *halves, **once) if halves else None
        found |= attempt(functools.partial(score, real, fake, **settings), {name: ""}, reasons, ceiling=ceiling)
    if halves:
        found |= {"ceiling_n": len(halves[0]), "ceiling_by": "real rows against other real rows"}
    if "fid" in found and n < 2 * d:
        found["fid_warning"] = f"{n} samples are below 2·d = {2 * d} features: most of the value is bias"
    return found | {"not_applicable": reasons}


def split_in_two(real: Tensor, n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Two disjoint sets of n real rows, or of half of them where there are fewer than 2 n: what a perfect sampler would reach."""
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(real)))
    m = min(n, len(real) // 2)
    return real[order[:m]], real[order[m : 2 * m]]


def _published_fid(real: Tensor, fake: Tensor) -> Measured:
    return Measured(frechet.frechet_distance(frechet.moments(real), frechet.moments(fake)))


def score_folders(real: Path, fake: Path, protocol: str = "atlas", seed: int = 0) -> dict[str, Any]:
    """The same for two folders of images, by an extractor that learns the real ones' own kind, from labels if there are any.

    Half of the real images, by their content, train the extractor and the other half are compared: items that it was fitted to lie
    nearer to each other than to any others (two equal sets of 200 labelled images then had an unbiased KID of 112, and their
    Fréchet distance rose from 15 to 40). Images of the second folder are read as those of the first were: the same size and
    channels. The scores compare folders against these real images and nothing else, so the extractor's name stands beside them.

    Raises:
        ScoreError: a folder that is missing or has too few images.
    """
    from latent_atlas.data.datamodule import DataModule
    from latent_atlas.data.prepare import prepare
    from latent_atlas.data.preprocess import read_new
    from latent_atlas.data.reader import DataError
    from latent_atlas.evaluation.extractors import FeatureSet
    from latent_atlas.evaluation.features import train_extractor, weights_hash

    with tempfile.TemporaryDirectory() as folder:
        reader = {"_target_": "latent_atlas.data.image_folder.ImageFolder", "path": str(real)}
        conf: dict[str, Any] = {
            "name": "real",
            "title": str(real),
            "about": "",
            "reader": reader,
            "split": {"val": 0.0, "test": 0.5},
        }
        conf |= {"reference_size": LEAST, "provides": {"observation": "image", "fields": []}}
        try:
            prepare({"name": "real", "data": conf}, Path(folder) / "real")
            data = DataModule(Path(folder) / "real")
            values, _, rejected = read_new(data.card["preprocessing"], data.spec, fake)
        except DataError as error:
            raise ScoreError(str(error)) from error
    learned, held_out = data.rows("train"), data.rows("test")
    if min(len(learned), len(held_out), len(values)) < LEAST:
        counts = f"{real} has {len(data)} images, half of which train the extractor, and {fake} has {len(values)}"
        raise ScoreError(f"{counts}; at least {2 * LEAST} and {LEAST} are needed")
    dimensions = max(1, min(DIMENSIONS, len(held_out) // 2, len(values) // 2))
    settings = {"steps": STEPS, "seed": seed, "batch_size": min(64, len(learned))}
    # Another number of threads would round differently: the extractor, and with it every score, follows from images and seed.
    with torch_threads(1):
        net, card, _ = train_extractor(data, learned, dimensions, settings)
        used = FeatureSet("domain", weights_hash(net), data.spec.x, net, torch.empty(0), None)
        rows = [used.extract(data.take(held_out)[data.spec.observation]), used.extract(torch.as_tensor(values))]
    found = compare(rows[0], rows[1], protocol, seed)
    said = {"extractor": f"domain_{used.hash[:8]}", "trained_on": card["trained_on"], "set_aside": len(rejected)}
    return found | said
