"""The vocabulary of metrics: each array is computed from the model and the data when first asked for, once.

A metric's argument names are its requirements. What cannot be had raises ``NotApplicable`` with the reason that the report shows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from latent_atlas.data.datamodule import DataModule
from latent_atlas.evaluation.encoded import Encoded, PosteriorArrays, divergence, joined, variances
from latent_atlas.evaluation.extractors import FeatureSet
from latent_atlas.evaluation.kept import KEPT, Kept
from latent_atlas.evaluation.rows import evaluation_rows
from latent_atlas.evaluation.vocabulary import DRAWN, OF_LIKELIHOOD, OF_SAMPLES, SETTINGS
from latent_atlas.metrics.result import NotApplicable
from latent_atlas.models.base import Batch, LatentModel
from latent_atlas.models.posteriors import Posterior

SHAKEN = 1000  # items that are encoded under noise, once for each strength
DECODED = 2000  # training items that are reconstructed: the gap to held-out ones needs no more
SEEN = 5000  # training items among which a sample's nearest is looked for
DENSITIES = 1000  # posteriors that are held against each other's draws


class Arrays:
    """The vocabulary for one model on one data set.

    Args:
        model: in eval mode.
        data: the data set.
        features: the extractor with its reference, or ``None``.
        n_samples: the most held-out items.
        batch_size: of each pass.
        seed: of all noise.
        settings: the budget's numbers, see ``SETTINGS``.
        kept: arrays of an earlier evaluation of the same weights, or ``None``.
    """

    def __init__(
        self,
        model: LatentModel,
        data: DataModule,
        features: FeatureSet | None,
        n_samples: int,
        batch_size: int,
        seed: int = 0,
        settings: Mapping[str, Any] | None = None,
        kept: Kept | None = None,
    ) -> None:
        self.model, self.data, self.features, self.kept = model, data, features, kept
        self.batch_size, self.seed = batch_size, seed
        self.settings = {**SETTINGS, **{key: value for key, value in (settings or {}).items() if key in SETTINGS}}
        self.split, self.rows = evaluation_rows(data, n_samples)
        self.batch: Batch = data.take(self.rows)
        self.reference = min(len(self.rows), len(features.real)) if features else min(len(self.rows), data.card["reference_size"])
        # An iterative sampler draws fewer items rather than take minutes; N stands in the names of its scores.
        self.drawn = max(1, min(self.reference, int(self.settings["sample_passes"]) // model.passes))
        self.sampling_seconds: float | None = None
        self._made: dict[str, Any] = {}

    def get(self, name: str) -> Any:
        """The array of that name; what failed once fails again without being computed again."""
        if name not in self._made:
            try:
                make = getattr(self, f"_{name}")
                self._made[name] = self.kept.get(name, make, self.numbers(name)) if self.kept and name in KEPT else make()
            except Exception as error:
                self._made[name] = error
        found = self._made[name]
        if isinstance(found, Exception):
            raise found
        return found

    def numbers(self, name: str) -> dict[str, Any]:
        """What an array depends on beside weights, data, extractor and code."""
        found: dict[str, Any] = {"n": len(self.rows), "batch_size": self.batch_size, "seed": self.seed}
        if "samples" in name:
            found["drawn"] = self.drawn
        if name.startswith("features_"):
            found["reference"] = self.reference
        if name == "log_weights":
            found |= {"items": min(len(self.rows), int(self.settings["importance_items"]))}
            found |= {"draws": int(self.settings["importance_samples"])}
        return found | ({"noise": list(self.settings["noise"])} if name == "noisy_codes" else {})

    def provenance(self, names: set[str]) -> dict[str, Any]:
        """Where these arrays came from: what must agree for two scores to be comparable."""
        found: dict[str, Any] = {"split": self.split, "n": len(self.rows)}
        if names & {"samples", "features_samples", "features_recon", "features_real", "probabilities_samples"}:
            found["n"] = self.drawn if names & OF_SAMPLES else self.reference
        if self.features and any(name.startswith(("features_", "probabilities_")) or name == "extract" for name in names):
            found |= {"extractor": self.features.name, "hash": self.features.hash}
        if names & OF_LIKELIHOOD:
            found["likelihood"] = self.get("likelihood")
        if "refits" in names:  # one fit and the mean of three are not the same estimate
            found["refits"] = self.get("refits")
        if names & DRAWN:
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

    def condition(self, rows: slice, batch: Batch | None = None) -> Batch | None:
        """The batch fields that the model is conditioned on, for some of the rows."""
        batch = self.batch if batch is None else batch
        return {name: batch[name][rows].to(self.device) for name in self.model.conditions} or None

    def blocks(self, n: int) -> Iterator[slice]:
        """Slices of at most ``batch_size``."""
        for start in range(0, n, self.batch_size):
            yield slice(start, min(n, start + self.batch_size))

    # One method for each word of the vocabulary.

    def _x(self) -> Tensor:
        return self.batch[self.data.spec.observation]

    def _encoded(self) -> Encoded:
        return self._pass(self.get("x"), self.batch, self.noise(1))

    def _pass(self, x: Tensor, batch: Batch, noise: Generator) -> Encoded:
        encode = self.need("encode")
        parts = []
        for rows in self.blocks(len(x)):
            q: Posterior = encode(x[rows].to(self.device), self.condition(rows, batch))
            parts.append((q.mode, q.sample(noise), *divergence(q, self.model, noise), getattr(q, "indices", None), variances(q)))
        mode, draw, kl, each, indices, spread = (joined([part[k] for part in parts]) for k in range(6))
        assert mode is not None
        assert draw is not None
        nats = None if each is None else each.double()
        error = nats.std(0) / len(nats) ** 0.5 if nats is not None and len(nats) > 1 else None
        return Encoded(mode, draw, PosteriorArrays(kl, None if nats is None else nats.mean(0), error), indices, spread)

    def _codes(self) -> Tensor:
        return self._coordinates(self.get("encoded"))

    def _coordinates(self, encoded: Encoded) -> Tensor:
        return self.model.space.coordinates(encoded.mode.to(self.device)).cpu()

    def _posterior(self) -> PosteriorArrays:
        return self.get("encoded").posterior

    def _posterior_log_density(self) -> Tensor:
        n = min(len(self.rows), DENSITIES)
        z = self.get("encoded").draw[:n].to(self.device)
        q = self.need("encode")(self.get("x")[:n].to(self.device), self.condition(slice(0, n)))
        if not hasattr(q, "log_prob"):
            raise NotApplicable("the code is a point, not a distribution: it has no density")
        # Turned by k, draw i meets posterior i - k: every posterior needs to know its density at one point a time, and no more.
        turned = torch.stack([q.log_prob(z.roll(k, 0)).double().cpu() for k in range(n)])
        place = torch.arange(n)
        return turned[(place[None] - place[:, None]) % n, place[None]]

    def _codebook_size(self) -> int:
        found = getattr(self.model, "codebook_size", None)
        if found is None:
            raise NotApplicable("the model has no codebook")
        return int(found)

    def _indices(self) -> Tensor:
        found = self.get("encoded").indices
        if found is None:
            raise NotApplicable("the model has no codebook")
        return found

    def _recon(self) -> Tensor:
        return self._decoded(self.get("encoded").mode, self.batch)

    def _decoded(self, z: Tensor, batch: Batch) -> Tensor:
        decode = self.need("decode")
        return torch.cat([decode(z[rows].to(self.device), self.condition(rows, batch)).mean.cpu() for rows in self.blocks(len(z))])

    def _draws(self) -> Tensor:
        return self.model.space.coordinates(self.get("encoded").draw.to(self.device)).cpu()

    def _prior(self) -> Tensor:
        return self.model.space.coordinates(self.model.space.sample(len(self.rows), self.noise(3))).cpu()

    def _log_weights(self) -> Tensor:
        """Importance weights of the first items, K draws each: encoded once, decoded K times."""
        encode, decode, space, noise = self.need("encode"), self.need("decode"), self.model.space, self.noise(4)
        items, draws = int(self.settings["importance_items"]), int(self.settings["importance_samples"])
        x, found = self.get("x")[:items], []
        for rows in self.blocks(len(x)):
            block, condition = x[rows].to(self.device), self.condition(rows)
            q: Posterior = encode(block, condition)
            if not hasattr(q, "log_prob"):
                raise NotApplicable("the code is a point, not a distribution: there are no importance weights")
            weights = []
            for _ in range(draws):
                z = q.sample(noise)
                likelihood = decode(z, condition)
                if not hasattr(likelihood, "log_prob"):
                    raise NotApplicable("the model's decoder has no likelihood")
                weights.append(likelihood.log_prob(block).double() + space.log_prob(z).double() - q.log_prob(z).double())
            found.append(torch.stack(weights, 1).cpu())
        return torch.cat(found)

    def _noisy_codes(self) -> dict[float, Tensor]:
        x, noise = self.get("x")[:SHAKEN], torch.Generator().manual_seed(self.seed * 1000 + 5)
        if not x.is_floating_point():
            raise NotApplicable(f"{self.data.spec.x.kind} cannot have Gaussian noise")
        found = {}
        for sigma in self.settings["noise"]:
            shaken = x + float(sigma) * torch.randn(x.shape, generator=noise)
            shaken = shaken.clamp(0, 1) if self.data.spec.x.kind == "image" else shaken
            found[float(sigma)] = self._coordinates(self._pass(shaken, self.batch, self.noise(6)))
        return found

    # Training items: the first of one fixed shuffle, so that a smaller number lies in a larger.

    def _rows_train(self) -> NDArray[np.int64]:
        rows = self.data.rows("train")
        if self.split == "train" or not len(rows):
            raise NotApplicable("there are no training items beside those that are scored")
        found: NDArray[np.int64] = np.random.default_rng(3).permutation(rows)[: max(SEEN, len(self.rows))]
        return found

    def _batch_train(self) -> Batch:
        return self.data.take(self.get("rows_train")[: len(self.rows)])

    def _x_train(self) -> Tensor:
        found: Tensor = self.get("batch_train")[self.data.spec.observation]
        return found

    def _encoded_train(self) -> Encoded:
        return self._pass(self.get("x_train"), self.get("batch_train"), self.noise(7))

    def _codes_train(self) -> Tensor:
        return self._coordinates(self.get("encoded_train"))

    def _variances_train(self) -> Tensor:
        if (found := self.get("encoded_train").variances) is None:
            raise NotApplicable("the posteriors are no diagonal normal distributions")
        return found

    def _recon_train(self) -> Tensor:
        return self._decoded(self.get("encoded_train").mode[:DECODED], self.get("batch_train"))

    def _factors_train(self) -> Tensor:
        return self._field("factors", "needs factors", train=True)

    def _labels_train(self) -> Tensor:
        return self._field("class", "needs labels", train=True)

    def _factor_sizes(self) -> tuple[int, ...]:
        self.get("factors")
        field = self.data.spec.fields[str(self.data.spec.first("factors"))]
        return tuple(field.size) if isinstance(field.size, tuple) else (int(field.size or 0),) * field.shape[0]

    def _refits(self) -> int:
        return int(self.settings["refits"])

    def _resamples(self) -> int:
        return int(self.settings["resamples"])

    def _seed(self) -> int:
        return self.seed

    def _log_prob(self) -> Tensor:
        decode, z, x = self.need("decode"), self.get("encoded").draw, self.get("x")
        parts = []
        for rows in self.blocks(len(z)):
            likelihood = decode(z[rows].to(self.device), self.condition(rows))
            if not hasattr(likelihood, "log_prob"):
                raise NotApplicable("the model's decoder has no likelihood")
            parts.append(likelihood.log_prob(x[rows].to(self.device)).double().cpu())
        return torch.cat(parts)

    def _likelihood(self) -> str:
        """The family of p(x | z), by the first item."""
        likelihood = self.need("decode")(self.get("encoded").draw[:1].to(self.device), self.condition(slice(0, 1)))
        if not hasattr(likelihood, "log_prob"):
            raise NotApplicable("the model's decoder has no likelihood")
        return type(likelihood).__name__.lower()

    def _factors(self) -> Tensor:
        return self._field("factors", "needs factors")

    def _factor_names(self) -> list[str]:
        self.get("factors")
        return list(self.data.spec.fields[str(self.data.spec.first("factors"))].names)

    def _labels(self) -> Tensor:
        return self._field("class", "needs labels")

    def _field(self, kind: str, reason: str, train: bool = False) -> Tensor:
        if (name := self.data.spec.first(kind)) is None:
            raise NotApplicable(reason)
        return self.get("batch_train")[name] if train else self.batch[name]

    def _samples(self) -> Tensor:
        sample, noise = self.need("sample"), self.noise(2)
        start, blocks = time.perf_counter(), self.blocks(self.drawn)
        found = torch.cat([sample(b.stop - b.start, condition=self.condition(b), generator=noise).cpu() for b in blocks])
        self.sampling_seconds = time.perf_counter() - start
        return found

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

    def _features_train(self) -> Tensor:
        extract, rows = self.get("extractor").extract, self.get("rows_train")
        parts = [rows[start : start + len(self.rows)] for start in range(0, len(rows), len(self.rows))]
        return torch.cat([extract(self.data.take(part)[self.data.spec.observation]) for part in parts])

    def _probabilities_real(self) -> Tensor:
        return self.get("extractor").probabilities(self.get("x")[: self.reference])

    def _probabilities_samples(self) -> Tensor:
        return self.get("extractor").probabilities(self.get("samples"))

    def _extract(self) -> Callable[[Tensor], Tensor]:
        found: Callable[[Tensor], Tensor] = self.get("extractor").extract
        return found

    def _unconditional(self, verb: str) -> Callable[..., Any]:
        if self.model.conditions:
            raise NotApplicable(f"what it does hangs on {', '.join(self.model.conditions)}, which codes alone do not say")
        return self.need(verb)

    def _encode(self) -> Callable[[Tensor], Tensor]:
        encode, space = self._unconditional("encode"), self.model.space
        return lambda x: space.coordinates(encode(x.to(self.device)).mode).cpu()

    def _decode(self) -> Callable[[Tensor], Tensor]:
        decode, space = self._unconditional("decode"), self.model.space
        return lambda codes: decode(space.from_coordinates(codes.to(self.device))).mean.cpu()

    def _space(self) -> Any:
        return self.model.space
