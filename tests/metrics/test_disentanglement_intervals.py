"""From 200 to 20,000 items: how far a score is biased, how wide its interval is, and whether it holds what many items say."""

import numpy as np
import pytest
from toy_codes import INFORMATION, LINEAR, METRICS, SIZES, TREES, VOTED, factors, noise, trees_in_one_process

from latent_atlas.metrics.disentanglement import jemmig, mig, mig_sup, modularity
from latent_atlas.metrics.infomec import infoc, infom
from latent_atlas.metrics.information import mutual_information, quantile_bins
from latent_atlas.metrics.interventions import irs
from latent_atlas.metrics.unsupervised import dimension_information, total_correlation, wasserstein_correlation

pytestmark = pytest.mark.slow
MANY = 20_000
MIXED = np.array([[1.0, 0.4, 0.0], [0.0, 1.0, 0.3], [0.2, 0.0, 1.0]])


@pytest.fixture(autouse=True, scope="module")
def _trees():
    with trees_in_one_process():
        yield


def drawn(n, seed):
    """A code that is neither perfect nor noise."""
    v = factors(n, SIZES, seed)
    return (v / v.std(0) + 0.5 * noise(n, 3, seed + 1000)) @ MIXED, v


RESAMPLED = {
    **{m.__name__: lambda z, v, r, m=m: m(z, v, bins=10, resamples=r) for m in (mig, mig_sup, jemmig, modularity, infom, infoc)},
    "irs": lambda z, v, r: irs(z, v, resamples=r),
    "total_correlation": lambda z, _, r: total_correlation(z, r),
    "wasserstein_correlation": lambda z, _, r: wasserstein_correlation(z, r),
    "dimension_information": lambda z, _, r: dimension_information(z, r, bins=6),
}


@pytest.mark.parametrize("name", RESAMPLED)
def test_bootstrap_intervals_hold_the_value_of_many_items(name):
    truth = RESAMPLED[name](*drawn(MANY, 99), 0).value
    assert RESAMPLED[name](*drawn(200, 0), 0).interval is None
    found = {n: [RESAMPLED[name](*drawn(n, seed), 12) for seed in range(8)] for n in (200, 1000)}
    for n, least in ((200, 5), (1000, 6)):
        assert sum(one.interval[0] <= truth <= one.interval[1] for one in found[n]) >= least, n
    width = {n: np.mean([one.interval[1] - one.interval[0] for one in ones]) for n, ones in found.items()}
    assert width[1000] < 0.75 * width[200]
    bias = {n: abs(np.mean([one.value for one in ones]) - truth) for n, ones in found.items()}
    assert bias[200] < 0.06
    assert bias[1000] < 0.02


@pytest.mark.parametrize("name", [*LINEAR, *VOTED, *TREES])
def test_refits_give_what_is_trained_an_interval(name):
    z, v = drawn(1200, 0)
    # No vote of a better code is ever wrong; of a worse one, a factor that is no longer told from chance halves or doubles D.
    z = z + (0.5 if name in TREES else 1.5) * noise(1200, 3, 77)
    once, thrice = METRICS[name](z, v), METRICS[name](z, v, refits=3)
    low, high = thrice.interval
    assert once.interval is None
    assert low <= thrice.value <= high
    assert 0 < high - low < 0.35
    assert low - 0.03 <= once.value <= high + 0.03


@pytest.mark.parametrize("name", [*LINEAR, *VOTED])
def test_intervals_of_refits_hold_the_value_of_many_items(name):
    """Training and held-out items are drawn anew for each refit, so they tell how far other items would move the score."""

    def noisy(n, seed):
        z, v = drawn(n, seed)
        return z + 1.5 * noise(n, 3, seed + 77), v

    truth = METRICS[name](*noisy(MANY, 99)).value
    found = [METRICS[name](*noisy(1200, seed), refits=3) for seed in range(8)]
    assert sum(one.interval[0] <= truth <= one.interval[1] for one in found) >= 7
    assert np.mean([one.value for one in found]) == pytest.approx(truth, abs=0.05)


@pytest.mark.parametrize("name", METRICS)
def test_few_items_say_nearly_what_many_do(name):
    given = {"bins": 10} if name in INFORMATION else {}
    many = METRICS[name](*drawn(8000 if name in TREES else 2 * MANY, 5), **given).value
    few = [METRICS[name](*drawn(400, seed), **given).value for seed in (6, 7, 8)]
    # Trees of 200 items are unsure of their cuts: D and C lie 0.13 below those of 4,000.
    assert np.mean(few) == pytest.approx(many, abs=0.15 if name in TREES else 0.1)


@pytest.mark.parametrize(("n", "uncorrected"), [(200, 0.23), (1000, 0.046), (5000, 0.0091), (20_000, 0.0022)])
def test_the_bias_of_information_shrinks_with_items_and_is_taken_off(n, uncorrected):
    z = [[quantile_bins(column, 10) for column in noise(n, 2, seed).T] for seed in range(20)]
    found = [[mutual_information([a], [b], corrected) for a, b in z] for corrected in (False, True)]
    plug_in, corrected = (np.mean([one.entropy[0] + np.log(10) - one.joint[0, 0] for one in ones]) for ones in found)
    assert plug_in == pytest.approx(uncorrected, rel=0.15)
    assert abs(corrected) < 0.4 * plug_in
