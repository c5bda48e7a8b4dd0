from types import SimpleNamespace

import pytest
import torch

from latent_atlas.metrics.likelihood import active_dimensions, distortion, nelbo, rate
from latent_atlas.metrics.result import NotApplicable

POSTERIOR = SimpleNamespace(kl=torch.tensor([1.0, 3.0]), kl_per_dimension=torch.tensor([1.995, 0.004, 0.001]))
POINT = SimpleNamespace(kl=None, kl_per_dimension=None)


def test_the_bound_is_the_sum_of_its_parts_with_the_sign_of_a_cost():
    log_prob = torch.tensor([-10.0, -20.0])
    assert distortion(log_prob).value == 15.0
    assert rate(POSTERIOR).value == 2.0
    assert nelbo(log_prob, POSTERIOR).value == 17.0


def test_the_bound_is_the_exact_surprise_for_a_linear_gaussian_model_with_its_exact_posterior():
    # x = z + noise of variance s: p(x) = N(0, 1 + s), q(z | x) = N(x / (1 + s), s / (1 + s)).
    s, n = 0.5, 200_000
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(n, generator=draw, dtype=torch.float64) * (1 + s) ** 0.5
    mean, var = x / (1 + s), torch.tensor(s / (1 + s), dtype=torch.float64)
    z = mean + var.sqrt() * torch.randn(n, generator=draw, dtype=torch.float64)
    log_prob = torch.distributions.Normal(z, s**0.5).log_prob(x)
    kl = 0.5 * (mean**2 + var - 1 - var.log())
    surprise = -torch.distributions.Normal(0.0, (1 + s) ** 0.5).log_prob(x).mean()
    found = nelbo(log_prob, SimpleNamespace(kl=kl, kl_per_dimension=None))
    assert found.value == pytest.approx(float(surprise), abs=0.01)


def test_a_code_without_a_distribution_has_neither_rate_nor_bound():
    for metric in (lambda: rate(POINT), lambda: nelbo(torch.zeros(2), POINT), lambda: active_dimensions(POINT)):
        with pytest.raises(NotApplicable):
            metric()


def test_dimensions_in_use_are_counted_above_a_hundredth_of_a_nat():
    found = active_dimensions(POSTERIOR)
    assert (found.value, found.ceiling) == (1.0, 3.0)
