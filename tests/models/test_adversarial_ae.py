import functools
import math

import pytest
import torch
import torch.nn.functional as F
import zoo

from latent_atlas.building import instantiate
from latent_atlas.data.spec import DataSpec, Field
from latent_atlas.models.adversarial_ae import AdversarialAE
from latent_atlas.models.ae import AE
from latent_atlas.models.posteriors import Point

SPEC = DataSpec("drawn", "x", {"x": Field("vector", (5,))}, {"train": 64, "val": 0, "test": 0})


def build(cls=AdversarialAE, **changes):
    torch.manual_seed(0)
    net = {key: instantiate(value) for key, value in zoo.small_vae().items() if key != "_target_"}
    return cls(spec=SPEC, **{**net, **changes})


def batch(n=64):
    return {"x": torch.randn(n, 5, generator=torch.Generator().manual_seed(0))}


def test_the_losses_are_cross_entropies_of_prior_against_codes():
    model, x = build(weight=3.0), batch()["x"]
    z = model.encode(x).mode
    torch.manual_seed(1)
    drawn = model.critic(model.space.sample(64))
    torch.manual_seed(1)
    found = model.loss({"x": x}, "critic").total
    known = F.binary_cross_entropy_with_logits(drawn, torch.ones_like(drawn))
    known = known + F.binary_cross_entropy_with_logits(model.critic(z), torch.zeros_like(drawn))
    torch.testing.assert_close(found, known)
    found = model.loss({"x": x}, "model")
    fooled = F.binary_cross_entropy_with_logits(model.critic(z), torch.ones_like(drawn))
    torch.testing.assert_close(found.total, build(AE).loss({"x": x}, "model").total + 3 * fooled)


def test_a_critic_that_knows_nothing_is_at_two_log_two():
    model = build()
    with torch.no_grad():
        for parameter in model.critic.parameters():
            parameter.zero_()
    assert model.loss(batch(), "critic").total.item() == pytest.approx(2 * math.log(2))


def test_the_trained_critic_is_the_log_ratio_of_densities():
    """Codes N(m, I) against the prior N(0, I): log p / q = |z - m|² / 2 - |z|² / 2, a plane."""
    model, shift = build(critic_hidden=[32]), torch.tensor([1.0, 0.0, -1.0])
    model.encode = lambda x: Point(torch.randn(len(x), 3) + shift)
    optimizer = torch.optim.Adam(model.critic.parameters(), lr=1e-2)
    for _ in range(300):
        optimizer.zero_grad()
        model.loss({"x": torch.zeros(256, 5)}, "critic").total.backward()
        optimizer.step()
    z = torch.randn(500, 3) + shift / 2
    known = (z - shift).square().sum(1) / 2 - z.square().sum(1) / 2
    with torch.no_grad():
        found = model.critic(z)[:, 0]
    assert (found - known).abs().mean() < 0.3
    assert torch.corrcoef(torch.stack([found, known]))[0, 1] > 0.95


def test_the_game_brings_codes_to_the_prior():
    def play(weight):
        critic_optimizer = functools.partial(torch.optim.Adam, lr=5e-3, betas=(0.5, 0.9))
        model, x = build(weight=weight, critic_optimizer=critic_optimizer, critic_hidden=[32]), 3 * batch(128)["x"]
        owners = {name: player.parameters() for name, player in model.players().items()}
        optimizers = {name: player.optimizer(owners[name]) for name, player in model.players().items()}
        torch.manual_seed(0)
        for _ in range(250):
            for name in owners:
                optimizers[name].zero_grad()
                model.loss({"x": x}, name).total.backward()
                optimizers[name].step()
        z = model.encode(x).mode.detach()
        return (z.mean(0).abs().max() + (torch.cov(z.T) - torch.eye(3)).abs().max()).item()

    assert play(10.0) < 0.5 * play(0.0)


def test_without_an_optimizer_nobody_plays():
    assert build(optimizer=None).players() == {}
