"""Floors and ceilings: the same metric, at the same N, of something whose worth is known.

A stand-in replaces some words of the vocabulary: a random network instead of the encoder, the factors instead of the codes. Those
that depend on the data alone are scored once for each data set, width, N and seed, and kept beside the features.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from latent_atlas.evaluation.arrays import SHAKEN, Arrays
from latent_atlas.evaluation.encoded import PosteriorArrays
from latent_atlas.evaluation.extractors import as_input, stem
from latent_atlas.metrics.result import NotApplicable
from latent_atlas.models.likelihoods import Bernoulli, Gaussian

# What only a model can give: a stand-in must replace each such word that a metric insists on.
OF_THE_MODEL = frozenset({
    "recon", "codes", "posterior", "posterior_log_density", "indices", "codebook_size", "samples", "features_recon",
    "features_samples", "probabilities_samples", "log_prob", "log_weights", "draws", "prior", "noisy_codes",
    "codes_train", "variances_train", "recon_train", "encode", "decode", "space",
})  # fmt: skip
TITLES = {
    "random_encoder": "random encoder",
    "pca": "PCA",
    "mean_item": "mean item",
    "factors": "factors as codes",
    "real": "other real items",
    "copy": "the items themselves",
    "raw": "raw observations",
    "train_copy": "copy of the training set",
}
PCA_ITEMS = 10_000


class StandIn:
    """Arrays in which some words come from elsewhere; what it replaces is computed when asked for."""

    def __init__(self, arrays: Arrays, name: str, width: int) -> None:
        self.arrays, self.name, self.width = arrays, name, width
        self.words: dict[str, Callable[[], Any]] = getattr(self, f"_{name}")()
        self._made: dict[str, Any] = {}

    def serves(self, wanted: Mapping[str, bool]) -> bool:
        """Whether a metric that asks for these words can be computed without the model."""
        return all(word in self.words for word, insists in wanted.items() if insists and word in OF_THE_MODEL)

    def get(self, word: str) -> Any:
        """As ``Arrays.get``; a reference has no interval of its own, so nothing is refitted or resampled."""
        if word in ("refits", "resamples"):
            return 0
        if word in self.words:
            if word not in self._made:
                self._made[word] = self.words[word]()
            return self._made[word]
        if word in OF_THE_MODEL:
            raise NotApplicable(f"{TITLES[self.name]} has no {word}")
        return self.arrays.get(word)

    def _of_encoder(self, encode: Callable[[Tensor], Tensor]) -> dict[str, Callable[[], Any]]:
        def noisy() -> dict[float, Tensor]:
            x, noise = self.arrays.get("x")[:SHAKEN], torch.Generator().manual_seed(self.arrays.seed * 1000 + 5)
            bounded = self.arrays.data.spec.x.kind == "image"
            shaken = {float(s): x + float(s) * torch.randn(x.shape, generator=noise) for s in self.arrays.settings["noise"]}
            return {sigma: encode(values.clamp(0, 1) if bounded else values) for sigma, values in shaken.items()}

        return {
            "codes": lambda: encode(self.arrays.get("x")),
            "codes_train": lambda: encode(self.arrays.get("x_train")),
            "noisy_codes": noisy,
            "encode": lambda: encode,
        }

    def _random_encoder(self) -> dict[str, Callable[[], Any]]:
        field, seed = self.arrays.data.spec.x, self.arrays.seed
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            net = stem(field, self.width).eval()

        def raw(x: Tensor) -> Tensor:
            return torch.cat([net(as_input(field, part)) for part in x.split(self.arrays.batch_size)])

        scale: list[tuple[Tensor, Tensor]] = []

        def encode(x: Tensor) -> Tensor:
            # An untrained network's scale is an accident of its layers; metrics that know the prior's would call it dead.
            if not scale:
                rows = raw(self.arrays.get("x_train"))
                scale.append((rows.mean(0), rows.std(0).clamp(min=1e-6)))
            return (raw(x) - scale[0][0]) / scale[0][1]

        return self._of_encoder(encode)

    def _pca(self) -> dict[str, Callable[[], Any]]:
        fitted: list[tuple[Tensor, Tensor]] = []

        def components() -> tuple[Tensor, Tensor]:
            if not fitted:
                rows = self._flat(self.arrays.get("x_train")[:PCA_ITEMS])
                mean = rows.mean(0)
                with torch.random.fork_rng(devices=[]):
                    torch.manual_seed(0)
                    width = min(self.width, *rows.shape)
                    fitted.append((mean, torch.pca_lowrank(rows - mean, q=width, center=False, niter=6)[2]))
            return fitted[0]

        def encode(x: Tensor) -> Tensor:
            mean, axes = components()
            return (self._flat(x) - mean) @ axes

        def decode(codes: Tensor) -> Tensor:
            (mean, axes), field = components(), self.arrays.data.spec.x
            back = (codes @ axes.T + mean).reshape(len(codes), *field.shape)
            return back.clamp(0, 1) if field.kind == "image" else back

        def recon(word: str) -> Tensor:
            return decode(encode(self.arrays.get(word)))

        words = self._of_encoder(encode) | {"recon": lambda: recon("x"), "recon_train": lambda: recon("x_train")}
        words |= {"decode": lambda: decode}
        return words | {"features_recon": lambda: self._features(words["recon"]()[: self.arrays.reference])}

    def _mean_item(self) -> dict[str, Callable[[], Any]]:
        def mean(n: int) -> Tensor:
            x = self._numbers(self.arrays.get("x_train"))
            return x.mean(0, keepdim=True).expand(n, *x.shape[1:])

        def log_prob() -> Tensor:
            """Of a decoder that answers the mean training item to everything, in the family of the model's own likelihood."""
            x, entries = self._numbers(self.arrays.get("x")), math.prod(self.arrays.get("x").shape[1:])
            family = self.arrays.get("likelihood")
            if family == "bernoulli":
                average = self._numbers(self.arrays.get("x_train")).mean(0, keepdim=True).clamp(1e-3, 1 - 1e-3)
                return Bernoulli(average.logit().expand_as(x)).log_prob(x).double()
            if family == "gaussian":
                average = mean(len(x))
                residual = self.arrays.get("x_train") - average[:1]
                log_scale = residual.square().mean().sqrt().clamp(min=1e-6).log()
                return Gaussian(average, log_scale).log_prob(x).double()
            raise NotApplicable(f"no floor is known for a {family} likelihood of {entries} entries")

        def posterior() -> PosteriorArrays:
            return PosteriorArrays(torch.zeros(len(self.arrays.rows)), torch.zeros(1))

        reference, drawn = self.arrays.reference, self.arrays.drawn
        return {
            "log_prob": log_prob,
            "log_weights": lambda: log_prob()[: int(self.arrays.settings["importance_items"]), None],
            "posterior": posterior,
            "recon": lambda: mean(len(self.arrays.rows)),
            "recon_train": lambda: mean(len(self.arrays.get("x_train"))),
            "samples": lambda: mean(drawn),
            "features_recon": lambda: self._features(mean(reference)),
            "features_samples": lambda: self._features(mean(drawn)),
            "probabilities_samples": lambda: self.arrays.get("extractor").probabilities(mean(drawn)),
        }

    def _factors(self) -> dict[str, Callable[[], Any]]:
        return {
            "codes": lambda: self.arrays.get("factors").double(),
            "codes_train": lambda: self.arrays.get("factors_train").double(),
        }

    def _raw(self) -> dict[str, Callable[[], Any]]:
        return {
            "codes": lambda: self._flat(self.arrays.get("x")),
            "codes_train": lambda: self._flat(self.arrays.get("x_train")),
        }

    def _real(self) -> dict[str, Callable[[], Any]]:
        return {
            "features_samples": lambda: self.arrays.get("features_other")[: self.arrays.drawn],
        }

    def _copy(self) -> dict[str, Callable[[], Any]]:
        return {
            "recon": lambda: self.arrays.get("x"),
            "features_recon": lambda: self.arrays.get("features_real"),
        }

    def _train_copy(self) -> dict[str, Callable[[], Any]]:
        drawn = self.arrays.drawn
        return {
            "samples": lambda: self.arrays.get("x_train")[:drawn],
            "features_samples": lambda: self.arrays.get("features_train")[:drawn],
        }

    def _features(self, values: Tensor) -> Tensor:
        found: Tensor = self.arrays.get("extractor").extract(values)
        return found

    def _numbers(self, x: Tensor) -> Tensor:
        if not x.is_floating_point():
            raise NotApplicable(f"{self.arrays.data.spec.x.kind} have no mean")
        return x

    def _flat(self, x: Tensor) -> Tensor:
        return as_input(self.arrays.data.spec.x, x).flatten(1).float()


class References:
    """The stand-ins of one evaluation, and the file that keeps what was found of them.

    Args:
        arrays: of the evaluation.
        width: of the model's codes; ``None`` where it has none.
        folder: where found values are kept, or ``None``.
        code: a digest of the code that computes metrics.
    """

    def __init__(self, arrays: Arrays, width: int | None, folder: Path | None, code: str = "") -> None:
        self.arrays, self.width, self.folder, self.code = arrays, width, folder, code
        self._stand_ins: dict[str, StandIn] = {}

    def value(
        self, name: str, conf: Mapping[str, Any], wanted: Mapping[str, bool], compute: Callable[[Any], float]
    ) -> float | None:
        """The metric of ``conf`` for a stand-in; ``None`` where it has no meaning there.

        Args:
            name: of the stand-in.
            conf: of the metric.
            wanted: the words that it asks for.
            compute: arrays to the metric's value.
        """
        if name in ("random_encoder", "pca") and self.width is None:
            return None
        if name not in self._stand_ins:
            self._stand_ins[name] = StandIn(self.arrays, name, self.width or 0)
        stand_in = self._stand_ins[name]
        if not stand_in.serves(wanted):
            return None
        path = self._path(name, conf, wanted)
        if path is not None and path.is_file():
            kept: float | None = json.loads(path.read_text(encoding="utf-8"))["value"]
            return kept
        try:
            found: float | None = compute(stand_in)
        except Exception:  # a floor that cannot be had must not cost the score that stands on it
            found = None
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_name(f".{path.name}.{os.getpid()}")
            partial.write_text(json.dumps({"metric": conf["name"], "stand_in": name, "width": self.width, "value": found}))
            partial.replace(path)
        return found

    def _path(self, name: str, conf: Mapping[str, Any], wanted: Mapping[str, bool]) -> Path | None:
        if self.folder is None:
            return None
        arrays = self.arrays
        mark = {
            "conf": {key: conf.get(key) for key in ("_target_", "arguments")},
            "stand_in": name,
            "width": self.width if name in ("random_encoder", "pca") else None,
            "data": arrays.data.card["content_hash"],
            "extractor": arrays.features.hash if arrays.features else None,
            "n": [len(arrays.rows), arrays.reference, arrays.drawn, arrays.split],
            "seed": arrays.seed,
            "likelihood": arrays.get("likelihood") if {"log_prob", "log_weights"} & set(wanted) else None,
            "settings": {key: value for key, value in arrays.settings.items() if key not in ("refits", "resamples")},
            "code": self.code,
        }
        digest = hashlib.sha256(json.dumps(mark, sort_keys=True, default=str).encode()).hexdigest()[:16]
        return self.folder / f"{arrays.data.card['name']}-{conf['name']}-{name}-{digest}.json"
