"""Kernel distance, neighbourhoods, memorisation and classes: known answers, and the oracle lines that concern them."""

import itertools
import math

import numpy as np
import pytest
import torch

from latent_atlas.metrics import fidelity
from latent_atlas.metrics.collapse import mode_coverage
from latent_atlas.metrics.fidelity import (
    coverage,
    density,
    inception_score,
    kid,
    memorisation,
    modes_hit,
    modes_kl,
    precision,
    recall,
)
from latent_atlas.metrics.frechet import fid, frechet
from latent_atlas.metrics.result import NotApplicable, TooFewSamples

NEIGHBOURS = (precision, recall, density, coverage)
OF_FEATURES = (kid, *NEIGHBOURS, fid)


def normal(n, d, seed, scale=1.0, shift=0.0):
    return torch.from_numpy(np.random.default_rng(seed).normal(shift, scale, (n, d)))


def column(*values):
    return torch.tensor(values, dtype=torch.float64)[:, None]


def test_kernel_distance_of_two_points_each_by_hand():
    # d = 1, k(a, b) = (ab + 1)³: within {0, 1} k = 1, within {2, 3} k = 343, between 1, 1, 27, 64.
    assert kid(column(0, 1), column(2, 3)).value == pytest.approx(1 + 343 - 2 * (1 + 1 + 27 + 64) / 4, rel=1e-12)


def test_kernel_distance_of_equal_distributions_is_zero_on_average_and_not_clipped():
    found = np.array([kid(normal(100, 8, 2 * s), normal(100, 8, 2 * s + 1)).value for s in range(100)])
    assert abs(found.mean()) < 3 * found.std() / math.sqrt(100)
    assert 0.3 < (found < 0).mean() < 0.8
    # With the pairs i = i, as in biased estimates, equal sets of 100 are far above 0.
    biased = [biased_kernel_distance(normal(100, 8, 2 * s), normal(100, 8, 2 * s + 1)) for s in range(20)]
    assert np.mean(biased) == pytest.approx(0.16, abs=0.02)


def biased_kernel_distance(x, y):
    rows = torch.vstack([x, y])
    sign = torch.cat([torch.ones(len(x)), -torch.ones(len(y))]).double() / len(x)
    return float(sign @ (rows @ rows.T / x.shape[1] + 1) ** 3 @ sign)


def test_kernel_distance_of_subsets_is_seeded_and_agrees_with_all_rows():
    a, b = normal(1300, 4, 0), normal(1300, 4, 1, 1.2, 0.3)
    subsets = kid(a, b, subsets=10)
    assert subsets == kid(a, b, subsets=10)
    assert subsets.value != kid(a, b, subsets=10, seed=1).value
    assert subsets.provenance["subset_size"] == 1000
    whole = kid(a, b, subsets=0)
    assert (whole.provenance["subsets"], whole.provenance["subset_size"]) == (1, 1300)
    assert subsets.value == pytest.approx(whole.value, rel=0.05)
    low, high = whole.interval
    assert low < subsets.value < high


def test_neighbourhoods_of_points_on_a_line_by_hand():
    real, samples = column(0, 1, 3), column(0.5, 10, 12)
    # k = 1 and oneself skipped: the balls of 0, 1, 3 reach 1, 1, 2; those of 0.5, 10, 12 reach 9.5, 2, 2.
    assert fidelity.radii(real, 1).tolist() == [1, 1, 2]
    assert precision(real, samples, k=1).value == pytest.approx(1 / 3)
    assert density(real, samples, k=1).value == pytest.approx(2 / 3)
    assert coverage(real, samples, k=1).value == pytest.approx(2 / 3)
    assert recall(real, samples, k=1).value == 1.0


def test_a_point_on_the_sphere_is_inside_unless_strict():
    real, samples = column(0, 1, 3), column(2, 5, 40)
    assert precision(real, samples, k=1).value == pytest.approx(2 / 3)  # 5 lies on the ball of 3, 2 inside it
    assert precision(real, samples, k=1, strict=True).value == pytest.approx(1 / 3)


def test_precision_and_recall_exchange_with_their_sides():
    real, samples = normal(300, 6, 0), normal(300, 6, 1, 0.6)
    for k in (3, 5):
        assert precision(real, samples, k).value == recall(samples, real, k).value
        assert recall(real, samples, k).value == precision(samples, real, k).value
    assert precision(real, samples).value > recall(real, samples).value + 0.2


def test_one_is_not_the_ceiling_of_two_equal_samples():
    found = [f(normal(1000, 32, 0), normal(1000, 32, 1), k).value for k in (3, 5) for f in (precision, recall)]
    assert found == pytest.approx([0.70, 0.68, 0.79, 0.78], abs=0.03)


def test_as_many_rows_of_both_sides_are_compared_unless_as_published():
    real, samples = normal(400, 4, 0), normal(250, 4, 1)
    for f in NEIGHBOURS:
        assert f(real, samples) == f(real[:250], samples)
        assert f(real, samples).provenance["n"] == 250
    assert coverage(real, samples, all_rows=True).value != coverage(real[:250], samples, all_rows=True).value


def test_an_outlier_raises_precision_and_hardly_density():
    real, far = normal(500, 8, 0), normal(500, 8, 1) * 0.3 + 6
    assert precision(real, far).value == density(real, far).value == 0
    spoiled = torch.vstack([real[:-1], torch.full((1, 8), 12.0)])  # its third neighbour is a real item, far beyond the samples
    assert precision(spoiled, far).value == 1.0
    assert density(spoiled, far).value == pytest.approx(1 / 3)
    assert coverage(spoiled, far).value == pytest.approx(1 / 500)


def test_a_collapsed_generator_keeps_precision_and_loses_everything_else():
    modes = torch.eye(10, 12).double() * 8
    real = modes[torch.arange(1000) % 10] + normal(1000, 12, 0, 0.5)
    fair = modes[torch.arange(1000) % 10] + normal(1000, 12, 1, 0.5)
    collapsed = modes[torch.zeros(1000, dtype=torch.int64)] + normal(1000, 12, 2, 0.5)
    assert precision(real, collapsed).value > precision(real, fair).value - 0.1
    assert recall(real, collapsed).value < 0.15 < recall(real, fair).value
    assert coverage(real, collapsed).value < 0.15 < coverage(real, fair).value
    assert frechet(real, collapsed) > 50 * frechet(real, fair)
    assert kid(real, collapsed).value > 50 * abs(kid(real, fair).value)
    assert density(real, collapsed).value == pytest.approx(density(real, fair).value, abs=0.15)  # as blind as precision
    assert mode_coverage(real, collapsed).value < 0.15 < 0.9 < mode_coverage(real, fair).value
    p_real, p_fair, p_collapsed = ((-torch.cdist(points, modes)).softmax(1) for points in (real, fair, collapsed))
    assert modes_hit(p_fair, p_real).value == 10
    assert modes_hit(p_collapsed, p_real).value == 1
    assert modes_kl(p_collapsed, p_real).value == pytest.approx(math.log(10), abs=0.01)
    assert inception_score(p_collapsed, p_real).value == pytest.approx(1.0, abs=0.01)
    assert inception_score(p_fair, p_real).value > 9


def test_one_repeated_sample_has_one_neighbourhood():
    real = normal(300, 6, 0)
    one = real[:1].expand(300, -1)
    assert precision(real, one).value == 1.0
    assert recall(real, one).value == pytest.approx(1 / 300)
    assert coverage(real, one).value < 0.1
    assert density(real, one).value < 4


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_repeated_items_lie_in_their_own_balls(offset):
    kinds = normal(10, 40, 0, 3.0) + offset
    draw = np.random.default_rng(1)
    real, samples = (kinds[torch.from_numpy(draw.integers(0, 10, 300))] for _ in range(2))
    assert [f(real, samples).value for f in (precision, recall, coverage)] == [1.0, 1.0, 1.0]


def test_a_copied_training_set_shows_in_memorisation_alone():
    train, held_out, fair = normal(600, 8, 0), normal(600, 8, 1), normal(600, 8, 2)
    copied = train + normal(600, 8, 3, 1e-3)
    assert frechet(held_out, copied) == pytest.approx(frechet(held_out, fair), abs=0.05)
    for f in NEIGHBOURS:
        assert f(held_out, copied).value == pytest.approx(f(held_out, fair).value, abs=0.07)
    assert kid(held_out, copied).value == pytest.approx(kid(held_out, fair).value, abs=0.02)
    assert mode_coverage(held_out, copied).value == pytest.approx(mode_coverage(held_out, fair).value, abs=0.03)
    found = memorisation(held_out, copied, train)
    assert (found.value, found.floor) == (1.0, 1.0)
    assert memorisation(held_out, fair, train).value < 0.03
    half = torch.vstack([copied[:300], fair[:300]])
    assert memorisation(held_out, half, train).value == pytest.approx(0.5, abs=0.02)


def test_memorisation_names_the_nearest_pairs():
    train, held_out, samples = normal(300, 8, 0), normal(300, 8, 1), normal(50, 8, 2)
    samples[17], samples[31] = train[5], train[8] + 1e-3
    pairs = memorisation(held_out, samples, train).parts["pairs"]
    assert [pair[:2] for pair in pairs[:2]] == [[17, 5], [31, 8]]
    assert pairs[0][2] < pairs[1][2] == pytest.approx(1e-3 * math.sqrt(8), rel=1e-3)
    assert len(pairs) == 8


def test_memorisation_of_a_fair_sample_is_chance_and_its_interval_says_so():
    found = [memorisation(*(normal(500, 8, 3 * s + side) for side in range(3))) for s in range(50)]
    assert np.mean([m.value for m in found]) == pytest.approx(0.01, abs=0.003)
    assert np.mean([m.interval[0] <= 0.01 <= m.interval[1] for m in found]) >= 0.9


def test_repeated_data_are_no_memorisation():
    kinds, draw = normal(10, 8, 0), np.random.default_rng(1)
    train, held_out, samples = (kinds[torch.from_numpy(draw.integers(0, 10, 300))] for _ in range(3))
    found = memorisation(held_out, samples, train)
    assert found.value == found.ceiling == 1.0  # every held-out item is in the training set, too


def test_bias_of_a_frechet_distance_from_200_to_20000_and_the_interval_at_each():
    """Two equal Gaussians: the truth is 0, the estimate d (d + 3)-like over N; the interval holds its mean at that N."""
    means = {}
    for n, repeats in ((200, 30), (1000, 10), (5000, 4), (20_000, 2)):
        found = [fid(normal(n, 8, 2 * s), normal(n, 8, 2 * s + 1), resamples=30) for s in range(repeats)]
        means[n] = np.mean([m.value for m in found])
        assert np.mean([m.interval[0] <= means[n] <= m.interval[1] for m in found]) >= 0.9
    assert means[200] == pytest.approx(0.27, abs=0.03)
    assert means[20_000] == pytest.approx(0.0026, abs=0.0008)
    assert [means[n] * n for n in means] == pytest.approx([means[200] * 200] * 4, rel=0.25)
    shifted = [fid(normal(1000, 8, 2 * s), normal(1000, 8, 2 * s + 1, 1.2, 0.5), resamples=30) for s in range(20)]
    truth = 8 * (0.5**2 + 0.2**2)  # 2.32; the bias at N = 1,000 is 0.06
    assert np.mean([m.interval[0] <= truth <= m.interval[1] for m in shifted]) >= 0.8


def test_a_kernel_distance_is_as_large_at_200_as_at_20000_and_its_intervals_hold_it():
    def found(n, seed):
        return kid(normal(n, 8, 2 * seed), normal(n, 8, 2 * seed + 1, 1.1, 0.3), subsets=10)

    truth = found(20_000, 99).value
    for n, repeats in ((200, 100), (1000, 20), (5000, 4)):
        some = [found(n, seed) for seed in range(repeats)]
        values = [m.value for m in some]
        assert np.mean(values) == pytest.approx(truth, abs=3 * np.std(values) / repeats**0.5 + 0.02), n
        assert np.mean([m.interval[0] <= truth <= m.interval[1] for m in some]) >= 0.75, n


@pytest.mark.parametrize("function", NEIGHBOURS)
def test_intervals_of_neighbourhoods_hold_the_mean_though_balls_are_random(function):
    found = [function(normal(500, 8, 2 * s), normal(500, 8, 2 * s + 1, 0.8, 0.3)) for s in range(20)]
    mean = np.mean([m.value for m in found])
    assert np.mean([m.interval[0] <= mean <= m.interval[1] for m in found]) >= 0.85


def test_interval_of_the_kernel_distance_holds_the_truth():
    found = [kid(normal(300, 4, 2 * s), normal(300, 4, 2 * s + 1)) for s in range(60)]
    assert np.mean([m.interval[0] <= 0 <= m.interval[1] for m in found]) >= 0.9


def test_inception_score_of_known_probabilities():
    uniform, sure = torch.full((120, 6), 1 / 6), torch.eye(6)[torch.arange(120) % 6]
    assert inception_score(uniform, sure).value == pytest.approx(1.0, abs=1e-9)
    found = inception_score(sure, sure)
    assert (found.value, found.floor, found.ceiling) == pytest.approx((6.0, 1.0, 6.0), rel=1e-9)
    # Sure of 2 of 6 classes, half each; and 0.9 / 0.1 of two: exp(log 2 − H(0.9)).
    assert inception_score(torch.eye(6)[torch.arange(120) % 2], sure).value == pytest.approx(2.0, rel=1e-9)
    mixed = torch.tensor([[0.9, 0.1], [0.1, 0.9]]).repeat(60, 1)
    entropy = -(0.9 * math.log(0.9) + 0.1 * math.log(0.1))
    assert inception_score(mixed, mixed).value == pytest.approx(math.exp(math.log(2) - entropy), rel=1e-6)
    assert inception_score(sure, sure, resamples=20).interval[0] < 6.0


def test_classes_hit_and_their_divergence_in_closed_form():
    real = torch.eye(4)[torch.tensor([0] * 40 + [1] * 30 + [2] * 20 + [3] * 10)]
    drawn = torch.eye(4)[torch.tensor([0] * 60 + [1] * 39 + [2] * 1)]
    expected = 0.6 * math.log(0.6 / 0.4) + 0.39 * math.log(0.39 / 0.3) + 0.01 * math.log(0.01 / 0.2)
    found = modes_kl(drawn, real, resamples=20)
    assert found.value == pytest.approx(expected, rel=1e-12)
    assert found.interval[0] < expected < found.interval[1]
    assert modes_kl(real, real).value == 0.0
    hit = modes_hit(drawn, real)
    assert (hit.value, hit.ceiling) == (2.0, 4.0)  # 1 % of class 2 is less than a tenth of its 20 %
    assert hit.parts["samples"] == pytest.approx([0.6, 0.39, 0.01, 0.0])
    missing = torch.eye(4)[torch.tensor([0] * 50 + [3] * 50)]
    assert modes_kl(missing, real[:90]).value == pytest.approx(  # no real item of class 3: it counts as half a one
        0.5 * math.log(0.5 / (40 / 90)) + 0.5 * math.log(0.5 / (0.5 / 90)), rel=1e-9
    )


@pytest.mark.parametrize("function", OF_FEATURES)
def test_float32_agrees_and_repeating_gives_the_same_bits(function):
    real, samples = normal(400, 6, 0).float(), normal(400, 6, 1, 1.1).float()
    assert function(real, samples).value == function(real.double(), samples.double()).value  # all of them compute in float64
    fidelity._KNOWN.clear()
    again = function(real, samples)
    fidelity._KNOWN.clear()
    assert function(real, samples) == again
    shifted = function(normal(400, 6, 0) + 1e-6, normal(400, 6, 1, 1.1) + 1e-6)
    assert shifted.value == pytest.approx(again.value, abs=0.01)


@pytest.mark.parametrize("function", NEIGHBOURS)
def test_the_order_of_rows_and_rotation_scale_and_offset_change_nothing(function):
    real, samples = normal(250, 5, 0), normal(250, 5, 1, 1.2)
    turn = torch.from_numpy(np.linalg.qr(np.random.default_rng(2).normal(size=(5, 5)))[0])
    expected = function(real, samples).value
    order = torch.randperm(250, generator=torch.Generator().manual_seed(0))
    for a, b in ((real[order], samples.flip(0)), (real @ turn, samples @ turn), (real * 100 + 1e9, samples * 100 + 1e9)):
        assert function(a, b).value == expected


def test_too_few_samples_is_a_typed_reason_and_never_a_number():
    few, many = normal(3, 4, 0), normal(300, 4, 1)
    for function in NEIGHBOURS:
        for a, b in ((few, many), (many, few)):
            with pytest.raises(TooFewSamples, match="3 samples have no 3 neighbours"):
                function(a, b)
    with pytest.raises(TooFewSamples, match="needs 2"):
        kid(few[:1], many)
    with pytest.raises(TooFewSamples, match="199 held-out items"):
        memorisation(normal(199, 4, 0), many, many)
    for a, b in ((many[:0], many), (many, many[:0])):
        with pytest.raises(TooFewSamples, match="no samples"):
            memorisation(many, a, b)
    sure = torch.eye(10)
    for function in (inception_score, modes_hit, modes_kl):
        for a, b in ((sure[:4], sure), (sure, sure[:0]), (sure[:0], sure)):
            with pytest.raises(TooFewSamples, match="cannot show 10 classes"):
                function(a, b)
    with pytest.raises(TooFewSamples):
        inception_score(sure, sure, splits=10)
    for function in (modes_hit, modes_kl):
        with pytest.raises(NotApplicable, match="single class"):
            function(torch.ones(20, 1), torch.ones(20, 1))


def test_the_interval_of_modes_counts_those_that_are_hardly_reached():
    real = torch.eye(10).repeat(50, 1)
    rng = np.random.default_rng(0)
    drawn = torch.eye(10)[torch.from_numpy(rng.choice(10, 500, p=np.r_[np.full(9, 0.11), 0.01]))]
    found = modes_hit(drawn, real, resamples=50)
    assert found.interval[0] < found.value < found.interval[1]
    fair = modes_hit(real, real, resamples=50)
    assert fair.interval == (10.0, 10.0)


def test_ten_splits_are_ten_scores_of_consecutive_samples():
    p = torch.from_numpy(np.random.default_rng(0).dirichlet(np.full(3, 0.3), 105))
    edges = [k * 105 // 10 for k in range(11)]
    alone = [inception_score(p[a:b], p[a:b]).value for a, b in itertools.pairwise(edges)]
    assert inception_score(p, p, splits=10).value == pytest.approx(np.mean(alone), rel=1e-12)
    assert inception_score(p, p, splits=10).value < inception_score(p, p).value
    with pytest.raises(TooFewSamples):
        inception_score(p[:20], p[:20], splits=10)
