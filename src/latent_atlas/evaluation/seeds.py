"""Whether the seeds of one model find the same dimensions (UDR), from the codes that evaluations keep: of a page, of a sweep."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

ITEMS = 5000  # whose codes are compared
MEANING = (
    "UDR: do the seeds of one model find the same dimensions, up to sign and order? 1 is all of them; higher is better. "
    "Median over pairs of seeds of how well each dimension of one is a single dimension of the other (Duan et al. 2020)."
)
INTERVAL = "delete-one jackknife over seeds"
SILENT = ("data=", "model=", "run=", "seed=", "tracking")  # overrides that stand elsewhere in a label, or change nothing


@dataclass(frozen=True)
class Agreement:
    """UDR over the seeds of one model, or the reason why there is none."""

    value: float | None
    interval: tuple[float, float] | None = None
    floor: float | None = None
    ceiling: float | None = None
    span: tuple[float, float] | None = None
    n: int = 0
    seeds: int = 0
    reason: str = ""

    def plain(self) -> dict[str, Any]:
        """As JSON has it: a score with all that stands beside it."""
        about = {"metric": "udr", "unit": "1", "direction": "max", "meaning": MEANING, "similarity": "spearman"}
        bounds = {
            "interval_by": INTERVAL if self.interval else None,
            "floor_by": "shuffled items",
            "ceiling_by": "a seed with itself",
        }
        found = dataclasses.asdict(self) | {"reason": self.reason or None}
        return about | found | bounds | {"status": "not applicable" if self.value is None else "ok"}


def agreement(latents: Sequence[Mapping[str, np.ndarray]]) -> Agreement:
    """Of the arrays of each seed's latents.npz: ``codes`` and ``index`` of the same items, ``kl_per_dimension`` if there is one."""
    if len(latents) < 2:
        return Agreement(None, reason="one seed")
    codes = [one.get("codes") for one in latents]
    if any(one is None or one.ndim != 2 or len(one) < 3 for one in codes):
        return Agreement(None, reason="a seed has no codes")
    index = [one.get("index") for one in latents]
    if any(len(one) != len(codes[0]) for one in codes) or not all(  # type: ignore[arg-type]
        one is not None and index[0] is not None and np.array_equal(one, index[0]) for one in index
    ):
        return Agreement(None, reason="the seeds' codes are of different items")
    kl = [one.get("kl_per_dimension") for one in latents]
    known = all(one is not None and one.shape == (code.shape[1],) for one, code in zip(kl, codes, strict=True))  # type: ignore
    # Only where a model has seeds: its module needs torch, which takes longer to import than a page to build.
    from latent_atlas.metrics.result import NotApplicable
    from latent_atlas.metrics.unsupervised import udr

    try:
        used = [one[:ITEMS] for one in codes if one is not None]
        given = [one for one in kl if one is not None] if known else None
        found = udr(used, given)
        # The same code twice: what full agreement gives at this N and width.
        itself = [udr([one] * 2, [given[k]] * 2 if given else None).value for k, one in enumerate(used)]
    except NotApplicable as error:
        return Agreement(None, reason=str(error))
    pairs = found.parts["pairs"]
    ends, ceiling, n = (min(pairs), max(pairs)), statistics.median(itself), int(found.provenance["n"])
    return Agreement(found.value, found.interval, found.floor, ceiling, ends, n, len(latents))


def of_jobs(folder: Path) -> dict[str, Agreement]:
    """Of a sweep's finished jobs: those that differ by seed alone, under the name of data, model and other overrides."""
    models: dict[str, list[Path]] = {}
    for path in sorted(folder.glob("*/job.yaml")):
        entry = yaml.safe_load(path.read_text(encoding="utf-8"))
        words = [word for word in str(entry["tag"]).split() if not word.lstrip("+").startswith(SILENT)]
        models.setdefault(" ".join([f"{entry['data']}-{entry['model']}", *words]), []).append(path.parent)
    return {name: agreement([_arrays(job) for job in jobs]) for name, jobs in models.items() if len(jobs) > 1}


def _arrays(job: Path) -> dict[str, np.ndarray]:
    path = job / "evaluation" / "latents.npz"
    if not path.is_file():
        return {}
    with np.load(path, allow_pickle=False) as kept:
        return {name: kept[name] for name in ("codes", "index", "kl_per_dimension") if name in kept.files}
