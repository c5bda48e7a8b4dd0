"""Disentanglement scores of codes that come from anywhere: an .npz in, a flat JSON out, no model needed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latent_atlas.metrics import dci, disentanglement, infomec, interventions, separability, unsupervised
from latent_atlas.metrics.result import Measured, NotApplicable

PROTOCOLS = ("atlas", "reference")
REFERENCE = "histogram20"
Array = NDArray[Any]
Options = dict[str, Any]


class ScoreError(ValueError):
    """Arrays that cannot be scored; the message names the file, what is wrong and what to do."""


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
    found: dict[str, Any] = {"protocol": protocol, "seed": seed, "n": len(arrays["codes"])}
    reasons: dict[str, str] = {}
    for names, compute in jobs(arrays, protocol, seed, estimator or ("sklearn" if protocol == "reference" else "lightgbm")):
        try:
            measured = compute()
        except NotApplicable as reason:
            reasons |= dict.fromkeys(names, str(reason))
            continue
        values = [measured.value, *(measured.parts[part] for part in names.values() if part)]
        found |= dict(zip(names, values, strict=True))
        if measured.interval:
            found[f"{next(iter(names))}_interval"] = list(measured.interval)
    return found | {"not_applicable": reasons}


def read(path: Path, seed: int) -> dict[str, Array]:
    """The arrays by the names that metrics use, checked."""
    if not path.is_file():
        raise ScoreError(f"{path}: there is no such file")
    try:
        with np.load(path, allow_pickle=False) as file:
            given = {name: file[name] for name in file.files}
    except (OSError, ValueError) as error:
        raise ScoreError(f"{path}: not an .npz of plain arrays ({str(error).splitlines()[0]})") from error
    if "mus_train" in given:
        arrays = {"codes_train": given["mus_train"], "factors_train": given.get("factors_train")}
        arrays |= {"codes": given.get("mus_test"), "factors": given.get("factors_test")}
        missing = [name for name in ("factors_train", "mus_test", "factors_test") if name not in given]
        if missing:
            raise ScoreError(f"{path}: {', '.join(missing)} missing beside mus_train")
    elif "codes" in given:
        z, v = given["codes"], given.get("factors")
        order = np.random.default_rng(seed).permutation(len(z))
        half = len(z) // 2
        arrays = {"codes": z[order[:half]], "codes_train": z[order[half:]]}
        if v is not None:
            _check(path, "factors", v, len(z))
            arrays |= {"factors": v[order[:half]], "factors_train": v[order[half:]]}
    else:
        raise ScoreError(
            f"{path}: it has {', '.join(given) or 'no arrays'}; needed are codes, or mus_train with factors_train, ..."
        )
    present = {name: array for name, array in arrays.items() if array is not None}
    for side in ("", "_train"):
        _check(path, f"codes{side}", present[f"codes{side}"], len(present[f"codes{side}"]))
        if f"factors{side}" in present:
            _check(path, f"factors{side}", present[f"factors{side}"], len(present[f"codes{side}"]))
    for name in ("factor_sizes", "grid_mus"):
        if name in given:
            present[name] = given[name]
    if "grid_mus" in present:
        sizes = present.get("factor_sizes")
        if sizes is None or len(present["grid_mus"]) != int(np.prod(sizes)):
            raise ScoreError(f"{path}: grid_mus has {len(present['grid_mus'])} rows, not one for each combination of factor_sizes")
    return present


def _check(path: Path, name: str, array: Array, n: int) -> None:
    if array.ndim != 2 or not np.issubdtype(array.dtype, np.number):
        raise ScoreError(f"{path}: {name} is {array.dtype} of shape {array.shape}; needed is a table (N, columns) of numbers")
    if len(array) != n:
        raise ScoreError(f"{path}: {name} has {len(array)} rows, its codes have {n}")
    if name.startswith("codes") and not np.isfinite(array).all():
        raise ScoreError(f"{path}: {name} has {int((~np.isfinite(array)).sum())} entries that are NaN or infinite")
    if len(array) < 4:
        raise ScoreError(f"{path}: {name} has {len(array)} rows; at least 4 are needed")


Job = tuple[Mapping[str, str], Callable[[], Measured]]


def jobs(arrays: Mapping[str, Array], protocol: str, seed: int, estimator: str) -> list[Job]:
    """(name of a score -> "" for the value or the part that holds it, how it is computed)."""
    reference = protocol == "reference"
    # The study's scores of one sample are those of its training sample.
    z, v = arrays["codes_train"], arrays.get("factors_train")
    sizes = tuple(arrays["factor_sizes"].tolist()) if "factor_sizes" in arrays else None
    over: Options = {"dimensions": "all"} if reference else {}
    # Where a dimension is exactly constant the reference divides by 0 (modularity) or gives NaN (total correlation).
    varying: Options = {"dimensions": "varying"} if reference else {}
    cut: Options = {"estimator": REFERENCE} if reference else {}
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
    }
    alone: Options = {"codes": z, "factors": v, "factor_sizes": sizes}
    drawn: Options = alone | {"grid": arrays.get("grid_mus"), "seed": seed}
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
        ({"modularity": ""}, lambda: disentanglement.modularity(**alone, **cut, **varying)),
        ({"sap": ""}, lambda: separability.sap(**pair, **machine)),
        ({"sap_continuous": ""}, lambda: separability.sap(**pair, standardise=not reference, score="r2")),
        ({"explicitness_test": "", "explicitness_train": "train"}, lambda: separability.explicitness(**pair, outliers=outliers)),
        ({"irs": ""}, lambda: interventions.irs(**alone, normaliser=normaliser)),
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
    if not reference:
        found += [
            ({"mig_sup": ""}, lambda: disentanglement.mig_sup(**alone)),
            ({"jemmig": ""}, lambda: disentanglement.jemmig(**alone)),
            ({"infom": ""}, lambda: infomec.infom(**alone)),
            ({"infoe": ""}, lambda: infomec.infoe(**pair)),
            ({"infoc": ""}, lambda: infomec.infoc(**alone)),
        ]
    return found


def write_scores(found: Mapping[str, Any], out: Path | None) -> None:
    """Prints the scores, and writes them to a file whole or not at all."""
    text = json.dumps(found, indent=1, allow_nan=False, ensure_ascii=False)
    if out is None:
        print(text)
        return
    partial = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(text + "\n", encoding="utf-8")
        partial.replace(out)
    except OSError as error:
        raise ScoreError(f"cannot write {out}: {error.strerror}") from error
    finally:
        partial.unlink(missing_ok=True)
    print(f"{sum(isinstance(value, float) for value in found.values())} scores in {out}")
