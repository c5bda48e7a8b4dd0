import numpy as np
import pytest
import torch

from latent_atlas.metrics.frechet import Moments, fid, frechet, frechet_distance, moments
from latent_atlas.metrics.result import TooFewSamples
from latent_atlas.metrics.streaming import StreamingFrechet


def gaussian(n, d, seed, scale=1.0, shift=0.0):
    return torch.from_numpy(np.random.default_rng(seed).normal(shift, scale, (n, d)))


def test_closed_form_of_two_diagonal_gaussians():
    a, b = np.array([1.0, 4.0, 9.0]), np.array([4.0, 1.0, 0.0])
    shift = np.array([1.0, -2.0, 0.5])
    found = frechet_distance(Moments(np.zeros(3), np.diag(a), 10), Moments(shift, np.diag(b), 10))
    assert found == pytest.approx(shift @ shift + ((np.sqrt(a) - np.sqrt(b)) ** 2).sum(), rel=1e-12)


def test_closed_form_where_the_covariances_commute_but_are_not_diagonal():
    q = np.linalg.qr(np.random.default_rng(0).normal(size=(5, 5)))[0]
    a, b = np.arange(1.0, 6.0), np.arange(5.0, 0.0, -1.0)
    found = frechet_distance(Moments(np.zeros(5), q @ np.diag(a) @ q.T, 10), Moments(np.zeros(5), q @ np.diag(b) @ q.T, 10))
    assert found == pytest.approx(((np.sqrt(a) - np.sqrt(b)) ** 2).sum(), rel=1e-9)


def test_distance_of_a_sample_to_itself_is_zero_and_it_is_symmetric():
    x, y = gaussian(500, 16, 0), gaussian(500, 16, 1, 1.5)
    assert frechet(x, x) == pytest.approx(0, abs=1e-9)
    assert frechet(x, y) == pytest.approx(frechet(y, x), rel=1e-9)


def test_the_bias_of_identical_distributions_shrinks_like_one_over_n():
    small, large = (np.mean([frechet(gaussian(n, 8, s), gaussian(n, 8, s + 50)) for s in range(20)]) for n in (100, 800))
    assert 5 < small / large < 13


def test_fewer_than_twice_the_features_is_a_typed_reason():
    with pytest.raises(TooFewSamples, match="15 samples are below 2·d = 16"):
        frechet(gaussian(100, 8, 0), gaussian(15, 8, 1))
    with pytest.raises(TooFewSamples):
        moments(gaussian(1, 8, 0))


def test_fid_states_n_and_its_interval_holds_the_value():
    found = fid(gaussian(200, 8, 0), gaussian(200, 8, 1, 2.0), resamples=20)
    assert found.provenance == {"n": 200, "dimensions": 8}
    low, high = found.interval
    assert 0 < low < found.value < high
    assert fid(gaussian(200, 8, 0), gaussian(200, 8, 1)).interval is None


def test_equals_torchmetrics_with_the_same_extractor():
    from torchmetrics.image.fid import FrechetInceptionDistance

    class Flat(torch.nn.Module):
        num_features = 12

        def forward(self, x):
            return x.flatten(1)[:, :12].double() / 255

    real, fake = (
        torch.randint(0, 256, (60, 3, 4, 4), generator=torch.Generator().manual_seed(s), dtype=torch.uint8) for s in (0, 1)
    )
    theirs = FrechetInceptionDistance(feature=Flat(), input_img_size=(3, 4, 4)).set_dtype(torch.float64)
    theirs.update(real, real=True)
    theirs.update(fake, real=False)
    assert frechet(Flat()(real), Flat()(fake)) == pytest.approx(float(theirs.compute()), rel=1e-6)


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_streaming_equals_one_shot_also_far_from_the_origin(offset):
    real, other = gaussian(300, 6, 0) + offset, gaussian(200, 6, 1, 1.3) + offset
    metric = StreamingFrechet(6, centre=real[:50].mean(0))
    for part in real.split(77):
        metric.update(part, real=True)
    for part in other.split(64):
        metric.update(part, real=False)
    assert float(metric.compute()) == pytest.approx(frechet(real, other), rel=1e-9)


def test_streaming_refuses_too_few_samples():
    metric = StreamingFrechet(6)
    metric.update(gaussian(300, 6, 0), real=True)
    metric.update(gaussian(11, 6, 1), real=False)
    with pytest.raises(TooFewSamples, match="11 samples"):
        metric.compute()


def test_a_wide_distance_says_why_it_has_no_interval():
    real, other = (torch.randn(600, 257, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    assert "from 101 resamples" in fid(real, other, resamples=50).parts["no_interval"]
    assert fid(real[:, :8], other[:, :8], resamples=5).parts == {}
    assert fid(real, other).parts == {}
