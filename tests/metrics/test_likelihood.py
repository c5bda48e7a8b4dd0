import math
from types import SimpleNamespace

import pytest
import torch

from latent_atlas.metrics.likelihood import active_dimensions, bits_per_dimension, distortion, nelbo, nll, rate
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


def linear_gaussian(n, draws, narrow, seed=0):
    """Importance weights (n, draws) of x = z + noise of variance 1/2 under q = N(its mean, narrow · its variance), and log p(x)."""
    s, draw = 0.5, torch.Generator().manual_seed(seed)
    x = torch.randn(n, generator=draw, dtype=torch.float64) * (1 + s) ** 0.5
    q = torch.distributions.Normal((x / (1 + s))[:, None], (narrow * s / (1 + s)) ** 0.5)
    z = q.loc + q.scale * torch.randn(n, draws, generator=draw, dtype=torch.float64)
    log_joint = torch.distributions.Normal(z, s**0.5).log_prob(x[:, None]) + torch.distributions.Normal(0.0, 1.0).log_prob(z)
    return log_joint - q.log_prob(z), torch.distributions.Normal(0.0, (1 + s) ** 0.5).log_prob(x)


def test_importance_weights_of_the_exact_posterior_give_the_exact_likelihood_with_one_draw():
    weights, log_p = linear_gaussian(500, 1, 1.0)
    found = nll(weights)
    assert found.value == pytest.approx(-float(log_p.mean()), rel=1e-9)
    assert found.value > 0  # the sign of a cost
    assert found.provenance == {"n": 500, "draws": 1}
    assert nll(linear_gaussian(500, 7, 1.0)[0]).parts["effective_draws"] == pytest.approx(7.0, rel=1e-9)


def test_the_estimate_comes_down_to_the_true_surprise_as_draws_grow():
    weights, log_p = linear_gaussian(4000, 512, 0.5)
    truth = -float(log_p.mean())
    bounds = [nll(weights[:, :k]).value for k in (1, 4, 32, 512)]
    assert bounds == sorted(bounds, reverse=True)
    # One draw is the bound: KL(q || posterior) = ½ (½ − 1 + log 2) = 0.0966 nats above the truth.
    assert bounds[0] - truth == pytest.approx(0.5 * (0.5 - 1 + math.log(2)), abs=0.02)
    assert 0 < bounds[-1] - truth < 0.01
    assert nll(weights[:, :32]).provenance["draws"] == 32
    low, high = nll(weights).interval
    assert low < truth < high


def test_as_many_draws_as_asked_and_each_item_for_itself():
    weights = torch.tensor([[0.0, math.log(3)], [math.log(5), math.log(5)]])
    expected = -(math.log(2) + math.log(5)) / 2  # means of weights: 2 and 5
    assert nll(weights).value == pytest.approx(expected, rel=1e-6)
    assert nll(weights + 700).value == pytest.approx(expected - 700, rel=1e-6)  # no overflow
    assert nll(weights).parts["effective_draws"] == pytest.approx((1 / (1 / 16 + 9 / 16) + 2) / 2, rel=1e-6)
    assert nll(weights.float()).value == pytest.approx(nll(weights.double()).value, rel=1e-6)


def test_bits_per_dimension_are_nats_over_entries_and_log_two():
    weights = linear_gaussian(50, 4, 0.5)[0]
    nats, bits = nll(weights), bits_per_dimension(weights, torch.zeros(50, 3, 4, 4))
    assert bits.value == pytest.approx(nats.value / (48 * math.log(2)), rel=1e-12)
    assert bits.interval == pytest.approx([bound / (48 * math.log(2)) for bound in nats.interval], rel=1e-12)
    assert bits.provenance == nats.provenance
    # A uniform density over 256 grey levels of width 1 / 256 costs log2(1) = 0 bits more than none: p = 1 is 0 bits.
    assert bits_per_dimension(torch.zeros(5, 2), torch.zeros(5, 9)).value == 0.0
