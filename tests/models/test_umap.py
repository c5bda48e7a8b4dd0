import pytest
import torch

from latent_atlas.data.spec import DataSpec, Field
from latent_atlas.metrics.neighbours import trustworthiness
from latent_atlas.models.umap import UMAP


def fitted(x, n=None, **arguments):
    spec = DataSpec("drawn", "x", {"x": Field("vector", tuple(x.shape[1:]))}, {"train": n or len(x), "val": 0, "test": 0})
    model = UMAP(spec, **{"epochs": 100, **arguments})
    model.prepare({"x": block} for block in x.split(37))
    return model


def clusters(n=150, seed=0):
    generator = torch.Generator().manual_seed(seed)
    which = torch.randint(3, (n,), generator=generator)
    return 10 * torch.eye(3, 6)[which] + torch.randn(n, 6, generator=generator), which


@pytest.fixture(scope="module")
def model():
    return fitted(clusters()[0])


def test_codes_of_fitted_items_are_those_of_the_library(model):
    import umap

    x = clusters()[0]
    theirs = torch.from_numpy(
        umap.UMAP(n_neighbors=15, n_components=2, n_epochs=100, random_state=0, n_jobs=1).fit_transform(x.numpy())
    )
    centred = theirs - theirs.mean(0)
    torch.testing.assert_close(model.encode(x).mode, centred / centred.var(0, correction=0).mean().sqrt(), atol=1e-3, rtol=1e-3)


def test_new_items_lie_among_their_own_kind_and_neighbours_stay(model):
    (x, which), (new, other) = clusters(), clusters(90, 1)
    nearest = torch.cdist(model.encode(new).mode, model.encode(x).mode).argmin(1)
    assert float((which[nearest] == other).double().mean()) > 0.98
    assert trustworthiness(x, model.encode(x).mode).value > 0.9


def test_it_encodes_and_nothing_else(model):
    assert model.verbs() == ("encode",)
    assert model.players() == {}


@pytest.mark.parametrize("x", [torch.ones(20, 3), torch.randn(2, 3), torch.randn(4, 3)])
def test_equal_and_few_items_are_finite(x):
    assert bool(fitted(x).encode(torch.randn(4, 3)).mode.isfinite().all())
