import pytest
import torch
import torch.nn.functional as F
import zoo

from latent_atlas.building import instantiate
from latent_atlas.data.spec import DataSpec, Field
from latent_atlas.models.likelihoods import Density

SPEC = DataSpec("drawn", "x", {"x": Field("image", (1, 4, 4), size=2)}, {"train": 64, "val": 0, "test": 0})


def build(**changes):
    torch.manual_seed(0)
    posterior = zoo.partial("latent_atlas.models.posteriors.NormalHead")
    critic = zoo.partial("latent_atlas.nets.mlp.MLPEncoder", hidden=[16])
    target = "latent_atlas.models.vae_gan.VAEGAN"
    net = zoo.small_vae(_target_=target, posterior=posterior, critic=critic, critic_optimizer=zoo.adam(), features=8, **changes)
    return instantiate(net, spec=SPEC)


def batch():
    return {"x": (torch.rand(32, 1, 4, 4, generator=torch.Generator().manual_seed(0)) > 0.5).float()}


def loss(model, player):
    torch.manual_seed(1)
    return model.loss(batch(), player)


def drawn(model):
    """The draws of the loss, one after another: q, then the prior."""
    torch.manual_seed(1)
    q = model.encode(batch()["x"])
    return q, q.sample(), model.space.sample(32)


def judged(model, x):
    f = F.leaky_relu(model.features(x), 0.2)
    return f, model.judge(f).squeeze(1)


def test_the_model_minimizes_features_rate_and_the_generators_loss():
    model = build(gamma=3.0, beta=2.0, adversarial=0.5)
    found, x = loss(model, "model"), batch()["x"]
    q, z, prior = drawn(model)
    normal = torch.distributions.Normal
    rate = torch.distributions.kl_divergence(normal(q.mode, q.scale), normal(0.0, 1.0)).sum(1).mean()
    feature = -torch.distributions.Normal(judged(model, model.decode(z).mean)[0], 1.0).log_prob(judged(model, x)[0])
    feature = (feature - 0.5 * torch.log(torch.tensor(2 * torch.pi))).sum(1).mean()
    fake = torch.cat([judged(model, model.decode(entry).mean)[1] for entry in (z, prior)])
    generator = F.binary_cross_entropy_with_logits(fake, torch.ones(64))
    torch.testing.assert_close(found.parts["feature"], feature.detach())
    torch.testing.assert_close(found.parts["generator"], generator.detach())
    torch.testing.assert_close(found.total, 3 * feature + 2 * rate + 0.5 * generator)


def test_the_critic_minimizes_the_cross_entropy():
    model = build()
    _, z, prior = drawn(model)
    real = judged(model, batch()["x"])[1]
    fake = torch.cat([judged(model, model.decode(entry).mean)[1] for entry in (z, prior)])
    known = F.binary_cross_entropy_with_logits(real, torch.ones(32)) + F.binary_cross_entropy_with_logits(fake, torch.zeros(64))
    torch.testing.assert_close(loss(model, "critic").total, known / 2)


def test_the_generators_loss_does_not_reach_the_encoder():
    model = build(gamma=0.0, beta=0.0)
    loss(model, "model").total.backward()
    assert not any(parameter.grad.any() for parameter in model.encoder.parameters())
    assert any(parameter.grad.any() for parameter in model.decoder.parameters())


def test_gamma_and_beta_weigh_the_encoder_by_their_ratio():
    """γ (feature + β KL): the encoder's balance is the paper's when β is multiplied by γ."""
    gradients = []
    for gamma, beta in ((1.0, 1.0), (4.0, 4.0)):
        model = build(gamma=gamma, beta=beta)
        loss(model, "model").total.backward()
        gradients.append(torch.cat([parameter.grad.flatten() for parameter in model.encoder.parameters()]) / gamma)
    torch.testing.assert_close(*gradients)


def test_it_has_no_density_and_the_critic_plays_second():
    model = build()
    assert not isinstance(model.decode(model.space.sample(2)), Density)
    assert list(model.players()) == ["model", "critic"]


def test_it_takes_any_likelihoods_mean():
    model = build(likelihood=zoo.partial("latent_atlas.models.likelihoods.GaussianHead"))
    assert model.head.raw_log_scale.requires_grad is False
    assert loss(model, "model").total.item() != pytest.approx(0)


@pytest.mark.parametrize(("margin", "rests"), [(0.1, False), (2.0, True)])
def test_a_critic_that_is_ahead_rests(margin, rests):
    found = loss(build(margin=margin), "critic")
    assert 0.1 < float(found.parts["critic"]) < 2
    assert float(found.total.detach()) == (0.0 if rests else pytest.approx(float(found.parts["critic"])))
    found.total.backward()
