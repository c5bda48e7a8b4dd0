"""The vocabulary of metrics: each array is computed from the model and the data when first asked for, once.

A metric's argument names are its requirements. What cannot be had raises ``NotApplicable`` with the reason that the report shows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor

from latent_atlas.data.datamodule import DataModule
from latent_atlas.evaluation.extractors import FeatureSet
from latent_atlas.evaluation.rows import evaluation_rows
from latent_atlas.metrics.result import NotApplicable
from latent_atlas.models.base import Batch, LatentModel
from latent_atlas.models.posteriors import Posterior

# What a metric may ask for by naming an argument so; N items are the same for every model of a data set.
VOCABULARY = {
    "x": "(N, *shape) held-out observations in their own units",
    "recon": "(N, *shape) the decoder's mean at the posterior's mode (tokens: probabilities)",
    "codes": "(N, d) coordinates of the posterior's mode",
    "posterior": "PosteriorArrays: kl (N,) and kl_per_dimension (d,) in nats, None where there are none",
    "indices": "(N, ...) codebook entries",
    "factors": "(N, K) ground-truth factors",
    "factor_names": "K names",
    "labels": "(N,) classes",
    "samples": "(M, *shape) draws of the model, M the reference size",
    "features_real": "(M, f) the extractor's features of M held-out items",
    "features_other": "(M, f) the same of other real items: what a perfect sampler would reach",
    "features_recon": "(M, f) of the reconstructions of the M held-out items",
    "features_samples": "(M, f) of draws of the model",
    "log_prob": "(N,) log p(x | z) in nats, z one draw of q(z | x)",
    "encode": "callable x -> codes",
    "decode": "callable codes -> mean",
    "space": "the latent space",
}


@dataclass(frozen=True)
class PosteriorArrays:
    """q(z | x) of N items as numbers in nats: the KL to the prior (N,), and per dimension, its mean over items (d,)."""

    kl: Tensor | None
    kl_per_dimension: Tensor | None


@dataclass(frozen=True)
class Encoded:
    """One pass of the encoder: modes and draws (N, *latent shape), their KL, codebook entries."""

    mode: Tensor
    draw: Tensor
    posterior: PosteriorArrays
    indices: Tensor | None


class Arrays:
    """The vocabulary for one model on one data set.

    Args:
        model: in eval mode.
        data: the data set.
        features: the extractor with its reference, or ``None``.
        n_samples: the most held-out items.
        batch_size: of each pass.
        seed: of all noise.
    """

    def __init__(
        self, model: LatentModel, data: DataModule, features: FeatureSet | None, n_samples: int, batch_size: int, seed: int = 0
    ) -> None:
        self.model, self.data, self.features = model, data, features
        self.batch_size, self.seed = batch_size, seed
        self.split, self.rows = evaluation_rows(data, n_samples)
        self.batch: Batch = data.take(self.rows)
        self.reference = min(len(self.rows), len(features.real)) if features else min(len(self.rows), data.card["reference_size"])
        self._made: dict[str, Any] = {}

    def get(self, name: str) -> Any:
        """The array of that name; what failed once fails again without being computed again."""
        if name not in self._made:
            try:
                self._made[name] = getattr(self, f"_{name}")()
            except Exception as error:
                self._made[name] = error
        found = self._made[name]
        if isinstance(found, Exception):
            raise found
        return found

    def provenance(self, names: set[str]) -> dict[str, Any]:
        """Where these arrays came from: what must agree for two scores to be comparable."""
        found: dict[str, Any] = {"split": self.split, "n": len(self.rows)}
        if names & {"samples", "features_samples", "features_recon", "features_real"}:
            found["n"] = self.reference
        if self.features and any(name.startswith("features_") for name in names):
            found |= {"extractor": self.features.name, "hash": self.features.hash}
        if "log_prob" in names:
            found["likelihood"] = self.get("likelihood")
        if names & {"log_prob", "samples", "features_samples", "posterior"}:
            found["seed"] = self.seed
        return found

    def noise(self, stream: int) -> Generator:
        """A seeded generator of its own for each use, so that no array depends on which others were asked for first."""
        return torch.Generator(self.device).manual_seed(self.seed * 1000 + stream)

    @property
    def device(self) -> torch.device:
        """Where the model lies."""
        return self.model.step.device

    def need(self, verb: str) -> Callable[..., Any]:
        """A verb of the model."""
        if verb not in self.model.verbs():
            raise NotApplicable(f"the model has no {verb}")
        found: Callable[..., Any] = getattr(self.model, verb)
        return found

    def condition(self, rows: slice) -> Batch | None:
        """The batch fields that the model is conditioned on, for some of the rows."""
        return {name: self.batch[name][rows].to(self.device) for name in self.model.conditions} or None

    def blocks(self, n: int) -> Iterator[slice]:
        """Slices of at most ``batch_size``."""
        for start in range(0, n, self.batch_size):
            yield slice(start, min(n, start + self.batch_size))

    # One method for each word of the vocabulary.

    def _x(self) -> Tensor:
        return self.batch[self.data.spec.observation]

    def _encoded(self) -> Encoded:
        encode, noise = self.need("encode"), self.noise(1)
        x = self.get("x")
        parts = []
        for rows in self.blocks(len(x)):
            q: Posterior = encode(x[rows].to(self.device), self.condition(rows))
            parts.append((q.mode, q.sample(noise), *_divergence(q, self.model, noise), getattr(q, "indices", None)))
        mode, draw, kl, each, indices = (_joined([part[k] for part in parts]) for k in range(5))
        assert mode is not None
        assert draw is not None
        return Encoded(mode, draw, PosteriorArrays(kl, None if each is None else each.double().mean(0)), indices)

    def _codes(self) -> Tensor:
        return self.model.space.coordinates(self.get("encoded").mode.to(self.device)).cpu()

    def _posterior(self) -> PosteriorArrays:
        return self.get("encoded").posterior

    def _indices(self) -> Tensor:
        found = self.get("encoded").indices
        if found is None:
            raise NotApplicable("the model has no codebook")
        return found

    def _recon(self) -> Tensor:
        decode, z = self.need("decode"), self.get("encoded").mode
        return torch.cat([decode(z[rows].to(self.device), self.condition(rows)).mean.cpu() for rows in self.blocks(len(z))])

    def _log_prob(self) -> Tensor:
        decode, z, x = self.need("decode"), self.get("encoded").draw, self.get("x")
        parts = []
        for rows in self.blocks(len(z)):
            likelihood = decode(z[rows].to(self.device), self.condition(rows))
            if not hasattr(likelihood, "log_prob"):
                raise NotApplicable("the model's decoder has no likelihood")
            parts.append(likelihood.log_prob(x[rows].to(self.device)).double().cpu())
        self._made["likelihood"] = type(likelihood).__name__.lower()
        return torch.cat(parts)

    def _likelihood(self) -> str:
        self.get("log_prob")
        return str(self._made["likelihood"])

    def _factors(self) -> Tensor:
        return self._field("factors", "needs factors")

    def _factor_names(self) -> list[str]:
        self.get("factors")
        return list(self.data.spec.fields[str(self.data.spec.first("factors"))].names)

    def _labels(self) -> Tensor:
        return self._field("class", "needs labels")

    def _field(self, kind: str, reason: str) -> Tensor:
        name = self.data.spec.first(kind)
        if name is None:
            raise NotApplicable(reason)
        return self.batch[name]

    def _samples(self) -> Tensor:
        sample, noise = self.need("sample"), self.noise(2)
        blocks = self.blocks(self.reference)
        return torch.cat([sample(b.stop - b.start, condition=self.condition(b), generator=noise).cpu() for b in blocks])

    def _extractor(self) -> FeatureSet:
        if self.features is None:
            raise NotApplicable("the data set has no feature extractor")
        return self.features

    def _features_real(self) -> Tensor:
        return self.get("extractor").real[: self.reference]

    def _features_other(self) -> Tensor:
        found: Tensor | None = self.get("extractor").other
        if found is None or len(found) < self.reference:
            raise NotApplicable("there are too few other real items")
        return found[: self.reference]

    def _features_recon(self) -> Tensor:
        return self.get("extractor").extract(self.get("recon")[: self.reference])

    def _features_samples(self) -> Tensor:
        return self.get("extractor").extract(self.get("samples"))

    def _encode(self) -> Callable[[Tensor], Tensor]:
        encode, space = self.need("encode"), self.model.space
        return lambda x: space.coordinates(encode(x.to(self.device)).mode).cpu()

    def _decode(self) -> Callable[[Tensor], Tensor]:
        decode, space = self.need("decode"), self.model.space
        return lambda codes: decode(space.from_coordinates(codes.to(self.device))).mean.cpu()

    def _space(self) -> Any:
        return self.model.space


def _divergence(q: Posterior, model: LatentModel, noise: Generator) -> tuple[Tensor | None, Tensor | None]:
    """KL to the prior per item (B,) and per dimension (B, d), ``None`` where the posterior has none."""
    kl = q.kl(model.space, noise) if hasattr(q, "kl") else None
    return kl, q.kl_per_dimension() if hasattr(q, "kl_per_dimension") else None


def _joined(parts: list[Tensor | None]) -> Tensor | None:
    present = [part.cpu() for part in parts if part is not None]
    return torch.cat(present) if len(present) == len(parts) else None
