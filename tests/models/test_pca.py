import numpy as np
import pytest
import torch
from sklearn import decomposition

from latent_atlas.data.spec import DataSpec, Field
from latent_atlas.models import pca
from latent_atlas.models.pca import PCA, principal


def spec(field, n=200):
    return DataSpec("drawn", "x", {"x": field}, {"train": n, "val": 0, "test": 0})


def correlated(n, d, seed=0):
    rng = np.random.default_rng(seed)
    return torch.as_tensor(rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + 3.0).float()


def fitted(x, k, **arguments):
    model = PCA(spec(Field("vector", tuple(x.shape[1:]))), k, **arguments)
    model.prepare({"x": block} for block in x.split(37))
    return model


@pytest.fixture(scope="module")
def case():
    x = correlated(300, 8)
    return x, fitted(x, 3)


def test_the_fit_is_that_of_scikit_learn(case):
    x, model = case
    reference = decomposition.PCA(3).fit(x.numpy())
    scale = (len(x) - 1) / len(x)  # maximum likelihood divides by N
    np.testing.assert_allclose(model.values, reference.explained_variance_ * scale, rtol=1e-4)
    np.testing.assert_allclose(np.abs((model.vectors.numpy() * reference.components_).sum(1)), 1, atol=1e-5)
    assert model.noise.item() == pytest.approx(reference.noise_variance_ * scale, rel=1e-4)
    np.testing.assert_allclose(model.mean, x.mean(0), rtol=1e-5)


def test_the_negative_elbo_is_the_exact_log_marginal(case):
    x, model = case
    w = (model.vectors * model.loadings[:, None]).double()
    marginal = torch.distributions.MultivariateNormal(model.mean.double(), w.T @ w + model.noise.double() * torch.eye(8))
    draws = []
    for seed in range(150):
        torch.manual_seed(seed)
        draws.append(model.loss({"x": x}, "model").parts["nelbo"])
    # E log p(x | z) is estimated from draws, the KL is exact
    assert torch.stack(draws).mean().item() == pytest.approx(-marginal.log_prob(x.double()).mean().item(), abs=0.03)
    # Bayes' rule holds at every z, not only on average
    q = model.encode(x)
    z = q.sample()
    evidence = model.decode(z).log_prob(x) + model.space.log_prob(z) - q.log_prob(z)
    torch.testing.assert_close(evidence.double(), marginal.log_prob(x.double()), atol=2e-3, rtol=1e-4)


def test_codes_fill_the_prior(case):
    x, model = case
    q = model.encode(x)
    torch.testing.assert_close(q.mode.mean(0), torch.zeros(3), atol=1e-4, rtol=0)
    # law of total variance: the aggregate posterior has variance 1 and no correlation, like the prior
    total = torch.cov(q.mode.T, correction=0) + torch.diag(q.scale[0] ** 2)
    torch.testing.assert_close(total, torch.eye(3), atol=1e-3, rtol=0)


def test_samples_have_the_moments_of_the_data(case):
    x, _ = case
    model = fitted(x, 8)  # with every component, samples follow the data's own covariance
    drawn = model.sample(20_000, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(torch.cov(drawn.T), torch.cov(x.T), atol=0.8, rtol=0.08)


def test_fewer_items_than_dimensions_and_than_components():
    x = correlated(6, 40)
    model = fitted(x, 10)
    recon = model.decode(model.encode(x).mode).mean
    torch.testing.assert_close(recon, x, atol=0.02, rtol=0.01)
    q = model.encode(x)
    assert bool((q.kl_per_dimension()[:, 5:] < 1e-4).all()), "5 directions hold 6 points, the rest of the latents is dead"
    assert bool(model.decode(q.mode).log_prob(x).isfinite().all())


def test_a_single_item_and_an_empty_split():
    model = fitted(torch.ones(1, 4), 2)
    assert torch.equal(model.decode(model.encode(torch.ones(1, 4)).mode).mean, torch.ones(1, 4))
    with pytest.raises(ValueError, match="no training items"):
        PCA(spec(Field("vector", (4,)))).prepare(iter([]))


def test_blocks_and_whole_are_equal_and_an_offset_costs_nothing():
    x = correlated(200, 6).double()
    whole, blocks = principal([x], 3, 1000), principal(x.split(7), 3, 1000)
    shifted = principal((x + 1e6).split(7), 3, 1000)
    for a, b in zip(whole, blocks, strict=True):
        torch.testing.assert_close(a, b)
    torch.testing.assert_close(whole[1], shifted[1], rtol=1e-6, atol=0)


def test_no_more_items_are_read_than_asked_for():
    x = correlated(200, 6)
    torch.testing.assert_close(principal(x.split(30), 2, 100)[1], principal([x[:100]], 2, 100)[1])


@pytest.mark.parametrize("n", [30, 300])
def test_wide_data_by_products_of_rows(monkeypatch, n):
    x = correlated(n, 50)
    direct = principal(x.split(40), 4, 1000)
    monkeypatch.setattr(pca, "LARGEST", 49)
    rows = principal(x.split(40), 4, 1000)
    expected = direct if n < 49 else principal([x[:49]], 4, 1000)
    if n > 49:
        monkeypatch.setattr(pca, "LARGEST", 50)
        expected = principal([x[:49]], 4, 1000)
    for a, b in zip(rows, expected, strict=True):
        torch.testing.assert_close(a, b, atol=1e-3, rtol=1e-4)


def test_lanczos_and_full_decomposition_agree():
    rng = np.random.default_rng(0)
    factor = torch.as_tensor(rng.normal(size=(1200, 20)) * np.linspace(3, 1, 20))
    covariance = factor @ factor.T + 0.1 * torch.eye(1200, dtype=torch.float64)
    values, vectors = pca.leading(covariance, 5)
    every = torch.linalg.eigvalsh(covariance).flip(0)[:5]
    torch.testing.assert_close(values, every, rtol=1e-8, atol=0)
    torch.testing.assert_close(vectors @ covariance, values[:, None] * vectors, rtol=1e-6, atol=1e-5)
    assert torch.equal(values, pca.leading(covariance, 5)[0]), "the start vector is drawn anew"


def test_images_stay_in_range():
    model = PCA(spec(Field("image", (1, 4, 4))), 2)
    x = torch.as_tensor(np.random.default_rng(0).random((50, 1, 4, 4)).round()).float()
    model.prepare([{"x": x}])
    drawn = model.decode(5 * model.space.sample(100)).mean
    assert drawn.shape == (100, 1, 4, 4)
    assert drawn.min() >= 0
    assert drawn.max() <= 1


def test_nobody_plays(case):
    assert case[1].players() == {}
