"""Conditions of an autoencoder: what is told need not be coded."""

import pytest
import torch
import zoo

from latent_atlas.building import instantiate
from latent_atlas.data.spec import DataSpec, Field
from latent_atlas.models.ae import AE
from latent_atlas.planning.compose import PlanError, check

FIELDS = {"x": Field("vector", (3,)), "labels": Field("class", (), "int64", 4), "factors": Field("factors", (2,), "int64", (3, 2))}
SPEC = DataSpec("drawn", "x", FIELDS, {"train": 64, "val": 0, "test": 0})
PLACES = torch.tensor([[0.0, 0, 3], [0, 3, 0], [3, 0, 0], [-3, -3, 0]])


def build(conditions=("labels",), **more):
    torch.manual_seed(0)
    return instantiate(zoo.small_vae(conditions=conditions, **more), spec=SPEC)


def batch(n=64):
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(n) % 4
    x = PLACES[labels] + 0.1 * torch.randn(n, 3, generator=generator)
    return {"x": x, "labels": labels, "factors": torch.zeros(n, 2, dtype=torch.int64), "index": torch.arange(n)}


def train(model, steps=120, lr=2e-2):
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    for step in range(steps):
        torch.manual_seed(step)
        optimizer.zero_grad()
        found = model.loss(batch(), "model")
        found.total.backward()
        optimizer.step()
    return found


def test_what_is_told_is_not_coded_and_a_sample_obeys_it():
    """Four places: the plain VAE pays log 4 nats to say which, the conditional one nothing, and it draws where it is told."""
    plain, told = train(build(())), train(model := build(hide=0.0))
    assert told.parts["rate"] < 0.3 < 0.7 < plain.parts["rate"]
    model.eval()
    wanted = torch.tensor([0, 1, 2, 3] * 20)
    drawn = model.sample(80, {"labels": wanted}, torch.Generator().manual_seed(0))
    assert torch.equal(torch.cdist(drawn, PLACES).argmin(1), wanted)


def test_without_a_condition_it_covers_them_all():
    """Trained with half of the conditions hidden, the code says which, and p(x) has all four places."""
    train(model := build(hide=0.5), steps=200)
    model.eval()
    x = batch()["x"]
    assert (model.decode(model.encode(x).mode).mean - x).square().mean() < 0.3
    drawn = model.sample(200, generator=torch.Generator().manual_seed(0))
    assert len(torch.cdist(drawn, PLACES).argmin(1).unique()) == 4


def test_training_hides_and_evaluation_does_not():
    model = build(hide=0.5)
    torch.manual_seed(0)
    assert 10 < int(model.given(batch())["labels"].isnan().sum()) < 54
    model.eval()
    assert torch.equal(model.given(batch())["labels"], batch()["labels"])


def test_a_model_without_conditions_has_none():
    model = build(())
    assert model.given(batch()) is None
    assert model.conditions == ()
    assert not hasattr(model, "seen")


def test_several_fields_and_a_plain_autoencoder():
    net = zoo.small_vae(_target_="latent_atlas.models.ae.AE", conditions=["labels", "factors"])
    model = instantiate(net, spec=SPEC)
    assert type(model) is AE
    assert model.seen.width == 4 + 3 + 2
    assert model.loss(batch(), "model").total.isfinite()


@pytest.mark.parametrize("target", ["iwae.IWAE", "factor_vae.FactorVAE", "vae_gan.VAEGAN"])
def test_every_relative_takes_conditions(target):
    posterior = zoo.partial("latent_atlas.models.posteriors.NormalHead")
    critic = {"critic": zoo.partial("latent_atlas.nets.mlp.MLPEncoder"), "critic_optimizer": zoo.adam()}
    critic = {} if target == "iwae.IWAE" else critic
    net = zoo.small_vae(_target_=f"latent_atlas.models.{target}", posterior=posterior, conditions=["labels"], **critic)
    model = instantiate(net, spec=SPEC)
    model.eval()
    for player in model.players():
        torch.manual_seed(0)
        first = model.loss(batch(), player).total
        torch.manual_seed(0)
        assert model.loss({**batch(), "labels": batch()["labels"].roll(1)}, player).total != first


def test_data_without_the_field_is_refused_by_the_plan():
    model = {"name": "conditional_vae", "requires": {"observation": ["image"], "fields": ["labels"], "first_stage": False}}
    config = {"run": "r", "model": model, "needs": "data/dsprites", "data": {"name": "dsprites"}}
    config["data"]["provides"] = {"observation": "image", "fields": ["factors"]}
    with pytest.raises(PlanError, match="conditional_vae needs the fields labels, which data dsprites does not provide"):
        check(config)
