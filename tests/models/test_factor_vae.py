"""The density ratio of FactorVAE on Gaussians whose total correlation is known."""

import math

import pytest
import torch
import torch.nn.functional as F
import zoo

from latent_atlas.building import instantiate
from latent_atlas.data.spec import DataSpec, Field
from latent_atlas.models.factor_vae import permuted

SPEC = DataSpec("drawn", "x", {"x": Field("image", (1, 4, 4), size=2)}, {"train": 64, "val": 0, "test": 0})
CRITIC = zoo.partial("latent_atlas.nets.mlp.MLPEncoder", hidden=[32, 32])


def build(**changes):
    torch.manual_seed(0)
    target = "latent_atlas.models.factor_vae.FactorVAE"
    head = zoo.partial("latent_atlas.models.posteriors.NormalHead")
    net = zoo.small_vae(_target_=target, posterior=head, critic=CRITIC, critic_optimizer=zoo.adam(), **changes)
    return instantiate(net, spec=SPEC)


def batch(n=32):
    return {"x": (torch.rand(n, 1, 4, 4, generator=torch.Generator().manual_seed(0)) > 0.5).float()}


def seeded(model, player, items=None):
    torch.manual_seed(1)
    return model.loss(items or batch(), player)


def test_permuting_keeps_every_column_and_breaks_their_dependence():
    torch.manual_seed(0)
    codes = torch.randn(4000, 1).repeat(1, 3)
    found = permuted(codes)
    for column in range(3):
        assert torch.equal(found[:, column].sort().values, codes[:, 0].sort().values)
    assert torch.corrcoef(found.T).triu(1).abs().max() < 0.06


@pytest.mark.parametrize("correlation", [0.0, 0.8])
def test_the_critic_finds_the_total_correlation_of_a_gaussian(correlation):
    """TC of two normals with correlation r is -½ log(1 - r²)."""
    model = build(latent_size=2)
    generator = torch.Generator().manual_seed(0)
    mix = torch.linalg.cholesky(torch.tensor([[1.0, correlation], [correlation, 1.0]]))
    codes = torch.randn(20_000, 2, generator=generator) @ mix.T
    model.encode = lambda x, condition=None: Fixed(codes[x])
    optimizer = torch.optim.Adam(model.critic.parameters(), lr=1e-2)
    for _ in range(200):
        optimizer.zero_grad()
        model.loss({"x": torch.randint(len(codes), (512,), generator=generator)}, "critic").total.backward()
        optimizer.step()
    known = -0.5 * math.log(1 - correlation**2)
    assert model.critic(codes).mean().item() == pytest.approx(known, abs=0.08)


class Fixed:
    """A posterior that is its own draw."""

    def __init__(self, z):
        self.z = z

    def sample(self):
        return self.z


def test_without_the_total_correlation_it_is_the_vae():
    model, plain = build(gamma=0.0), build_vae()
    plain.load_state_dict({name: value for name, value in model.state_dict().items() if not name.startswith("critic")})
    found, known = seeded(model, "model"), seeded(plain, "model")
    torch.testing.assert_close(found.total, known.total)
    torch.testing.assert_close(found.parts["nelbo"], known.parts["nelbo"])


def build_vae():
    return instantiate(zoo.small_vae(), spec=SPEC)


def test_gamma_weighs_what_the_critic_says():
    low, high = seeded(build(gamma=0.0), "model"), seeded(build(gamma=7.0), "model")
    torch.testing.assert_close(high.total - low.total, 7 * low.parts["total_correlation_critic"])


def test_the_critic_compares_one_half_with_the_permuted_other(monkeypatch):
    model = build()
    codes = torch.arange(18.0).reshape(6, 3)
    model.encode = lambda x, condition=None: Fixed(codes)
    seen = []
    monkeypatch.setattr(model.critic, "forward", lambda z: seen.append(z) or z[:, :1] * 0.01)
    found = model.loss({"x": torch.zeros(6)}, "critic")
    together, apart = seen
    assert torch.equal(together, codes[:3])
    assert torch.equal(apart.sort(0).values, codes[3:])
    real, fake = together[:, 0] * 0.01, apart[:, 0] * 0.01
    known = F.binary_cross_entropy_with_logits(torch.cat((real, fake)), torch.tensor([1.0, 1, 1, 0, 0, 0]))
    torch.testing.assert_close(found.total, known)


def test_the_critic_plays_second_and_reaches_no_encoder():
    model = build()
    assert list(model.players()) == ["model", "critic"]
    seeded(model, "critic").total.backward()
    assert all(parameter.grad is None for parameter in model.encoder.parameters())
