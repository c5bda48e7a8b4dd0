import numpy as np
import pytest
import torch
from sklearn import manifold

from latent_atlas.data.spec import DataSpec, Field
from latent_atlas.models.isomap import Isomap


def roll(n=300, seed=0):
    """A Swiss roll, and how far along it each point lies."""
    rng = np.random.default_rng(seed)
    t, height = 1.5 * np.pi * (1 + 2 * rng.random(n)), 10 * rng.random(n)
    along = 0.5 * (t * np.sqrt(1 + t**2) + np.arcsinh(t))
    return torch.from_numpy(np.stack([t * np.cos(t), height, t * np.sin(t)], 1)).float(), along


def fitted(x, k, n=None, **arguments):
    spec = DataSpec("drawn", "x", {"x": Field("vector", tuple(x.shape[1:]))}, {"train": n or len(x), "val": 0, "test": 0})
    model = Isomap(spec, k, **arguments)
    model.prepare({"x": block} for block in x.split(37))
    return model


@pytest.fixture(scope="module")
def case():
    x, along = roll(500)
    return x, along, fitted(x, 2, neighbours=8)


@pytest.mark.parametrize("seed", [0, 1])
def test_codes_are_those_of_scikit_learn_up_to_scale_and_sign(case, seed):
    x, _, model = case
    reference = manifold.Isomap(n_neighbors=8, n_components=2, eigen_solver="dense").fit(x.double().numpy())
    new = roll(60, seed)[0]
    theirs, ours = reference.transform(new.double().numpy()), (model.encode(new).mode * model.scale).numpy()
    np.testing.assert_allclose(ours * np.sign((theirs * ours).sum(0)), theirs, atol=5e-3 * np.abs(theirs).max())


def test_it_unrolls_the_roll_also_for_new_items(case):
    _, _, model = case
    new, along = roll(100, 3)
    assert abs(np.corrcoef(model.encode(new).mode[:, 0], along)[0, 1]) > 0.99
    assert max(abs(np.corrcoef(new[:, axis], along)[0, 1]) for axis in range(3)) < 0.6


def test_it_encodes_and_nothing_else(case):
    assert case[2].verbs() == ("encode",)
    assert case[2].players() == {}


def test_fewer_items_than_planned_change_nothing():
    x = roll(60)[0]
    torch.testing.assert_close(fitted(x, 3).encode(x).mode, fitted(x, 3, n=500).encode(x).mode)


@pytest.mark.parametrize("x", [torch.ones(20, 3), torch.randn(2, 3), torch.cat([torch.zeros(30, 2), torch.ones(30, 2) * 100])])
def test_equal_few_and_separate_items_are_finite(x):
    assert bool(fitted(x, 5).encode(torch.randn(4, x.shape[1])).mode.isfinite().all())
