import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from latent_atlas.evaluation.encoded import PosteriorArrays
from latent_atlas.metrics.collapse import (
    active_units,
    codebook_perplexity,
    codebook_use,
    kl_per_dimension,
    latent_information,
    mode_coverage,
    sparsity,
)
from latent_atlas.metrics.likelihood import active_dimensions
from latent_atlas.metrics.result import NotApplicable, TooFewSamples


def normal(n, d, seed, scale=1.0):
    return torch.from_numpy(np.random.default_rng(seed).normal(0, scale, (n, d)))


def test_units_are_active_where_their_mean_varies():
    z = normal(2000, 4, 0) * torch.tensor([1.0, 0.2, 0.05, 0.0])
    found = active_units(z)
    assert (found.value, found.ceiling) == (2.0, 4.0)
    assert found.parts["variance"] == pytest.approx([1.0, 0.04, 0.0025, 0.0], rel=0.1)
    assert active_units(z.flip(1) + 9).value == 2.0
    assert active_units(z, resamples=20).interval == (2.0, 2.0)
    with pytest.raises(TooFewSamples):
        active_units(z[:1])


def test_kl_per_dimension_counts_the_dead():
    found = kl_per_dimension(SimpleNamespace(kl=None, kl_per_dimension=torch.tensor([2.0, 0.004, 0.0])))
    assert found.value == pytest.approx(2.004 / 3)
    assert found.parts["dead"] == 2
    with pytest.raises(NotApplicable):
        kl_per_dimension(SimpleNamespace(kl=None, kl_per_dimension=None))


def densities(mean, scale, seed=9):
    """log q(z_i | x_j) of q_j = N(mean_j, scale²), one draw each; and the KL of each to N(0, 1)."""
    z = mean + scale * normal(*mean.shape, seed)
    found = torch.distributions.Normal(mean[None], scale).log_prob(z[:, None]).sum(2)
    kl = 0.5 * (mean**2 + scale**2 - 1 - 2 * math.log(scale)).sum(1)
    return found, SimpleNamespace(kl=kl, kl_per_dimension=None)


@pytest.mark.parametrize("variance", [0.5, 0.2])
def test_information_of_a_gaussian_channel_is_that_of_shannon(variance):
    # z ~ N(0, 1) in all, q(z | x) = N(x, s): I = −½ log s per dimension, and the aggregate posterior is the prior.
    density, posterior = densities(normal(3000, 1, 0, math.sqrt(1 - variance)), math.sqrt(variance))
    found = latent_information(density, posterior)
    assert found.value == pytest.approx(-0.5 * math.log(variance), abs=0.03)
    assert found.parts["kl_of_aggregate_at_most"] == pytest.approx(0.0, abs=0.05)
    assert found.interval[0] < found.value < found.interval[1]


def test_collapse_has_no_information_whatever_its_rate_and_separate_codes_have_all_of_it():
    collapsed, posterior = densities(torch.full((500, 3), 2.0, dtype=torch.float64), 1.0)
    found = latent_information(collapsed, posterior)
    assert found.value == pytest.approx(0.0, abs=1e-9)
    assert found.parts["kl_of_aggregate_at_most"] == pytest.approx(6.0)
    apart, _ = densities(torch.arange(500.0, dtype=torch.float64)[:, None] * 100, 1.0)
    assert latent_information(apart).value == pytest.approx(math.log(500))
    assert latent_information(apart).parts["saturation"] == pytest.approx(1.0)


def test_dead_dimensions_carry_no_information():
    mean = normal(800, 2, 0)
    z, scale = mean + 0.5 * normal(800, 2, 1), 0.5
    alive = torch.distributions.Normal(mean[None], scale).log_prob(z[:, None]).sum(2)
    dead = torch.distributions.Normal(0.0, 1.0).log_prob(normal(800, 3, 2)).sum(1, keepdim=True)
    assert latent_information(alive + dead).value == pytest.approx(latent_information(alive).value, abs=1e-9)


def test_a_codebook_in_equal_use_and_a_collapsed_one():
    indices = torch.arange(512).reshape(64, 8) % 32
    assert codebook_use(indices, 32).value == 1.0
    assert codebook_use(indices, 64).value == 0.5
    assert codebook_perplexity(indices, 64).value == pytest.approx(32.0)
    assert codebook_perplexity(indices * 0, 64).value == pytest.approx(1.0)
    found = codebook_perplexity(torch.from_numpy(np.random.default_rng(0).integers(0, 8, (200, 4))), 8, resamples=20)
    assert found.interval[0] < found.value < found.interval[1] < 8.5
    with pytest.raises(ValueError, match="none of a codebook"):
        codebook_use(indices, 16)


def clouds(n, modes, seed):
    rng = np.random.default_rng(seed)
    return torch.from_numpy(20 * np.eye(8)[rng.choice(modes, n)] + rng.normal(size=(n, 8)))


def test_samples_of_half_the_modes_reach_half_and_a_collapsed_generator_one():
    real = clouds(2000, 8, 0)
    assert mode_coverage(real, clouds(2000, 8, 1), clouds(2000, 8, 2), modes=8).value == 1.0
    half = mode_coverage(real, clouds(2000, 4, 1), modes=8, resamples=20)
    assert half.value == pytest.approx(0.5, abs=0.13)
    assert half.interval[0] <= half.value <= half.interval[1]
    collapsed = mode_coverage(real, real[:1].expand(2000, 8), modes=8)
    assert collapsed.value == collapsed.floor == 1 / 8
    assert (collapsed.parts["reached"], collapsed.parts["too_few"], collapsed.parts["too_many"]) == (1, 7, 1)


def test_other_real_items_reach_nearly_all_modes_and_scale_does_not_matter():
    rows = [normal(2000, 6, seed) for seed in range(3)]
    found = mode_coverage(*rows)
    assert found.value > 0.95
    assert found.ceiling > 0.95
    assert mode_coverage(*(7 * part for part in rows)).value == found.value
    with pytest.raises(TooFewSamples):
        mode_coverage(rows[0][:50], rows[1])


def test_sparsity_is_that_of_the_known_codes():
    one, even = torch.eye(8), torch.ones(8, 8)
    assert sparsity(one).value == pytest.approx(1.0)
    assert sparsity(even).value == pytest.approx(0.0)
    # k equal entries of d: (√d − √k) / (√d − 1)
    assert sparsity(torch.cat([torch.ones(5, 4), torch.zeros(5, 12)], 1)).value == pytest.approx((4 - 2) / (4 - 1))
    found = sparsity(torch.cat([torch.ones(5, 4), torch.zeros(5, 12)], 1)).parts
    assert (found["zeros"], found["dead"], found["lifetime"]) == pytest.approx((0.75, 0.75, 0.0))
    assert sparsity(torch.cat([one, 0 * one])).value == pytest.approx(1.0)
    assert sparsity(one).parts["lifetime"] == pytest.approx(1.0)


def test_sparsity_knows_no_scale_and_normal_codes_are_at_the_floor():
    z = normal(2000, 32, 0)
    found = sparsity(z)
    assert found.value == pytest.approx(found.floor, abs=0.005)
    assert sparsity(7 * z).value == pytest.approx(found.value)
    assert found.interval[0] < found.value < found.interval[1]
    assert sparsity(normal(20, 2000, 0)).floor == pytest.approx(1 - np.sqrt(2 / np.pi), abs=0.01)


def test_sparsity_needs_dimensions_and_codes():
    with pytest.raises(NotApplicable, match="one dimension"):
        sparsity(normal(10, 1, 0))
    with pytest.raises(NotApplicable, match="all codes are 0"):
        sparsity(torch.zeros(10, 3))


def test_counts_of_what_is_in_use_have_intervals():
    rng = np.random.default_rng(0)
    indices = torch.from_numpy(rng.choice(40, (300, 1), p=np.r_[np.full(20, 0.049), np.full(20, 0.001)]))
    found = codebook_use(indices, 40, resamples=50)
    assert found.interval[0] < found.value < found.interval[1]
    assert codebook_use(indices, 40).interval is None
    nats = torch.tensor([0.5, 0.011, 0.009, 0.0])
    sure = PosteriorArrays(None, nats, torch.tensor([0.01, 0.0001, 0.0001, 0.0]))
    unsure = PosteriorArrays(None, nats, torch.tensor([0.01, 0.001, 0.001, 0.0]))
    assert active_dimensions(sure).interval == (2.0, 2.0)
    assert (active_dimensions(unsure).value, active_dimensions(unsure).interval) == (2.0, (1.0, 3.0))
    assert active_dimensions(PosteriorArrays(None, nats)).interval is None
