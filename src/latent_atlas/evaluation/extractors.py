"""Feature extractors for Fréchet distances: small networks trained on the data set itself, and Inception where the user has it."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from latent_atlas.building import BuildError, instantiate
from latent_atlas.data.spec import Field
from latent_atlas.metrics.result import NotApplicable

INCEPTION = "6726825d"  # the published file of 2015-12-05 ends its name with these first digits of its sha256
SIDE = 32  # px: larger images are averaged down first, since the extractor is to take seconds


class FeatureError(ValueError):
    """Features that are not there or cannot be made; the message says what to do."""


class ImageStem(nn.Module):
    """(B, C, H, W) in [0, 1] to features (B, d): strided convolutions, and linear maps that keep places apart."""

    def __init__(self, shape: tuple[int, ...], dimensions: int, width: int = 16, hidden: int = 128) -> None:
        super().__init__()
        channels, *sides = shape
        self.size = tuple(min(SIDE, side) for side in sides)
        layers: list[nn.Module] = []
        h, w = self.size
        while min(h, w) > 4:
            # Batch normalization: places of a 32 px image are learned in half the steps.
            layers += [nn.Conv2d(channels, width, 4, stride=2, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
            channels, h, w = width, h // 2, w // 2
            width = min(64, 2 * width)
        layers += [nn.Flatten(), nn.Linear(channels * h * w, hidden), nn.ReLU(), nn.Linear(hidden, dimensions)]
        self.body = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        if tuple(x.shape[-2:]) != self.size:
            x = F.interpolate(x, size=self.size, mode="area")
        return self.body(x - 0.5)


class VectorStem(nn.Module):
    """(B, *shape) to features (B, d): standardised entries, one hidden layer and a linear map; counts by log(1 + x)."""

    mean: Tensor
    scale: Tensor

    def __init__(self, entries: int, dimensions: int, logarithm: bool = False, hidden: int = 128) -> None:
        super().__init__()
        self.logarithm = logarithm
        self.register_buffer("mean", torch.zeros(entries))
        self.register_buffer("scale", torch.ones(entries))
        self.body = nn.Sequential(nn.Linear(entries, hidden), nn.ReLU(), nn.Linear(hidden, dimensions))

    def fit(self, x: Tensor) -> None:
        """Takes mean and scale from training items; a constant entry keeps scale 1."""
        rows = self.raw(x)
        deviation = rows.std(0, correction=0)
        self.mean.copy_(rows.mean(0))
        self.scale.copy_(torch.where(deviation > 1e-6, deviation, torch.ones_like(deviation)))

    def raw(self, x: Tensor) -> Tensor:
        rows = x.flatten(1).float()
        return torch.log1p(rows.clamp(min=0)) if self.logarithm else rows

    def forward(self, x: Tensor) -> Tensor:
        return self.body((self.raw(x) - self.mean) / self.scale)


def stem(field: Field, dimensions: int) -> nn.Module:
    """The untrained stem for an observed field."""
    if field.kind == "image":
        return ImageStem(field.shape, dimensions)
    values = int(field.size) if field.kind == "tokens" and isinstance(field.size, int) else 1
    return VectorStem(math.prod(field.shape) * values, dimensions, logarithm=field.kind == "counts")


def as_input(field: Field, values: Tensor) -> Tensor:
    """Observations and what models answer in one form: tokens, and the likeliest of probabilities, become one-hot."""
    if field.kind != "tokens":
        return values.float()
    assert isinstance(field.size, int)
    tokens = values.argmax(-1) if values.ndim > len(field.shape) + 1 else values
    return F.one_hot(tokens.long(), field.size).float()


class Inception:
    """InceptionV3 (2015-12-05) with the user's own weights, through torch-fidelity; grey images are repeated to three channels."""

    dimensions = 2048

    def __init__(self, weights: str) -> None:
        try:
            from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3  # type: ignore[import-not-found]
        except ModuleNotFoundError as error:
            raise FeatureError("extractor inception needs torch-fidelity (pip install torch-fidelity), or choose domain") from error
        if not Path(weights).expanduser().is_file():
            raise FeatureError(f"extractor inception: no weights at {weights}; set evaluation.extractor.weights to your file")
        path = str(Path(weights).expanduser())
        self.net = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], feature_extractor_weights_path=path).eval()

    def __call__(self, x: Tensor) -> Tensor:
        pixels = (x.clamp(0, 1) * 255).round().to(torch.uint8)
        found: Tensor = self.net(pixels.expand(-1, 3, -1, -1) if pixels.shape[1] == 1 else pixels)[0]
        return found


def file_hash(path: str | Path) -> str:
    """sha256 of a file."""
    with Path(path).expanduser().open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def own_module(net: Any, weights: str | None = None) -> nn.Module:
    """Any network as extractor: built from its configuration (``_target_``), with the state of a file where one is named.

    Raises:
        FeatureError: what cannot be built, is no module, or does not take these weights.
    """
    try:
        found = instantiate(net)
    except (BuildError, ImportError) as error:
        raise FeatureError(f"extractor module: evaluation.extractor.net cannot be built: {error}") from error
    if not isinstance(found, nn.Module):
        raise FeatureError(f"extractor module: evaluation.extractor.net is {type(found).__name__} and no torch.nn.Module")
    if weights is not None:
        path = Path(weights).expanduser()
        try:
            found.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        except FileNotFoundError as error:
            raise FeatureError(f"extractor module: no weights at {weights}") from error
        except Exception as error:  # whatever a file of something else raises
            raise FeatureError(f"extractor module: {weights} does not fit: {str(error).splitlines()[0]}") from error
    return found.eval()


@dataclass(frozen=True)
class FeatureSet:
    """``features/<data>``: the extractor, its features of the reference sample (M, f), of other real items, and its class head."""

    name: str
    hash: str
    field: Field
    net: Any
    real: Tensor
    other: Tensor | None
    head: nn.Linear | None = None

    @torch.inference_mode()
    def extract(self, values: Tensor, batch_size: int = 512) -> Tensor:
        """Features (N, f) of observations or of a model's answers."""
        return torch.cat([self.net(as_input(self.field, part)).flatten(1) for part in values.split(batch_size)])

    @torch.inference_mode()
    def probabilities(self, values: Tensor) -> Tensor:
        """Class probabilities (N, C); ``NotApplicable`` where the data has no labels or the extractor never saw them."""
        if self.head is None:
            raise NotApplicable("needs labels that the extractor has learned")
        return self.head(F.relu(self.extract(values))).softmax(1)


def load_features(folder: Path, field: Field) -> FeatureSet:
    """Reads what ``make_features`` wrote; raises ``FeatureError`` where it is missing, of another data set or of other weights."""
    path = folder / "extractor.json"
    if not path.is_file():
        raise FeatureError(f"{path} is missing: make the features first (python pipelines/features.py data={folder.name})")
    card = json.loads(path.read_text(encoding="utf-8"))
    if card["shape"] != list(field.shape):
        raise FeatureError(
            f"{path} is for items of shape {card['shape']}, the data has {list(field.shape)}; make the features again"
        )
    if card["kind"] == "inception":
        net: Any = Inception(card["weights"])
        if file_hash(card["weights"]) != card["hash"]:
            raise FeatureError(f"{path}: {card['weights']} is another file than its features were made with; make them again")
    else:
        net = own_module(card["net"]) if card["kind"] == "module" else stem(field, card["dimensions"])
        net.load_state_dict(torch.load(folder / "extractor.pt", map_location="cpu", weights_only=True))
        net.eval()
    arrays = np.load(folder / "statistics.npz")
    other = torch.from_numpy(arrays["other"]) if len(arrays["other"]) else None
    head = None
    if (folder / "head.pt").is_file():
        weights = torch.load(folder / "head.pt", map_location="cpu", weights_only=True)
        head = nn.Linear(weights["weight"].shape[1], len(weights["weight"]))
        head.load_state_dict(weights)
    return FeatureSet(card["name"], card["hash"], field, net, torch.from_numpy(arrays["real"]), other, head)
