from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch import distributions as D

from latent_atlas.evaluation.encoded import divergence
from latent_atlas.models.posteriors import DiagonalNormal, Point
from latent_atlas.spaces.euclidean import Euclidean
from latent_atlas.spaces.mixture import Mixture


@pytest.fixture
def q():
    generator = torch.Generator().manual_seed(0)
    return DiagonalNormal(torch.randn(6, 3, generator=generator), torch.randn(6, 3, generator=generator))


def reference(q):
    return D.Independent(D.Normal(q.mode, torch.exp(0.5 * q.log_var)), 1)


def test_kl_is_that_of_torch_distributions(q):
    prior = D.Independent(D.Normal(torch.zeros(6, 3), torch.ones(6, 3)), 1)
    torch.testing.assert_close(q.kl(Euclidean(3)), D.kl_divergence(reference(q), prior))
    torch.testing.assert_close(q.kl_per_dimension().sum(1), q.kl(Euclidean(3)))


def test_log_prob_is_that_of_torch_distributions(q):
    z = q.sample()
    torch.testing.assert_close(q.log_prob(z), reference(q).log_prob(z))


def test_kl_to_a_prior_without_a_closed_form_is_estimated_from_draws(q):
    class Other(Euclidean):
        standard_normal = False

    generator = torch.Generator().manual_seed(1)
    mean = torch.stack([q.kl(Other(3), generator) for _ in range(4000)]).mean(0)
    torch.testing.assert_close(mean, q.kl(Euclidean(3)), atol=0.15, rtol=0)


def test_dimensions_have_a_kl_of_their_own_only_under_a_prior_that_falls_into_them(q):
    torch.testing.assert_close(q.kl_of_parts(Euclidean(3)), q.kl_per_dimension())
    mixture = Euclidean(3, prior=partial(Mixture, components=2))
    assert not mixture.standard_normal
    assert q.kl_of_parts(mixture) is None
    found = divergence(q, SimpleNamespace(space=mixture), torch.Generator().manual_seed(0))
    torch.testing.assert_close(found[0], q.kl(mixture, torch.Generator().manual_seed(0)))
    assert found[1] is None


def test_draws_have_the_moments_and_repeat(q):
    generator = torch.Generator().manual_seed(2)
    z = torch.stack([q.sample(generator) for _ in range(4000)])
    torch.testing.assert_close(z.mean(0), q.mode, atol=0.15, rtol=0)
    torch.testing.assert_close(z.std(0), q.scale, atol=0.02, rtol=0.06)
    assert torch.equal(q.sample(torch.Generator().manual_seed(3)), q.sample(torch.Generator().manual_seed(3)))


def test_extreme_variances_stay_finite():
    q = DiagonalNormal(torch.zeros(1, 2), torch.tensor([[-1e4, 1e4]]))
    assert bool(q.kl(Euclidean(2)).isfinite().all())
    assert bool(q.log_prob(q.sample()).isfinite().all())


def test_a_point_is_its_own_draw():
    mode = torch.randn(2, 3)
    assert Point(mode).sample() is mode
