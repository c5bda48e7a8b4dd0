"""The stage ``features``: trains a data set's extractor in seconds and writes it with the reference of its Fréchet distances."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from latent_atlas.data.datamodule import DataModule
from latent_atlas.data.spec import Field
from latent_atlas.data.store import replacing
from latent_atlas.evaluation.extractors import (
    INCEPTION,
    FeatureError,
    FeatureSet,
    Inception,
    VectorStem,
    as_input,
    file_hash,
    own_module,
    stem,
)
from latent_atlas.evaluation.rows import evaluation_rows
from latent_atlas.metrics.frechet import frechet, moments
from latent_atlas.metrics.result import TooFewSamples
from latent_atlas.threads import torch_threads
from latent_atlas.training.allocator import keep_memory

Rows = NDArray[np.int64]
LEARNING_RATE = 4e-3
LEAST_ITEMS = 5  # training items of each value: of fewer, a factor is learned as a quantity and not as classes
FIT_ITEMS = 10_000  # items that scale the entries of vectors, and the most that accuracy is measured on


@dataclass(frozen=True)
class Head:
    """One target of the classifier: a class, a factor of ``size`` values, or a continuous factor (size 0)."""

    name: str
    column: Callable[[Mapping[str, Tensor]], Tensor]
    size: int

    @property
    def outputs(self) -> int:
        """Numbers that the network puts out for it."""
        return self.size or 1

    def loss(self, raw: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """Cross entropy in units of its chance level, or half the squared error; every head then counts alike."""
        target = self.column(batch)
        if not self.size:
            return 0.5 * F.mse_loss(raw.squeeze(1), target.float())
        return F.cross_entropy(raw, target, ignore_index=-1) / np.log(max(self.size, 2))

    def score(self, raw: Tensor, batch: Mapping[str, Tensor]) -> float:
        """Accuracy, or R² of a continuous factor."""
        target = self.column(batch)
        if self.size:
            return float((raw.argmax(1) == target)[target >= 0].double().mean())
        spread = float(target.double().var(correction=0))
        return 1 - float(F.mse_loss(raw.squeeze(1).double(), target.double())) / spread if spread else 0.0


def make_features(section: Mapping[str, Any], data: Path, out: Path) -> dict[str, Any]:
    """Writes ``out``: extractor.pt, extractor.json (returned) and statistics.npz, whole or not at all.

    ``section["extractor"]`` is a choice of ``conf/evaluation/extractor``. The domain extractor is a classifier of labels and
    factors; without any it learns to tell items apart under small changes (Chen et al. 2020, arXiv 2002.05709). Its name holds the
    first digits of its weights' hash. The reference: features of ``reference_size`` held-out items, fewer where there are fewer.
    """
    keep_memory()
    extractor = dict(section["extractor"])
    module = DataModule(data)
    split, rows = evaluation_rows(module, module.card["reference_size"])
    field = module.spec.x
    other_split, other_rows = other_real_rows(module, len(rows), split)
    with torch_threads(extractor.get("threads", 1)):
        if extractor["name"] == "inception":
            if field.kind != "image":
                raise FeatureError(f"extractor inception is for images, {module.spec.name} has {field.kind}: choose domain")
            net: Any = Inception(extractor["weights"])
            digest = file_hash(extractor["weights"])
            card = {"kind": "inception", "weights": extractor["weights"], "trained_on": "imagenet", "accuracy": None, "heads": {}}
            dimensions, name, head = net.dimensions, inception_name(digest, extractor["weights"]), None
        elif extractor["name"] == "module":
            net, head = own_module(extractor["net"], extractor.get("weights")), None
            digest, dimensions = weights_hash(net), _answered(net, module, rows)
            card, name = {"kind": "module", "net": extractor["net"], "trained_on": "elsewhere"}, f"module_{digest[:8]}"
            card |= {"accuracy": None, "heads": {}}
        else:
            dimensions = max(1, min(extractor["dimensions"], len(rows) // 2))
            # Items that the extractor was fitted to would lie nearer to each other than to any held-out item.
            items = np.setdiff1d(module.rows("train"), other_rows)
            net, card, head = train_extractor(module, items, dimensions, extractor)
            digest = weights_hash(net)
            name = f"domain_{digest[:8]}"
        used = FeatureSet(name, digest, field, net, torch.empty(0), None)
        real = used.extract(module.take(rows)[module.spec.observation])
        other = used.extract(module.take(other_rows)[module.spec.observation]) if len(other_rows) else real[:0]
    card |= {"name": name, "hash": digest, "dimensions": dimensions, "n": len(rows), "split": split, "shape": list(field.shape)}
    card["real_vs_real"] = {"fid": _real_vs_real(real, other), "n": len(other), "split": other_split}
    with replacing(out) as folder:
        if isinstance(net, nn.Module):
            with (folder / "extractor.pt").open("wb") as file:  # a path would enter the archive and change its bytes
                torch.save(net.state_dict(), file)
        if head is not None:
            with (folder / "head.pt").open("wb") as file:
                torch.save(head, file)
        stored = {"real": real.numpy(), "other": other.numpy()}
        if len(rows) > 1:
            found = moments(real)
            stored |= {"mean": found.mean, "cov": found.cov}
        np.savez(folder / "statistics.npz", **stored, n=np.array(len(rows)), index=rows)  # type: ignore[arg-type]
        (folder / "extractor.json").write_text(json.dumps(card, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return card


@torch.inference_mode()
def _answered(net: nn.Module, data: DataModule, rows: Rows) -> int:
    """Features that the user's own network gives of an item."""
    x = as_input(data.spec.x, data.take(rows[:2])[data.spec.observation])
    try:
        found = net(x)
    except Exception as error:  # whatever a network raises of a shape that it was not made for
        raise FeatureError(
            f"extractor module: it cannot take {data.spec.name}'s items, float32 of shape {tuple(x.shape[1:])}: {error}"
        ) from error
    if not isinstance(found, Tensor) or found.shape[:1] != x.shape[:1]:
        raise FeatureError("extractor module: its answer is no tensor with one row for each item")
    if not found.isfinite().all():
        raise FeatureError("extractor module: its features are not finite")
    return int(found[0].numel())


def train_extractor(
    data: DataModule, items: Rows, dimensions: int, settings: Mapping[str, Any]
) -> tuple[nn.Module, dict[str, Any], dict[str, Tensor] | None]:
    """The stem trained on these items, what it learned from and how well it does on validation items, and its class head."""
    steps, seed = settings["steps"], settings["seed"]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = stem(data.spec.x, dimensions)
        if isinstance(net, VectorStem):
            net.fit(as_input(data.spec.x, data.take(items[:FIT_ITEMS])[data.spec.observation]))
        heads = targets(data)
        classifier = nn.Linear(dimensions, sum(head.outputs for head in heads)) if heads else nn.Identity()
        parameters = [*net.parameters(), *classifier.parameters()]
        optimizer = torch.optim.Adam(parameters, LEARNING_RATE)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, max(steps, 2))
        noise = torch.Generator().manual_seed(seed)
        for batch in batches(data, items, steps, seed, settings["batch_size"]):
            x = as_input(data.spec.x, batch[data.spec.observation])
            if heads:
                loss = torch.stack([h.loss(raw, batch) for h, raw in _answers(net, classifier, heads, x)]).mean()
            else:
                loss = contrast(net(augment(data.spec.x, x, noise)), net(augment(data.spec.x, x, noise)))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
    net.eval()
    scores = _validate(net, classifier, heads, data) if heads else {}
    trained_on = "self" if not heads else "labels" if data.spec.first("class") else "factors"
    card = {
        "kind": "domain",
        "trained_on": trained_on,
        "heads": scores,
        "accuracy": _mean(scores),
        "steps": steps,
        "seed": seed,
    }
    return net, card, _class_head(classifier, heads, data)


def _class_head(classifier: nn.Module, heads: list[Head], data: DataModule) -> dict[str, Tensor] | None:
    """The rows of the classifier that tell the classes, which stand first."""
    label = data.spec.first("class")
    if not isinstance(classifier, nn.Linear) or not heads or heads[0].name != label:
        return None
    rows = slice(0, heads[0].outputs)
    return {"weight": classifier.weight.detach()[rows].clone(), "bias": classifier.bias.detach()[rows].clone()}


def batches(data: DataModule, items: Rows, steps: int, seed: int, batch_size: int) -> Iterator[dict[str, Tensor]]:
    """``steps`` batches of these items, shuffled anew for each pass."""
    per_pass, order = max(1, len(items) // batch_size), items
    for step in range(steps):
        lap, block = divmod(step, per_pass)
        if block == 0:
            order = np.random.default_rng([seed, lap]).permutation(items)
        yield data.take(order[block * batch_size : (block + 1) * batch_size])


def targets(data: DataModule) -> list[Head]:
    """A head for the class and for each factor that the data set has."""
    heads = []
    if label := data.spec.first("class"):
        heads.append(Head(label, lambda batch: batch[label], int(data.spec.fields[label].size)))  # type: ignore[arg-type]
    if factors := data.spec.first("factors"):
        field = data.spec.fields[factors]
        sizes = field.size if isinstance(field.size, tuple) else (field.size or 0,) * field.shape[0]
        items = len(data.rows("train"))
        sizes = tuple(0 if size * LEAST_ITEMS > items else size for size in sizes)
        known = data.take(data.rows("train")[:FIT_ITEMS])[factors].float()
        mean, scale = known.mean(0), known.std(0, correction=0).clamp(min=1e-6)
        for k, size in enumerate(sizes):
            name = field.names[k] if field.names else f"factor {k}"
            heads.append(Head(name, _factor(factors, k, size, mean[k], scale[k]), size))
    return [head for head in heads if head.size != 1]


def _factor(field: str, k: int, size: int, mean: Tensor, scale: Tensor) -> Callable[[Mapping[str, Tensor]], Tensor]:
    if size:
        return lambda batch: batch[field][:, k].long()
    return lambda batch: (batch[field][:, k].float() - mean) / scale


def _answers(net: nn.Module, classifier: nn.Module, heads: list[Head], x: Tensor) -> Iterator[tuple[Head, Tensor]]:
    raw = classifier(F.relu(net(x)))
    return zip(heads, raw.split([head.outputs for head in heads], dim=1), strict=True)


@torch.inference_mode()
def _validate(net: nn.Module, classifier: nn.Module, heads: list[Head], data: DataModule) -> dict[str, float]:
    rows = next(data.rows(split) for split in ("val", "test", "train") if len(data.rows(split)))
    batch = data.take(np.random.default_rng(1).permutation(rows)[:2000])
    x = as_input(data.spec.x, batch[data.spec.observation])
    return {head.name: round(head.score(raw, batch), 6) for head, raw in _answers(net, classifier, heads, x)}


def augment(field: Field, x: Tensor, noise: torch.Generator) -> Tensor:
    """A small change that leaves an item itself: images shift by an eighth, change contrast and get noise; vectors lose entries."""
    if field.kind != "image":
        return x * (torch.rand(x.shape, generator=noise) > 0.2)
    reach = torch.tensor([max(1, side // 8) for side in x.shape[-2:]])
    moves = [int(torch.randint(-int(r), int(r) + 1, (), generator=noise)) for r in reach]
    gain = 0.6 + 0.8 * torch.rand(len(x), 1, 1, 1, generator=noise)
    grain = 0.1 * torch.randn(x.shape, generator=noise)
    return torch.roll(x, moves, dims=(-2, -1)) * gain + grain


def contrast(a: Tensor, b: Tensor, temperature: float = 0.2) -> Tensor:
    """Cross entropy of finding each item's other view among all views of the batch; a and b are (B, f)."""
    both = F.normalize(torch.cat([a, b]), dim=1)
    similarity = both @ both.T / temperature
    similarity = similarity.masked_fill(torch.eye(len(both), dtype=torch.bool), -torch.inf)
    return F.cross_entropy(similarity, torch.arange(len(both)).roll(len(a)))


def weights_hash(net: nn.Module) -> str:
    """sha256 of the names, shapes and bytes of a network's tensors."""
    digest = hashlib.sha256()
    for name, tensor in sorted(net.state_dict().items()):
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        digest.update(np.ascontiguousarray(tensor.numpy()).tobytes())
    return digest.hexdigest()


def inception_name(digest: str, weights: str) -> str:
    """``inception`` for the published file alone: other weights give other numbers, and their name holds their hash."""
    if digest.startswith(INCEPTION):
        return "inception"
    name = f"inception_{digest[:8]}"
    print(
        f"WARNING: {weights} is not the published Inception of 2015-12-05: its sha256 begins with {digest[:8]}, not {INCEPTION}. "
        f"Its scores are named {name} and compare with no paper's FID.",
        file=sys.stderr,
    )
    return name


def other_real_rows(data: DataModule, n: int, split: str) -> tuple[str, Rows]:
    """n real items beside the reference: of the validation split, else of a training split that can spare them."""
    for other, least in (("val", n), ("train", 3 * n)):
        rows = data.rows(other)
        if other != split and len(rows) >= least:
            return other, np.random.default_rng(2).permutation(rows)[:n]
    return "none", np.empty(0, np.int64)


def _real_vs_real(real: Tensor, other: Tensor) -> float | None:
    try:
        return frechet(real, other)
    except TooFewSamples:
        return None


def _mean(scores: Mapping[str, float]) -> float | None:
    return sum(scores.values()) / len(scores) if scores else None
