"""A trained model as an MLflow model: arrays in, arrays out, in any process, with the code it needs inside."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import torch
from mlflow.models import ModelSignature
from mlflow.types import DataType, ParamSchema, ParamSpec
from numpy.typing import NDArray
from torch import Tensor

from latent_atlas.loading import load_folder
from latent_atlas.models.base import LatentModel

VERBS = ("encode", "decode", "reconstruct", "sample")
CHUNK = 256
# Executed by MLflow when the model is loaded: no pickle, so no Python version is frozen into it.
ENTRY = """\
from mlflow.models import set_model

from latent_atlas.training.pyfunc import Predictor

set_model(Predictor())
"""


class PredictError(ValueError):
    """A request that this model cannot answer; the message says what it can."""


class Predictor(mlflow.pyfunc.PythonModel):
    """``predict(array, params={"verb": ..., "n": ..., "seed": ...})``, float32 NumPy both ways.

    Observations are in the data's own layout: images (N, H, W, C) in [0, 1], vectors (N, d), tokens (N, L). Codes are (N, d).

    ============  ==================  ============================================================
    verb          array               gives
    ============  ==================  ============================================================
    encode        observations        codes: the mode of q(z given x)
    decode        codes               observations: the mean of p(x given z)
    reconstruct   observations        observations
    sample        ignored             n observations, the same for the same seed
    ============  ==================  ============================================================
    """

    def load_context(self, context: Any) -> None:
        """Called once by MLflow."""
        self.model: LatentModel = load_folder(context.artifacts["run"])

    # A plain array type: MLflow takes other hints for a schema, and warns of none.
    def predict(self, context: Any, model_input: np.ndarray, params: Any = None) -> np.ndarray:
        """See the class."""
        return self.answer(model_input, params)

    def answer(self, model_input: Any, params: Mapping[str, Any] | None = None) -> NDArray[np.float32]:
        """The same, for Python."""
        asked = {"verb": "reconstruct", "n": 8, "seed": 0, **(params or {})}
        verb = asked["verb"]
        able = verbs(self.model)
        if verb not in able:
            name = type(self.model).__name__
            raise PredictError(f"{name} cannot {verb!r}; it can: {', '.join(able)} (params={{'verb': ...}})")
        with torch.no_grad():
            if verb == "sample":
                return self._sample(int(asked["n"]), int(asked["seed"]))
            return self._mapped(model_input, verb)

    def _sample(self, n: int, seed: int) -> NDArray[np.float32]:
        drawn = self.model.sample(n, generator=torch.Generator().manual_seed(seed))
        return self._to_layout(drawn)

    def _mapped(self, model_input: Any, verb: str) -> NDArray[np.float32]:
        array = np.asarray(model_input, np.float32)
        to_tensor = self._codes if verb == "decode" else self._observations
        work: Mapping[str, Callable[[Tensor], NDArray[np.float32]]] = {
            "encode": lambda x: _numpy(self._encode(x)),
            "decode": lambda z: self._to_layout(self._decode(z)),
            "reconstruct": lambda x: self._to_layout(self._decode(self._encode(x))),
        }
        tensor = to_tensor(array)
        if not len(tensor):
            raise PredictError(f"{verb}: the array is empty")
        return np.concatenate([work[verb](tensor[begin : begin + CHUNK]) for begin in range(0, len(tensor), CHUNK)])

    def _encode(self, x: Tensor) -> Tensor:
        return self.model.space.coordinates(self.model.encode(x).mode)  # type: ignore[operator]

    def _decode(self, codes: Tensor) -> Tensor:
        return self.model.decode(self.model.space.from_coordinates(codes)).mean  # type: ignore[operator]

    def _codes(self, array: NDArray[np.float32]) -> Tensor:
        wanted = (self.model.space.dimensions,)
        if array.shape[1:] != wanted:
            raise PredictError(f"decode takes codes of shape (N, {wanted[0]}); this array is {array.shape}")
        return torch.from_numpy(np.ascontiguousarray(array))

    def _observations(self, array: NDArray[np.float32]) -> Tensor:
        field = self.model.spec.x
        shape = _layout(field.shape) if field.kind == "image" else field.shape
        if array.shape[1:] != shape:
            raise PredictError(
                f"this model takes {field.kind} of shape (N, {', '.join(map(str, shape))}); this array is {array.shape}"
            )
        tensor = torch.from_numpy(np.ascontiguousarray(array)).to(getattr(torch, field.dtype))
        return tensor.permute(0, 3, 1, 2) if field.kind == "image" else tensor

    def _to_layout(self, x: Tensor) -> NDArray[np.float32]:
        return _numpy(x.permute(0, 2, 3, 1) if self.model.spec.x.kind == "image" else x)


def verbs(model: LatentModel) -> tuple[str, ...]:
    """Those of ``VERBS`` that a model has; it reconstructs if it encodes and decodes."""
    has = set(model.verbs())
    if {"encode", "decode"} <= has:
        has.add("reconstruct")
    return tuple(verb for verb in VERBS if verb in has)


def _layout(shape: tuple[int, ...]) -> tuple[int, ...]:
    channels, height, width = shape
    return (height, width, channels)


def _numpy(x: Tensor) -> NDArray[np.float32]:
    return np.ascontiguousarray(x.float().cpu().numpy())


def save(folder: Path, path: Path) -> None:
    """Writes the MLflow model of a trained folder, with this package's source, to ``path``."""
    with tempfile.TemporaryDirectory() as scratch:
        code = Path(scratch) / "latent_atlas"
        shutil.copytree(Path(__file__).resolve().parents[1], code, ignore=shutil.ignore_patterns("__pycache__", "assets"))
        entry = Path(scratch) / "entry.py"
        entry.write_text(ENTRY, encoding="utf-8")
        signature = ModelSignature(
            params=ParamSchema(
                [
                    ParamSpec("verb", DataType.string, "reconstruct"),
                    ParamSpec("n", DataType.long, 8),
                    ParamSpec("seed", DataType.long, 0),
                ]
            )
        )
        with warnings.catch_warnings(), unchecked_requirements():
            warnings.simplefilter("ignore")  # advice to give an input example: the verbs take arrays of different shapes
            mlflow.pyfunc.save_model(
                str(path),
                python_model=str(entry),
                artifacts={"run": str(folder)},
                code_paths=[str(code)],
                # Given, not inferred: MLflow would start a process and import everything to find them out (13 s).
                pip_requirements=[f"{name}=={version(name)}" for name in ("torch", "numpy", "PyYAML", "mlflow")],
                signature=signature,
            )


@contextlib.contextmanager
def unchecked_requirements() -> Iterator[None]:
    """Without MLflow's comparison of the requirements with this environment.

    They were read from it, and the comparison looks at every file of every installed package: a second or two of each run. An
    MLflow that has no such function compares as it likes.
    """
    from mlflow.utils import environment

    name = "warn_dependency_requirement_mismatches"
    check = getattr(environment, name, None)
    if check is None:
        yield
        return
    setattr(environment, name, lambda requirements: None)
    try:
        yield
    finally:
        setattr(environment, name, check)


def log(folder: Path, run_id: str) -> None:
    """The same as the artifact ``model`` of a run: ``mlflow.pyfunc.load_model("runs:/<id>/model")``."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "model"
        save(folder, path)
        mlflow.MlflowClient().log_artifacts(run_id, str(path), "model")
