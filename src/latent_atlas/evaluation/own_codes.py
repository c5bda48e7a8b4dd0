"""Disentanglement scores of codes that come from anywhere: an .npz in, a flat JSON out, no model needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from latent_atlas.evaluation.own_arrays import PROTOCOLS, Array, ScoreError, attempt, check_table, read_arrays
from latent_atlas.metrics import dci, disentanglement, infomec, interventions, separability, traversals, unsupervised
from latent_atlas.metrics.result import Measured

REFERENCE = "histogram20"
LEAST = 8  # rows: half of them are test items
REFITS, RESAMPLES = 3, 50  # for intervals, as evaluation has them at its standard budget; protocol reference makes neither
EMPTY = np.empty((0, 0))
OF_CODES = frozenset({  # need no factors
    "total_correlation", "wasserstein_correlation", "wasserstein_correlation_normalised", "dimension_information",
})  # fmt: skip
Options = dict[str, Any]


def score_codes(path: Path, protocol: str = "atlas", seed: int = 0, estimator: str | None = None) -> dict[str, Any]:
    """Every score that the arrays of the file allow; the reasons of the others stand under ``not_applicable``.

    Args:
        path: an .npz with ``mus_train, factors_train, mus_test, factors_test``, optional ``factor_sizes`` and ``grid_mus`` (codes
            of every combination in C order); or ``codes`` and optional ``factors``, half of which then serve as test items.
        protocol: atlas, or reference: as disentanglement_lib with its study's settings.
        seed: of the sampled scores and of the split.
        estimator: of DCI: lightgbm (default of atlas), sklearn (exact, default of reference) or hist.

    Raises:
        ScoreError: arrays that are missing or do not fit each other.
    """
    if protocol not in PROTOCOLS:
        raise ScoreError(f"protocol={protocol}: it is one of {', '.join(PROTOCOLS)}")
    if estimator not in (None, "lightgbm", "sklearn", "hist"):
        raise ScoreError(f"dci={estimator}: it is one of lightgbm, sklearn, hist")
    arrays = read(path, seed)
    found: dict[str, Any] = {"protocol": protocol, "seed": seed, "n": len(arrays["codes"]), "n_train": len(arrays["codes_train"])}
    reasons: dict[str, str] = {}
    estimator = estimator or ("sklearn" if protocol == "reference" else "lightgbm")
    own = jobs(arrays, protocol, seed, estimator, *((0, 0) if protocol == "reference" else (REFITS, RESAMPLES)))
    for k, (names, compute) in enumerate(own):
        measured = protocol == "atlas" and not OF_CODES & set(names)
        found |= attempt(compute, names, reasons, *(bounds(arrays, seed, estimator, k) if measured else ()))
    if "factors" not in arrays:
        unknown = arrays | {"factors": EMPTY, "factors_train": EMPTY}
        would = [name for names, _ in jobs(unknown, protocol, seed, estimator, 0, 0) for name in names]
        reasons |= {name: "needs factors beside the codes" for name in would if name not in found and name not in reasons}
    return found | {"not_applicable": reasons}


def read(path: Path, seed: int) -> dict[str, Array]:
    """The arrays by the names that metrics use, checked; half of ``codes`` serve as test items."""
    given = read_arrays(path)
    if "mus_train" in given:
        names = {"codes_train": "mus_train", "factors_train": "factors_train", "codes": "mus_test", "factors": "factors_test"}
        missing = [name for name in names.values() if name not in given]
        if missing:
            raise ScoreError(f"{path}: {', '.join(missing)} missing beside mus_train")
    elif "codes" in given:
        names = {"codes": "codes", "factors": "factors"}
    else:
        raise ScoreError(
            f"{path}: it has {', '.join(given) or 'no arrays'}; needed are codes, or mus_train with factors_train, ..."
        )
    for name in names.values():
        if name in given:
            check_table(path, name, given[name], LEAST, finite=not name.startswith("factors"))
    pairs = [("mus_train", "factors_train"), ("mus_test", "factors_test"), ("codes", "factors")]
    for codes, factors in pairs:
        if codes in names.values() and factors in given and len(given[codes]) != len(given[factors]):
            raise ScoreError(f"{path}: {factors} has {len(given[factors])} rows, {codes} has {len(given[codes])}")
    arrays = {name: given[own] for name, own in names.items() if own in given}
    for name in ("codes", "factors"):
        if "mus_train" in given and arrays[name].shape[1] != arrays[f"{name}_train"].shape[1]:
            train, test = names[f"{name}_train"], names[name]
            widths = arrays[f"{name}_train"].shape[1], arrays[name].shape[1]
            raise ScoreError(f"{path}: {train} has {widths[0]} columns, {test} has {widths[1]}")
    if "mus_train" not in given:
        order = np.random.default_rng(seed).permutation(len(arrays["codes"]))
        half = len(order) // 2
        arrays = {f"{name}{side}": array[rows] for name, array in arrays.items() for side, rows in _halves(order, half)}
    return arrays | _grid(path, given, arrays)


def _halves(order: Array, half: int) -> list[tuple[str, Array]]:
    return [("", order[:half]), ("_train", order[half:])]


def _grid(path: Path, given: Mapping[str, Array], arrays: Mapping[str, Array]) -> dict[str, Array]:
    """``factor_sizes`` and ``grid_mus`` where they are given and fit the factors."""
    found = {name: given[name] for name in ("factor_sizes", "grid_mus") if name in given}
    if (sizes := found.get("factor_sizes")) is not None and "factors" in arrays:
        factors = arrays["factors"].shape[1]
        if sizes.shape != (factors,) or not np.issubdtype(sizes.dtype, np.integer) or (sizes < 0).any():
            raise ScoreError(f"{path}: factor_sizes is {sizes.dtype} of shape {sizes.shape}; needed are {factors} whole numbers")
    if (grid := found.get("grid_mus")) is not None:
        check_table(path, "grid_mus", grid)
        if sizes is None or len(grid) != int(np.prod(sizes)) or grid.shape[1] != arrays["codes"].shape[1]:
            width = arrays["codes"].shape[1]
            raise ScoreError(f"{path}: grid_mus is {grid.shape}, not {width} columns for each combination of factor_sizes")
    return found


Job = tuple[Mapping[str, str], Callable[[], Measured]]


def bounds(arrays: Mapping[str, Array], seed: int, estimator: str, k: int) -> tuple[Callable[[], Measured], ...]:
    """The k-th score of shuffled items, which know nothing of the factors, and of the factors themselves as codes; one fit each."""

    def shuffled() -> Measured:
        rng = np.random.default_rng(seed)
        loose = {name: rng.permutation(arrays[name]) for name in ("codes", "codes_train", "grid_mus") if name in arrays}
        return jobs({**arrays, **loose}, "atlas", seed, estimator, 0, 0)[k][1]()

    def ideal() -> Measured:
        known = {"codes": arrays["factors"].astype(np.float64), "codes_train": arrays["factors_train"].astype(np.float64)}
        rest = {name: array for name, array in arrays.items() if name != "grid_mus"}
        return jobs({**rest, **known}, "atlas", seed, estimator, 0, 0)[k][1]()

    return shuffled, ideal


def jobs(arrays: Mapping[str, Array], protocol: str, seed: int, estimator: str, refits: int, resamples: int) -> list[Job]:
    """(name of a score -> "" for the value or the part that holds it, how it is computed)."""
    reference = protocol == "reference"
    # The study's scores of one sample are those of its training sample.
    z, v = arrays["codes_train"], arrays.get("factors_train")
    sizes = tuple(arrays["factor_sizes"].tolist()) if "factor_sizes" in arrays else None
    drawn_anew: Options = {"resamples": resamples}
    over: Options = drawn_anew | ({"dimensions": "all"} if reference else {})
    # Where a dimension is exactly constant the reference divides by 0 (modularity) or gives NaN (total correlation).
    varying: Options = drawn_anew | ({"dimensions": "varying"} if reference else {})
    cut: Options = drawn_anew | ({"estimator": REFERENCE} if reference else {})
    found: list[Job] = [
        ({"total_correlation": ""}, lambda: unsupervised.total_correlation(z, **varying)),
        ({"wasserstein_correlation_normalised": ""}, lambda: unsupervised.wasserstein_correlation(z, **over)),
        ({"wasserstein_correlation": ""}, lambda: unsupervised.wasserstein_correlation(z, normalised=False, **over)),
        ({"dimension_information": ""}, lambda: unsupervised.dimension_information(z, **cut)),
    ]
    if v is None:
        return found
    pair: Options = {
        "codes": arrays["codes"],
        "factors": arrays["factors"],
        "codes_train": z,
        "factors_train": v,
        "factor_sizes": sizes,
        "refits": refits,
    }
    alone: Options = {"codes": z, "factors": v, "factor_sizes": sizes}
    drawn: Options = alone | {"grid": arrays.get("grid_mus"), "seed": seed, "refits": refits}
    machine: Options = {"standardise": False, "score": "accuracy"} if reference else {}
    outliers, normaliser = ("kept", "max") if reference else ("drawn in", "quantile")
    trees: Options = {"estimator": estimator}
    importance: Options = {"importance": "raw"} if reference else {}
    informativeness = {
        "dci_informativeness_test": "",
        "dci_informativeness_train": "informativeness_train",
    }
    found += [
        ({"mig": ""}, lambda: disentanglement.mig(**alone, **cut)),
        ({"modularity": ""}, lambda: disentanglement.modularity(**alone, **(cut | varying))),
        ({"sap": ""}, lambda: separability.sap(**pair, **machine)),
        ({"sap_continuous": ""}, lambda: separability.sap(**pair, standardise=not reference, score="r2")),
        ({"explicitness_test": "", "explicitness_train": "train"}, lambda: separability.explicitness(**pair, outliers=outliers)),
        ({"irs": ""}, lambda: interventions.irs(**alone, **drawn_anew, normaliser=normaliser)),
        (
            {"beta_vae_score": "", "beta_vae_score_train": "train"},
            lambda: interventions.beta_vae_score(**drawn, standardise=not reference),
        ),
        (
            {"factor_vae_score": "", "factor_vae_score_train": "train"},
            lambda: interventions.factor_vae_score(**drawn, relative=not reference),
        ),
        ({"dci_disentanglement": ""}, lambda: dci.dci_disentanglement(**pair, **trees, **importance)),
        ({"dci_completeness": ""}, lambda: dci.dci_completeness(**pair, **trees, **importance)),
        (informativeness, lambda: dci.dci_informativeness(**pair, **trees, over_chance=not reference)),
    ]
    paths = (arrays.get("grid_mus"), sizes)
    found += [
        ({"flatness": "", "flatness_l1": "l1", "flatness_l2": "l2"}, lambda: traversals.flatness(*paths)),
        (
            {"axis_ratio": "", "linear_ratio": "linear_ratio", "axis_alignment": "alignment"},
            lambda: traversals.axis_ratio(*paths),
        ),
    ]
    if not reference:
        found += [
            ({"mig_sup": ""}, lambda: disentanglement.mig_sup(**alone, **drawn_anew)),
            ({"jemmig": ""}, lambda: disentanglement.jemmig(**alone, **drawn_anew)),
            ({"infom": ""}, lambda: infomec.infom(**alone, **drawn_anew)),
            ({"infoe": ""}, lambda: infomec.infoe(**pair)),
            ({"infoc": ""}, lambda: infomec.infoc(**alone, **drawn_anew)),
        ]
    return found
