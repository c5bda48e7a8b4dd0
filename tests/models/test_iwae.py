"""The importance-weighted bound on a model whose log p(x) is known: x = W z + noise, a linear decoder with a fixed scale."""

import pytest
import torch
import zoo

from latent_atlas.building import instantiate
from latent_atlas.data.spec import DataSpec, Field
from latent_atlas.models.posteriors import DiagonalNormal
from latent_atlas.nets.mlp import MLPDecoder

D, X, SCALE = 2, 4, 0.5
SPEC = DataSpec("drawn", "x", {"x": Field("vector", (X,))}, {"train": 64, "val": 0, "test": 0})


def build(samples, target="latent_atlas.models.iwae.IWAE", **more):
    torch.manual_seed(0)
    net = zoo.small_vae(_target_=target, latent_size=D, posterior=zoo.partial("latent_atlas.models.posteriors.NormalHead"), **more)
    net["likelihood"] = zoo.partial("latent_atlas.models.likelihoods.GaussianHead", scale=SCALE, learned=False)
    net["decoder"] = zoo.partial("latent_atlas.nets.mlp.MLPDecoder", hidden=[])
    model = instantiate(net | ({"samples": samples} if samples else {}), spec=SPEC)
    assert isinstance(model.decoder, MLPDecoder)
    return model


@pytest.fixture(scope="module")
def data():
    return torch.randn(400, X, generator=torch.Generator().manual_seed(3))


def linear(model, x):
    """log p(x) (B,) and the mean and covariance of p(z | x), from the decoder's weights."""
    layer = model.decoder.body[0]
    w, b = layer.weight.detach().double(), layer.bias.detach().double()
    marginal = torch.distributions.MultivariateNormal(b, w @ w.T + SCALE**2 * torch.eye(X))
    precision = torch.eye(D) + w.T @ w / SCALE**2
    mean = torch.linalg.solve(precision, w.T @ (x.double() - b).T).T / SCALE**2
    return marginal.log_prob(x.double()), mean, torch.linalg.inv(precision)


def bound(model, x, repeats=200):
    torch.manual_seed(1)
    with torch.no_grad():
        return torch.stack([model.loss({"x": x}, "model").parts["bound"].double() for _ in range(repeats)]).mean().item()


def wrong(model, x):
    """A posterior with the right mean and too large a variance."""
    _, mean, covariance = linear(model, x)
    log_var = (2 * covariance.diagonal()).log().float().expand(len(x), D)
    model.encode = lambda x, condition=None: DiagonalNormal(mean.float(), log_var)


def test_the_bound_rises_with_k_towards_the_exact_log_likelihood(data):
    found = []
    for samples in (1, 2, 5, 100):
        model = build(samples)
        wrong(model, data)
        found.append(bound(model, data, repeats=100 // samples + 20))
    known = linear(build(1), data)[0].mean().item()
    assert found == sorted(found)
    assert found[0] < known - 0.1
    assert found[-1] == pytest.approx(known, abs=0.01)


@pytest.mark.parametrize("samples", [1, 7])
def test_with_the_exact_posterior_every_k_gives_log_p_with_no_noise(samples):
    """W with orthogonal columns: the posterior's dimensions are independent, so a diagonal normal holds it."""
    model = build(samples)
    with torch.no_grad():
        model.decoder.body[0].weight.copy_(torch.tensor([[1.0, 0], [0, 0.5], [0, 0], [0, 0]]))
    x = torch.randn(50, X, generator=torch.Generator().manual_seed(4))
    known, mean, covariance = linear(model, x)
    model.encode = lambda x, condition=None: DiagonalNormal(mean.float(), covariance.diagonal().log().float().expand(50, D))
    found = model.loss({"x": x}, "model")
    assert found.total.item() == pytest.approx(-known.mean().item(), abs=1e-4)
    assert found.parts["effective_draws"].item() == pytest.approx(samples, rel=1e-4)


def test_one_sample_is_the_vae_with_the_kl_from_the_draw(data):
    model, vae = build(1), build(None, "latent_atlas.models.vae.VAE")
    vae.load_state_dict(model.state_dict())
    torch.manual_seed(1)
    total = model.loss({"x": data}, "model").total
    torch.manual_seed(1)
    q = vae.encode(data)
    z = q.sample()
    known = -(vae.decode(z).log_prob(data) + vae.space.log_prob(z) - q.log_prob(z)).mean()
    torch.testing.assert_close(total, known)
    # and over draws it is the VAE's own loss, whose KL is in closed form
    torch.manual_seed(1)
    with torch.no_grad():
        averaged = torch.stack([vae.loss({"x": data}, "model").total.double() for _ in range(200)]).mean().item()
    assert -bound(model, data) == pytest.approx(averaged, abs=0.02)


def test_the_bound_is_the_mean_weight_written_out(data):
    model, x = build(3), data[:5]
    torch.manual_seed(1)
    fit, ratios = model.log_ratios({"x": x})
    torch.manual_seed(1)
    q = model.encode(x)
    for k in range(3):
        z = q.sample()
        torch.testing.assert_close(fit[k], model.decode(z).log_prob(x))
        torch.testing.assert_close(ratios[k], model.space.log_prob(z) - q.log_prob(z))
    torch.manual_seed(1)
    known = (fit + ratios).double().exp().mean(0).log().mean()
    assert model.loss({"x": x}, "model").total.item() == pytest.approx(-known.item(), rel=1e-4)


def test_weights_too_small_for_float32_are_summed_in_the_logarithm():
    model = build(5)
    found = model.loss({"x": torch.full((4, X), 100.0)}, "model").total
    assert found.isfinite()
    assert found > 1000


def test_a_warm_up_weighs_prior_and_posterior(data):
    model = build(1, beta_start=0.0, warmup=10)
    torch.manual_seed(1)
    found = model.loss({"x": data}, "model")
    torch.testing.assert_close(found.total.detach(), found.parts["distortion"])
    model.step.fill_(10)
    torch.manual_seed(1)
    found = model.loss({"x": data}, "model")
    torch.testing.assert_close(found.total.detach(), found.parts["nelbo"])


def test_no_draws_are_refused():
    with pytest.raises(ValueError, match="samples is 0"):
        build_none()


def build_none():
    return instantiate({**zoo.small_vae(_target_="latent_atlas.models.iwae.IWAE"), "samples": 0}, spec=SPEC)
