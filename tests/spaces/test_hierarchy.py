import pytest
import torch

from latent_atlas.spaces.euclidean import Euclidean
from latent_atlas.spaces.hierarchy import Hierarchy


def moved(d=5, top=2):
    torch.manual_seed(0)
    prior = Hierarchy((d,), top, hidden=16)
    with torch.no_grad():
        for parameter in prior.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    return prior


def test_the_density_is_the_product_of_both_levels():
    prior, z = moved(), torch.randn(20, 5)
    mean, log_var = prior.conditional(z[:, :2])
    normal = torch.distributions.Normal
    expected = normal(0.0, 1.0).log_prob(z[:, :2]).sum(1) + normal(mean, (0.5 * log_var).exp()).log_prob(z[:, 2:]).sum(1)
    torch.testing.assert_close(prior.log_prob(z), expected)
    assert mean.std(0).min() > 0.1, "the lower level depends on the upper"


def test_the_density_integrates_to_one():
    prior = moved(2, 1)
    line, wide = torch.linspace(-7, 7, 401), torch.linspace(-30, 30, 4001)
    with torch.no_grad():
        density = prior.log_prob(torch.cartesian_prod(line, wide)).exp().reshape(401, 4001)
    assert torch.trapezoid(torch.trapezoid(density, wide), line).item() == pytest.approx(1.0, abs=0.01)


def test_draws_follow_the_density_and_repeat():
    prior = moved()
    with torch.no_grad():
        z = prior.sample(20_000, torch.Generator().manual_seed(0))
        mean, log_var = prior.conditional(z[:, :2])
    assert torch.equal(z, prior.sample(20_000, torch.Generator().manual_seed(0)))
    residual = (z[:, 2:] - mean) * torch.exp(-0.5 * log_var)
    units = torch.cat((z[:, :2], residual), 1)
    torch.testing.assert_close(units.T.cov(), torch.eye(5), atol=0.05, rtol=0)
    torch.testing.assert_close(units.mean(0), torch.zeros(5), atol=0.03, rtol=0)


def test_a_network_of_zeros_is_the_standard_normal():
    prior, z = moved(), torch.randn(9, 5)
    with torch.no_grad():
        for parameter in prior.parameters():
            parameter.zero_()
    torch.testing.assert_close(prior.log_prob(z), Euclidean(5).log_prob(z))


@pytest.mark.parametrize("top", [0, 5])
def test_both_levels_have_dimensions(top):
    with pytest.raises(ValueError, match=f"top is {top}"):
        Hierarchy((5,), top)
