import numpy as np
import pytest
import torch
import torchmetrics

from latent_atlas.metrics.reconstruction import SSIM_WINDOW, mse, psnr, ssim
from latent_atlas.metrics.result import NotApplicable
from latent_atlas.metrics.streaming import StreamingMSE


@pytest.fixture
def pair():
    draw = torch.Generator().manual_seed(0)
    x = torch.rand(37, 1, 16, 16, generator=draw)
    return x, (x + 0.1 * torch.randn(x.shape, generator=draw)).clamp(0, 1)


def test_mse_is_the_mean_over_all_entries_with_the_mean_items_error_as_floor(pair):
    x, recon = pair
    found = mse(x, recon)
    assert found.value == pytest.approx(float(((x - recon).double() ** 2).mean()), rel=1e-12)
    assert found.floor == pytest.approx(mse(x, x.mean(0).expand_as(x)).value, rel=1e-5)
    assert found.interval[0] < found.value < found.interval[1]


def test_interval_of_mse_covers_its_mean_about_95_times_in_100():
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(300):
        errors = torch.from_numpy(rng.normal(0, 0.5, (60, 4)))
        low, high = mse(torch.zeros_like(errors), errors).interval
        hits += low <= 0.25 <= high
    assert 0.90 <= hits / 300 <= 0.98


def test_one_item_has_an_error_and_no_interval():
    found = mse(torch.zeros(1, 3), torch.ones(1, 3))
    assert (found.value, found.interval, found.floor) == (1.0, None, None)


def test_mse_refuses_arrays_of_different_shape():
    with pytest.raises(ValueError, match="its reconstruction"):
        mse(torch.zeros(4, 3), torch.zeros(4, 1))


def test_psnr_of_a_known_error_and_against_torchmetrics(pair):
    assert psnr(torch.zeros(5, 1, 4, 4), torch.full((5, 1, 4, 4), 0.1)).value == pytest.approx(20.0, abs=1e-5)
    x, recon = pair
    theirs = torchmetrics.functional.image.peak_signal_noise_ratio(recon, x, data_range=1.0)
    found = psnr(x, recon)
    assert found.value == pytest.approx(float(theirs), rel=1e-5)
    assert found.interval[0] < found.value < found.interval[1]
    assert found.floor < found.value


def test_psnr_of_an_exact_reconstruction_is_a_reason_and_not_infinity(pair):
    with pytest.raises(NotApplicable, match="exact"):
        psnr(pair[0], pair[0])


@pytest.mark.parametrize("n", [1, 2, 37])
def test_ssim_equals_torchmetrics_and_is_one_for_equal_images(pair, n):
    x, recon = (array[:n] for array in pair)
    theirs = torchmetrics.functional.image.structural_similarity_index_measure(recon, x, data_range=1.0)
    assert ssim(x, recon, batch_size=12).value == pytest.approx(float(theirs), abs=1e-6)
    assert ssim(x, x).value == pytest.approx(1.0, abs=1e-6)


def test_ssim_gives_a_reason_below_its_window_and_refuses_another_range():
    with pytest.raises(NotApplicable, match=f"8 px are smaller than the {SSIM_WINDOW} px window"):
        ssim(torch.zeros(2, 1, 8, 8), torch.zeros(2, 1, 8, 8))
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        ssim(torch.full((2, 1, 16, 16), 255.0), torch.zeros(2, 1, 16, 16))


def test_streaming_mse_equals_one_shot_also_in_uneven_batches(pair):
    x, recon = pair
    metric = StreamingMSE()
    for a, b in zip(x.split(10), recon.split(10), strict=True):
        metric.update(a, b)
    assert float(metric.compute()) == pytest.approx(mse(x, recon).value, rel=1e-12)
