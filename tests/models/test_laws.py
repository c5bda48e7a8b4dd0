"""The laws of every latent model: one test over all files of ``conf/model`` and the models of the zoo.

A law is skipped only by a property that the model declares (its verbs, players, what it requires), never by its name. Each model is
judged on the smallest data of every kind that it accepts, with an untrained tiny first stage where it needs one.
"""

import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import zoo
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from latent_atlas.building import instantiate
from latent_atlas.data.spec import DataSpec, Field
from latent_atlas.models.base import VERBS, Batch, LatentModel
from latent_atlas.models.likelihoods import Density
from latent_atlas.models.posteriors import Stochastic

ROOT = Path(__file__).resolve().parents[2]
OBSERVATIONS = {
    "image": Field("image", (1, 16, 16), "float32", 256),
    "vector": Field("vector", (5,)),
    "counts": Field("counts", (6,)),
    "tokens": Field("tokens", (4,), "int64", 7),
}
EXTRAS = {"labels": Field("class", (), "int64", 3), "factors": Field("factors", (2,), "int64", (3, 4))}
N = 24


@dataclass(frozen=True)
class Case:
    """A configuration of a model and the kind of data that it is judged on."""

    name: str
    kind: str

    @property
    def conf(self) -> dict[str, Any]:
        return configuration(self.name)

    def spec(self, n: int = N) -> DataSpec:
        fields = {"x": OBSERVATIONS[self.kind], "pair": OBSERVATIONS[self.kind], **EXTRAS}
        return DataSpec("drawn", "x", fields, {"train": n, "val": n, "test": n})

    def model(self, seed: int = 0, n: int = N) -> LatentModel:
        torch.manual_seed(seed)
        extra: dict[str, Any] = {"spec": self.spec(n)}
        if self.conf["requires"]["first_stage"]:
            extra["first_stage"] = instantiate(zoo.CONF["small_vae"]["net"], spec=self.spec(n)).eval()
        return instantiate(self.conf["net"], **extra)

    def ready(self, n: int = N, seed: int = 0) -> tuple[LatentModel, Batch]:
        """A prepared model and a batch of n items."""
        model, batch = self.model(seed, n), draw(self.spec(n), n)
        if hasattr(model, "prepare"):
            model.prepare([batch])
        return model, batch


@cache
def configuration(name: str) -> dict[str, Any]:
    if name.startswith("zoo."):
        return zoo.CONF[name.removeprefix("zoo.")]
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return OmegaConf.to_container(compose(f"model/{name}")["model"], resolve=True, throw_on_missing=True)


def draw(spec: DataSpec, n: int, seed: int = 0) -> Batch:
    """A batch in memory, drawn with numpy."""
    rng = np.random.default_rng(seed)
    batch = {"index": torch.arange(n)}
    for name, field in spec.fields.items():
        size = (n, *field.shape)
        if field.kind in ("image", "vector"):
            drawn = rng.random(size) if field.kind == "image" else rng.normal(size=size)
        elif field.kind == "counts":
            drawn = rng.poisson(3.0, size)
        else:
            drawn = rng.integers(0, field.size, size)
        batch[name] = torch.as_tensor(drawn).to(getattr(torch, field.dtype))
    return batch


def owned(model: LatentModel) -> dict[str, list[torch.nn.Parameter]]:
    """Each player's trainable parameters; asked before anybody is frozen."""
    return {name: player.parameters() for name, player in model.players().items()}


def turn(owners: dict[str, list[torch.nn.Parameter]], player: str) -> None:
    """Clears all gradients and freezes everybody else's parameters, as ``Fit`` does."""
    own = {id(parameter) for parameter in owners[player]}
    for parameter in [entry for parameters in owners.values() for entry in parameters]:
        parameter.grad = None
        parameter.requires_grad_(id(parameter) in own)


def losses(model: LatentModel, batch: Batch, seed: int = 0) -> dict[str, Any]:
    """Each player's losses, with the same noise at every call."""
    torch.manual_seed(seed)
    return {player: model.loss(batch, player) for player in model.players()}


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.shape == b.shape and torch.equal(a, b)


# -- the laws ------------------------------------------------------------------------------------------------------------------


def composes(case: Case) -> None:
    conf = case.conf
    assert conf["name"] == case.name.removeprefix("zoo.")
    assert {"name", "family", "title", "requires", "net"} <= set(conf)
    assert set(conf["requires"]) == {"observation", "fields", "first_stage"}
    model = case.model()
    assert isinstance(model, LatentModel)
    assert set(model.verbs()) <= set(VERBS)
    assert model.verbs()


def finite(case: Case) -> None:
    model, batch = case.ready()
    for player, found in losses(model, batch).items():
        assert found.total.shape == (), player
        assert math.isfinite(found.total.detach()), player
        for name, part in found.parts.items():
            assert math.isfinite(part), f"{player}: {name}"
            assert not part.requires_grad, f"{player}: {name} keeps the graph alive"


def gradients(case: Case) -> None:
    for player in case.ready()[0].players():
        model, batch = case.ready()
        owners = owned(model)
        turn(owners, player)
        model.loss(batch, player).total.backward()
        for name, parameter in model.named_parameters():
            mine = any(parameter is entry for entry in owners[player])
            moved = parameter.grad is not None and bool(parameter.grad.any())
            assert moved == mine, f"{player}: {name} {'gets no gradient' if mine else 'is not its own but gets a gradient'}"


def deterministic(case: Case) -> None:
    model, batch = case.ready()
    model.eval()
    x = model.observed(batch)
    assert same(model.encode(x).mode, model.encode(x).mode)


def shapes(case: Case) -> None:
    model, batch = case.ready()
    model.eval()
    x, space, field = model.observed(batch), model.space, model.spec.x
    expected = (*field.shape, field.size) if field.kind == "tokens" else field.shape
    z = space.sample(N)
    if "encode" in model.verbs():
        q = model.encode(x)
        z = q.mode
        assert q.sample().shape == z.shape
        if hasattr(q, "kl"):
            assert q.kl(space).shape == (N,)
        if isinstance(q, Stochastic):
            whole, parts = (f(space, torch.Generator().manual_seed(0)) for f in (q.kl, q.kl_of_parts))
            if parts is not None:
                assert parts.shape == (N, parts.shape[1])
                torch.testing.assert_close(parts.sum(1), whole, rtol=1e-5, atol=1e-4)
    assert z.shape == (N, *space.shape)
    assert space.coordinates(z).shape == (N, space.dimensions)
    assert torch.allclose(space.from_coordinates(space.coordinates(z)), z)
    if "decode" in model.verbs():
        p = model.decode(z)
        assert p.mean.shape == (N, *expected)
        assert p.mean.dtype == torch.float32
        if isinstance(p, Density):
            assert p.log_prob(x).shape == (N,)
    if "sample" in model.verbs():
        drawn = model.sample(3)
        assert drawn.shape == (3, *expected)
        if field.kind == "image":
            assert drawn.min() >= 0
            assert drawn.max() <= 1


def outputs(model: LatentModel, batch: Batch) -> list[torch.Tensor]:
    """What every verb gives, without noise of its own."""
    model.eval()
    z = model.space.sample(N, torch.Generator().manual_seed(0))
    found = [model.sample(3, generator=torch.Generator().manual_seed(1))] if "sample" in model.verbs() else []
    found += [model.encode(model.observed(batch)).mode] if "encode" in model.verbs() else []
    return found + ([model.decode(z).mean] if "decode" in model.verbs() else [])


def saves(case: Case) -> None:
    model, batch = case.ready()
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    other = case.model(seed=1)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert all(same(a, b) for a, b in zip(outputs(model, batch), outputs(other, batch), strict=True))


def one_sample(case: Case) -> None:
    model, batch = case.ready(n=1)
    owners = owned(model)
    for player, entry in model.players().items():
        turn(owners, player)
        optimizer = entry.optimizer(owners[player])
        model.loss(batch, player).total.backward()
        optimizer.step()
        assert all(bool(parameter.isfinite().all()) for parameter in owners[player]), player
    model.eval()
    x, z = model.observed(batch), model.space.sample(1)
    if "encode" in model.verbs():
        z = model.encode(x).mode
        assert bool(z.isfinite().all())
    if "decode" in model.verbs():
        p = model.decode(z)
        assert bool(p.mean.isfinite().all())
        if isinstance(p, Density):
            assert bool(p.log_prob(x).isfinite().all())
    if "sample" in model.verbs():
        assert bool(model.sample(1).isfinite().all())


def learns(case: Case) -> None:
    model, batch = case.ready()
    ((name, player),) = model.players().items()
    optimizer = player.optimizer(player.parameters())
    before = losses(model, batch)[name].total
    for step in range(50):
        optimizer.zero_grad()
        losses(model, batch, seed=step)[name].total.backward()
        optimizer.step()
    after = losses(model, batch)[name].total
    assert after < before, f"50 steps on one batch: {before:.3f} -> {after:.3f}"


def repeats(case: Case) -> None:
    model, _ = case.ready()
    model.eval()
    first, again, other = (model.sample(4, generator=torch.Generator().manual_seed(seed)) for seed in (7, 7, 8))
    assert same(first, again)
    assert not same(first, other), "another seed gives the same samples"
    assert 1 <= model.passes <= 18, f"{model.passes} passes for a sample by default"


def lacks_players(model: LatentModel) -> str | None:
    return None if model.players() else "declares no players"


def lacks(verb: str) -> Callable[[LatentModel], str | None]:
    return lambda model: None if verb in model.verbs() else f"declares no {verb}"


def lacks_nothing(model: LatentModel) -> None:
    return None


def not_single(model: LatentModel) -> str | None:
    return None if len(model.players()) == 1 else f"declares {len(model.players())} players"


LAWS: dict[Callable[[Case], None], Callable[[LatentModel], str | None]] = {
    composes: lacks_nothing,
    finite: lacks_players,
    gradients: lacks_players,
    deterministic: lacks("encode"),
    shapes: lacks_nothing,
    saves: lacks_nothing,
    one_sample: lacks_nothing,
    learns: not_single,
    repeats: lacks("sample"),
}


def cases() -> list[Case]:
    names = [path.stem for path in sorted((ROOT / "conf/model").glob("*.yaml"))] + [f"zoo.{name}" for name in zoo.CONF]
    return [Case(name, kind) for name in names for kind in configuration(name)["requires"]["observation"] or OBSERVATIONS]


CASES = [pytest.param(case, id=f"{case.name}:{case.kind}") for case in cases()]


@cache
def declares(case: Case) -> LatentModel:
    """A model that is asked what it declares, and nothing else: built once for all laws."""
    return case.model()


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
@pytest.mark.parametrize("case", CASES)
def test_law(case, law):
    if reason := LAWS[law](declares(case)):
        pytest.skip(reason)
    law(case)


@pytest.mark.parametrize("case", CASES)
def test_no_model_skips_more_than_half_of_the_laws(case):
    skipped = [law.__name__ for law, skip in LAWS.items() if skip(declares(case))]
    assert len(skipped) <= len(LAWS) / 2, f"{case.name} skips {', '.join(skipped)}"
