"""What an evaluation computed of given weights, for the next one: a new metric costs no new pass through the model."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from latent_atlas.evaluation.encoded import Encoded, PosteriorArrays
from latent_atlas.training.outputs import atomic_save

KEPT = (
    "encoded", "encoded_train", "recon", "recon_train", "samples", "features_recon", "features_samples", "log_weights",
    "log_prob", "likelihood", "posterior_log_density", "noisy_codes", "features_train",
)  # fmt: skip
LARGEST = 256 << 20  # bytes of one array: what is larger is computed anew rather than fill the disk


class Kept:
    """``work/arrays/<run>/<mark>``: one file for each array of ``KEPT``, written whole; those of the run's earlier weights go.

    Args:
        folder: of the run.
        mark: of what all arrays depend on: weights, data, extractor, code of the model.
        code: a digest of the code that computes metrics, for the scores of those that ask for the model itself.
    """

    def __init__(self, folder: Path, mark: str, code: str = "") -> None:
        self.folder, self.code = folder / mark, code
        if folder.is_dir():
            for other in folder.iterdir():
                if other != self.folder:
                    shutil.rmtree(other, ignore_errors=True)

    def get(self, name: str, make: Callable[[], Any], on: Mapping[str, Any] | None = None) -> Any:
        """The array as it was kept, or made and kept; one that cannot be read is made again.

        Args:
            name: of the array.
            make: computes it.
            on: the numbers that it depends on beside the mark; of others nothing is computed anew.
        """
        said = json.dumps(on or {}, sort_keys=True, default=str)
        path = self.folder / f"{name}-{hashlib.sha256(said.encode()).hexdigest()[:12]}.pt"
        if path.is_file():
            try:
                with torch.serialization.safe_globals([Encoded, PosteriorArrays]):
                    return torch.load(path, map_location="cpu", weights_only=True)
            except Exception:  # whatever a damaged archive raises
                path.unlink(missing_ok=True)
        found = make()
        if _bytes(found) <= LARGEST:
            with contextlib.suppress(OSError):  # a full disk: no metric fails because its arrays could not be kept
                self.folder.mkdir(parents=True, exist_ok=True)
                atomic_save(found, path)
        return found


def _bytes(value: Any) -> int:
    if isinstance(value, Tensor):
        return value.nbytes
    if isinstance(value, dict):
        return sum(map(_bytes, value.values()))
    if is_dataclass(value):
        return sum(_bytes(getattr(value, field.name)) for field in fields(value))
    return 0
