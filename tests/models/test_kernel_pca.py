import numpy as np
import pytest
import torch
from sklearn import decomposition

from latent_atlas.data.spec import DataSpec, Field
from latent_atlas.models.kernel_pca import KernelPCA


def fitted(x, k, n=None, **arguments):
    spec = DataSpec("drawn", "x", {"x": Field("vector", tuple(x.shape[1:]))}, {"train": n or len(x), "val": 0, "test": 0})
    model = KernelPCA(spec, k, **arguments)
    model.prepare({"x": block} for block in x.split(37))
    return model


def circles(n=200, seed=0):
    """Two rings, which no linear map tells apart."""
    rng = np.random.default_rng(seed)
    radius, angle = np.where(np.arange(n) % 2, 1.0, 3.0), 2 * np.pi * rng.random(n)
    points = np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1) + 0.05 * rng.normal(size=(n, 2))
    return torch.from_numpy(points).float()


@pytest.fixture(scope="module")
def case():
    x = circles()
    model = fitted(x, 4)
    gamma = float(model.widths[0])
    reference = decomposition.KernelPCA(4, kernel="rbf", gamma=gamma, fit_inverse_transform=True).fit(x.double().numpy())
    return x, model, reference


@pytest.mark.parametrize("seed", [0, 1])
def test_codes_are_those_of_scikit_learn_up_to_scale_and_sign(case, seed):
    _, model, reference = case
    new = circles(50, seed)
    theirs, ours = reference.transform(new.double().numpy()), (model.encode(new).mode * model.scale).numpy()
    signs = np.sign((theirs * ours).sum(0))
    np.testing.assert_allclose(ours * signs, theirs, atol=2e-4)


def test_the_way_back_is_scikit_learns_ridge_regression_of_the_same_codes(case):
    from sklearn.kernel_ridge import KernelRidge

    x, model, _ = case
    codes = model.encode(x).mode
    ridge = KernelRidge(alpha=1e-3, kernel="rbf", gamma=float(model.widths[1])).fit(codes.double().numpy(), x.double().numpy())
    new = model.encode(circles(50, 1)).mode
    np.testing.assert_allclose(model.decode(new).mean.numpy(), ridge.predict(new.double().numpy()), atol=2e-2)


def test_codes_have_unit_variance_and_come_back(case):
    x, model, _ = case
    codes = model.encode(x).mode
    torch.testing.assert_close(codes.var(0, correction=0), torch.ones(4), atol=1e-3, rtol=0)
    assert float((model.decode(codes).mean - x).square().mean()) < 0.1 * float(x.var())
    assert model.noise < 0.1 * x.var()


def test_it_unrolls_what_a_plane_cannot(case):
    """A line on some coordinate tells the two rings apart."""
    x, model, _ = case
    codes, inner = model.encode(x).mode, torch.arange(len(x)) % 2 == 1
    apart = ((codes[inner].mean(0) - codes[~inner].mean(0)).abs() / (codes[inner].std(0) + codes[~inner].std(0))).max()
    flat = ((x[inner].mean(0) - x[~inner].mean(0)).abs() / (x[inner].std(0) + x[~inner].std(0))).max()
    assert apart > 5 * flat


def test_fewer_items_than_planned_change_nothing():
    x = circles(60)
    few, planned = fitted(x, 3), fitted(x, 3, n=500)
    torch.testing.assert_close(few.encode(x).mode, planned.encode(x).mode)
    torch.testing.assert_close(
        few.decode(few.encode(x).mode).mean, planned.decode(planned.encode(x).mode).mean, atol=1e-3, rtol=1e-3
    )
    assert len(fitted(circles(100), 2, items=30).rows) == 30


def test_equal_items_are_finite():
    model = fitted(torch.ones(20, 3), 5)
    z = model.encode(torch.randn(4, 3)).mode
    assert bool(z.isfinite().all())
    assert bool(model.decode(z).mean.isfinite().all())
