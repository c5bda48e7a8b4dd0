import numpy as np
import pytest
import torch

from latent_atlas.metrics.aggregate import energy_distance, gram, mmd, paired, prior_holes
from latent_atlas.metrics.result import TooFewSamples


def normal(n, d, seed, scale=1.0, shift=0.0):
    return torch.from_numpy(np.random.default_rng(seed).normal(shift, scale, (n, d)))


def direct(matrix, n):
    """The definition, pair by pair."""
    i, j = np.triu_indices(n, 1)
    m = matrix.numpy()
    h = m[i, j] + m[n + i, n + j] - m[i, n + j] - m[j, n + i]
    return h.mean()


@pytest.mark.parametrize("kernel", ["imq", "rbf", "energy"])
def test_the_estimate_is_the_mean_over_pairs_of_different_items(kernel):
    matrix = gram(normal(30, 3, 0), normal(30, 3, 1, 1.5), kernel)
    assert float(paired(matrix, torch.arange(60))[0]) == pytest.approx(direct(matrix, 30), rel=1e-9)


@pytest.mark.parametrize("kernel", ["imq", "rbf", "energy"])
def test_equal_clouds_are_at_the_ceiling_and_the_estimate_has_no_bias(kernel):
    values = [mmd(normal(200, 4, s), normal(200, 4, s + 500), kernel).value for s in range(40)]
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(40)
    assert min(values) < 0 < max(values)


@pytest.mark.parametrize("kernel", ["imq", "rbf", "energy"])
def test_it_grows_with_the_shift_and_stands_above_the_noise(kernel):
    prior = normal(800, 4, 9)
    found = [mmd(normal(800, 4, 1, shift=shift), prior, kernel) for shift in (0.0, 0.3, 1.0)]
    assert found[0].value < found[1].value < found[2].value
    assert found[0].parts["p"] > 0.05
    assert found[1].value > found[1].parts["noise"]
    assert found[1].parts["p"] == pytest.approx(1 / 51)
    assert mmd(normal(800, 4, 1, scale=0.5), prior, kernel).value > found[0].value


def test_rbf_between_two_normals_has_a_closed_form():
    # E k of x, y ~ N(μ, I) and kernel width h² = d: (h² / (h² + 2))^(d/2) exp(−μ² / (2 (h² + 2))).
    d, shift = 3, 1.0
    scale = (d / (d + 2)) ** (d / 2)
    true = 2 * scale * (1 - np.exp(-d * shift**2 / (2 * (d + 2))))
    found = mmd(normal(1000, d, 0, shift=shift), normal(1000, d, 1), "rbf")
    assert found.interval[0] <= true <= found.interval[1]
    assert found.value == pytest.approx(true, rel=0.15)


def test_energy_distance_of_two_points_apart_and_its_unit():
    far = energy_distance(normal(500, 2, 0, 1e-3, 5.0), normal(500, 2, 1, 1e-3))
    assert far.value == pytest.approx(2 * np.hypot(5, 5), rel=1e-3)


def test_intervals_cover_about_95_times_in_100():
    means = [mmd(normal(150, 2, s, shift=0.5), normal(150, 2, s + 900), "rbf", permutations=20) for s in range(60)]
    centre = np.mean([found.value for found in means])
    assert 0.88 <= np.mean([low <= centre <= high for low, high in (found.interval for found in means)]) <= 1


def test_permuted_dimensions_and_a_dead_one_for_both_change_nothing():
    z, p = normal(400, 3, 0, 0.7), normal(400, 3, 1)
    for metric in (mmd, energy_distance, prior_holes):
        value = metric(z, p).value
        assert metric(z.flip(1), p.flip(1)).value == pytest.approx(value, abs=1e-9)
        assert metric(*(torch.hstack([part, torch.zeros(400, 1)]) for part in (z, p))).value == pytest.approx(value, abs=1e-9)


def test_a_posterior_that_fills_the_prior_leaves_one_hundredth_in_holes():
    found = prior_holes(normal(5000, 5, 0), normal(5000, 5, 1))
    assert found.ceiling == pytest.approx(0.01)
    assert found.value == pytest.approx(0.01, abs=0.006)


def test_an_empty_half_is_half_of_the_prior():
    z = normal(6000, 2, 0)
    half = z[z[:, 0] > 0]
    found = prior_holes(half, normal(len(half), 2, 1))
    # all of the empty half but the strip along its edge that is within reach
    assert found.value == pytest.approx(0.5 - found.parts["reach"] / np.sqrt(2 * np.pi), abs=0.08)


def test_collapse_onto_one_point_makes_all_of_the_prior_a_hole_and_too_few_draws_are_refused():
    assert prior_holes(normal(500, 3, 0, 1e-6), normal(500, 3, 1)).value == 1.0
    with pytest.raises(TooFewSamples, match="200 draws"):
        prior_holes(normal(100, 3, 0), normal(100, 3, 1))
    with pytest.raises(TooFewSamples):
        mmd(normal(10, 3, 0), normal(10, 3, 1))


def test_repeating_gives_the_same_bits():
    z, p = normal(300, 3, 0), normal(300, 3, 1)
    assert mmd(z, p) == mmd(z, p)


@pytest.mark.parametrize("kernel", ["imq", "energy"])
def test_draws_in_one_place_are_at_the_floor(kernel):
    prior = torch.randn(400, 3, generator=torch.Generator().manual_seed(0))
    near = 1e-6 * torch.randn(400, 3, generator=torch.Generator().manual_seed(1))
    assert mmd(near, prior, kernel).value == pytest.approx(mmd(near, prior, kernel).floor, rel=1e-3)
    assert mmd(prior.roll(1, 0), prior, kernel).floor > 0.1
    found = prior_holes(near, prior)
    assert (found.value, found.floor) == (1.0, 1.0)
