import pytest
import torch
import zuko

from latent_atlas.spaces.euclidean import Euclidean
from latent_atlas.spaces.flow import FlowPrior

FLOWS = {
    "MAF": lambda features, context: zuko.flows.MAF(features, context, hidden_features=[16]),
    "NSF": lambda features, context: zuko.flows.NSF(features, context, transforms=2, hidden_features=[16]),
    "RealNVP": lambda features, context: zuko.flows.RealNVP(features, context, hidden_features=[16]),
}


def moved(name, shape=(3,)):
    torch.manual_seed(0)
    prior = FlowPrior(shape, FLOWS[name])
    with torch.no_grad():
        for parameter in prior.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return prior


@pytest.mark.parametrize("name", FLOWS)
def test_the_density_has_the_log_determinant_of_autograd(name):
    prior = moved(name).double()
    z = torch.randn(4, 3, dtype=torch.float64)
    transform = prior.flow.transform(None)
    for row, found in zip(z, prior.log_prob(z), strict=True):
        jacobian = torch.autograd.functional.jacobian(transform, row)
        expected = torch.distributions.Normal(0.0, 1.0).log_prob(transform(row)).sum() + torch.linalg.slogdet(jacobian)[1]
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("name", FLOWS)
def test_the_density_integrates_to_one(name):
    prior = moved(name, (2,))
    line = torch.linspace(-12, 12, 601)
    with torch.no_grad():
        density = prior.log_prob(torch.cartesian_prod(line, line)).exp().reshape(601, 601)
    assert torch.trapezoid(torch.trapezoid(density, line), line).item() == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("name", FLOWS)
def test_draws_follow_the_density_and_repeat(name):
    prior = moved(name, (2,))
    with torch.no_grad():
        z = prior.sample(20_000, torch.Generator().manual_seed(0))
        assert torch.equal(z, prior.sample(20_000, torch.Generator().manual_seed(0)))
        # E[N(z; 0, 1)/p(z)] = 1 over draws of p: it is not where they follow another density
        ratio = (Euclidean(2).log_prob(z) - prior.log_prob(z)).exp()
    assert abs(ratio.mean() - 1) < 5 * ratio.std() / 20_000**0.5


@pytest.mark.parametrize("name", FLOWS)
def test_it_starts_close_to_the_standard_normal_and_the_identity_is_it(name):
    torch.manual_seed(0)
    prior, z = FlowPrior((2, 2), FLOWS[name]), torch.randn(20, 2, 2)
    expected = Euclidean((2, 2)).log_prob(z)
    torch.testing.assert_close(prior.log_prob(z), expected, atol=0.2, rtol=0)
    with torch.no_grad():
        for parameter in prior.parameters():
            parameter.zero_()
    torch.testing.assert_close(prior.log_prob(z), expected, atol=1e-5, rtol=1e-5)
    assert prior.sample(3).shape == (3, 2, 2)
