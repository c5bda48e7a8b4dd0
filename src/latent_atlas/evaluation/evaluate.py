"""The stage ``evaluate``: every metric, the codes, the pictures and a verdict of one trained model."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latent_atlas import workspace
from latent_atlas.data.datamodule import DataModule
from latent_atlas.data.store import replacing
from latent_atlas.evaluation import arrays as arrays_module
from latent_atlas.evaluation import encoded as encoded_module
from latent_atlas.evaluation import extractors as extractors_module
from latent_atlas.evaluation import pictures
from latent_atlas.evaluation.arrays import Arrays
from latent_atlas.evaluation.extractors import FeatureSet, load_features
from latent_atlas.evaluation.findings import findings
from latent_atlas.evaluation.kept import Kept
from latent_atlas.evaluation.references import References
from latent_atlas.evaluation.scoring import Score, score
from latent_atlas.evaluation.table import description, page
from latent_atlas.evaluation.verdict import headline, traversal_order, verdict
from latent_atlas.loading import load_folder
from latent_atlas.metrics.result import NotApplicable
from latent_atlas.operations import samplers
from latent_atlas.threads import torch_threads
from latent_atlas.training import tracking
from latent_atlas.training.allocator import keep_memory

Section = Mapping[str, Any]


class EvaluationError(RuntimeError):
    """No metric could be computed; the message lists why."""


def evaluate(
    section: Section, train_section: Section, *, data: Path, features: Path, model: Path, out: Path, scores: Path
) -> dict[str, Any]:
    """Evaluates the model in the folder ``model`` and writes the directory ``out`` and the flat JSON ``scores``.

    ``out`` holds evaluation.json (returned), latents.npz and, for images, pictures.npz and PNGs. Both are written whole or not at
    all, and logged to the MLflow run that trained the model.

    Args:
        section: ``evaluate`` of the run's plan: ``tier`` and ``evaluation`` with its ``metrics``.
        train_section: ``train`` of the run's plan: ``run``, ``data``, ``seed``, ``model``, ``trainer``.
        data: the data directory.
        features: the directory of the extractor.
        model: the folder of model.pt, config.yaml and train.json.
        out: the directory to write.
        scores: the JSON file to write.

    Raises:
        LoadError: weights that are not those that training wrote.
        EvaluationError: no metric is ok.
    """
    conf = section["evaluation"]
    keep_memory()
    torch.set_grad_enabled(False)
    try:
        with torch_threads(train_section.get("trainer", {}).get("threads", conf["threads"])):
            return _evaluate(section, train_section, data, features, model, out, scores)
    finally:
        torch.set_grad_enabled(True)


def _evaluate(
    section: Section, train_section: Section, data: Path, features: Path, folder: Path, out: Path, scores: Path
) -> dict[str, Any]:
    conf, start = section["evaluation"], time.perf_counter()
    trained = json.loads((folder / "train.json").read_text(encoding="utf-8"))
    model = load_folder(folder).to(device(train_section.get("trainer", {}).get("accelerator", "cpu")))
    module = DataModule(data, resident=False)
    extractor = load_features(features, module.spec.x)
    folder_kept = workspace.work() / "arrays" / train_section["run"]
    kept = Kept(folder_kept, mark(train_section, trained, module, extractor), str(section.get("code", "")))
    arrays = Arrays(model, module, extractor, conf["n_samples"], conf["batch_size"], conf.get("seed", 0), conf, kept)
    width = model.space.dimensions if "encode" in model.verbs() else None
    references = References(arrays, width, features.parent / ".floors", str(section.get("code", "")))
    found = dict(
        score(metric, arrays, conf["name"], conf.get("protocol", "atlas"), references) for metric in conf["metrics"].values()
    )
    ok = {key: entry["value"] for key, entry in found.items() if entry["status"] == "ok"}
    if not ok:
        reasons = "; ".join(f"{key}: {entry['reason']}" for key, entry in found.items())
        raise EvaluationError(f"{train_section['run']}: no metric could be computed. {reasons}")
    codes, kl = had(arrays, "codes"), getattr(had(arrays, "posterior"), "kl_per_dimension", None)
    order = traversal_order(codes, kl)
    unit = "dimension" if kl is None or len(kl) == model.space.dimensions else "part"
    drawn, said = charted(arrays, codes)
    result = report(section, train_section, trained, found, arrays) | {
        "verdict": verdict(found, kl, unit),
        "findings": [finding.plain() for finding in findings(found, kl, unit)],
        "verbs": list(model.verbs()),
        "traversal_order": order,
        "kl_per_dimension": None if kl is None else kl.tolist(),
        "dimensions": model.space.dimensions,
        "chart": said,
    }
    with replacing(out) as fresh:
        write_json(result, fresh / "evaluation.json")
        (fresh / "scores.html").write_text(page(result), encoding="utf-8")
        np.savez(fresh / "latents.npz", **latents(arrays, codes, kl), **drawn)  # type: ignore[arg-type]
        if module.spec.x.kind == "image":
            drawn = pictures.draw(model.cpu(), module.witnesses(), codes, order, arrays.seed)
            pictures.save(drawn | copies(found, arrays) | refitted(arrays), fresh)
    write_json(dict(sorted(ok.items())), scores)
    # Wall times are no part of a result that repeats; where sampling is iterative, it is most of them.
    seconds = {"evaluate": time.perf_counter() - start} | ({"sampling": s} if (s := arrays.sampling_seconds) is not None else {})
    log(section, trained, result, out, seconds)
    return result


def mark(train_section: Section, trained: Mapping[str, Any], data: DataModule, features: FeatureSet) -> str:
    """What all arrays of an evaluation depend on: weights, the model's code, data and extractor; not numbers, not the metrics."""
    sources = [Path(module.__file__ or "").read_bytes() for module in (arrays_module, encoded_module, extractors_module)]
    parts = [trained["sha256"], train_section.get("code"), data.card["content_hash"], features.hash]
    found = hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode())
    for source in sources:
        found.update(source)
    return found.hexdigest()[:16]


def device(accelerator: str) -> torch.device:
    """Where the model runs: an accelerator if training was told to use one and it is here."""
    if accelerator in ("gpu", "cuda", "auto") and torch.cuda.is_available():
        return torch.device("cuda")
    if accelerator in ("gpu", "mps", "auto") and torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def had(arrays: Arrays, name: str) -> Any:
    """An array, or ``None`` where it cannot be had; why stands in the scores that need it."""
    try:
        return arrays.get(name)
    except Exception:
        return None


def report(
    section: Section, train_section: Section, trained: Mapping[str, Any], found: Mapping[str, Score], arrays: Arrays
) -> dict[str, Any]:
    """Who was evaluated on what, the scores and the headline."""
    keys, reasons = headline(found, section["evaluation"]["headline"])
    return {
        "run": train_section["run"],
        "data": train_section["data"],
        "model": train_section["model"]["name"],
        "family": train_section["model"].get("family", "other"),
        "tier": section.get("tier", "own"),
        "seed": train_section["seed"],
        "mlflow_run_id": trained.get("mlflow_run_id"),
        "budget": section["evaluation"]["name"],
        "protocol": section["evaluation"].get("protocol", "atlas"),
        "split": arrays.split,
        "n": len(arrays.rows),
        "witnesses": arrays.data.witnesses()["index"].tolist(),
        "scores": dict(found),
        "headline": keys,
        "headline_reasons": reasons,
    }


def copies(found: Mapping[str, Score], arrays: Arrays) -> dict[str, pictures.Picture]:
    """The samples that lie nearest to training items, and these items, where a metric has found them."""
    pairs = next((entry["parts"]["pairs"] for entry in found.values() if (entry.get("parts") or {}).get("pairs")), None)
    if not pairs:
        return {}
    samples = arrays.get("samples")[[sample for sample, _, _ in pairs]]
    items = arrays.data.take(arrays.get("rows_train")[[item for _, item, _ in pairs]])[arrays.data.spec.observation]
    return {"memorisation_samples": pictures.pixels(samples), "memorisation_train": pictures.pixels(items)}


def refitted(arrays: Arrays) -> dict[str, pictures.Picture]:
    """The first draws of a mixture fitted to training codes, beside those of the prior, where the model decodes them."""
    codes = had(arrays, "codes_train")
    if codes is None or "decode" not in arrays.model.verbs() or arrays.model.conditions:
        return {}
    try:
        mixture = samplers.fit("mixture", codes, arrays.seed)
    except NotApplicable:
        return {}
    drawn = samplers.decoded(arrays.model, mixture, pictures.WITNESSES, torch.Generator().manual_seed(arrays.seed))
    return {"samples_mixture": pictures.pixels(drawn)}


def latents(arrays: Arrays, codes: Tensor | None, kl: Tensor | None) -> dict[str, np.ndarray]:
    """The codes of the items looked at, and what is known of these items."""
    found = {"index": arrays.rows}
    optional = {"codes": codes, "kl_per_dimension": kl} | {name: had(arrays, name) for name in ("factors", "labels")}
    for name, value in optional.items():
        if value is not None:
            found[name] = value.numpy()
    return found


def charted(arrays: Arrays, codes: Tensor | None) -> tuple[dict[str, np.ndarray], str | None]:
    """The codes on their space's chart as seen from their middle, ``xy`` (N, 2), its ``outline`` (P, 2), and how it draws them."""
    if codes is None or not len(codes) or not bool(codes.isfinite().all()):
        return {}, None
    space = arrays.model.space
    z = space.from_coordinates(codes.to(arrays.device))
    space.orient(space.coordinates(z))
    middle = space.project(space.from_coordinates(space.coordinates(z).mean(0, keepdim=True)))[0]
    xy, outline = space.chart(z, at=middle)
    found = {"xy": xy.cpu().numpy()}
    # The circle in flat space is that of a standard normal prior: it says nothing where no posterior was held against one.
    flat = hasattr(space, "standard_normal")
    if not flat or (space.standard_normal and arrays.get("posterior").kl is not None):
        found["outline"] = outline.cpu().numpy()
    return found, space.drawn(space.coordinates(z))


def write_json(value: Any, path: Path) -> None:
    """Writes a JSON file whole or not at all; a NaN is an error, never a token in the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_text(json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False) + "\n", encoding="utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def log(section: Section, trained: Mapping[str, Any], result: Mapping[str, Any], out: Path, seconds: Mapping[str, float]) -> None:
    """Adds scores, headline, verdict, pictures and wall times to the MLflow run of the training."""
    tags = {name: str(result[name]) for name in ("data", "model", "family", "seed", "tier")}
    values = {key: entry["value"] for key, entry in result["scores"].items() if entry["status"] == "ok"}
    shown = {f"headline/{use}": values[key] for use, key in result["headline"].items() if key}
    with tracking.reopen_tracker(section.get("tracking"), trained.get("mlflow_run_id"), result["run"], tags) as tracker:
        tracker.scores(shown | {f"score/{key}": value for key, value in values.items()})
        tracker.scores({f"time/{name}_seconds": value for name, value in seconds.items()})
        tracker.describe(description(result))
        tracker.pictures(sorted(out.glob("*.png")))
        tracker.pictures([out / "evaluation.json", out / "scores.html"], "evaluation")
