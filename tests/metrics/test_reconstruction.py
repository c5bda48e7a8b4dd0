import hashlib
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torchmetrics

from latent_atlas.metrics.reconstruction import SSIM_WINDOW, WEIGHTS, lpips, mae, ms_ssim, mse, psnr, ssim
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


def test_absolute_error_of_known_images_and_against_its_definition(pair):
    x, recon = pair
    assert mae(torch.zeros(4, 1, 2, 2), torch.full((4, 1, 2, 2), -0.25)).value == 0.25
    found = mae(x, recon)
    assert found.value == pytest.approx(float((x - recon).double().abs().mean()), rel=1e-12)
    assert found.interval[0] < found.value < found.interval[1]
    assert mae(x, x).value == 0.0
    with pytest.raises(ValueError, match="its reconstruction"):
        mae(x, recon[:, :, :4])


def test_known_answers_of_flat_images():
    """a = 0.25 against b = 0.75: no contrast, so both similarities are luminance alone."""
    a, b = torch.full((3, 1, 32, 32), 0.25), torch.full((3, 1, 32, 32), 0.75)
    luminance = (2 * 0.25 * 0.75 + 1e-4) / (0.25**2 + 0.75**2 + 1e-4)
    assert ssim(a, b).value == pytest.approx(luminance, abs=1e-7)
    assert ms_ssim(a, b).value == pytest.approx(luminance ** (WEIGHTS[2] / sum(WEIGHTS[:3])), abs=1e-7)
    assert psnr(a, b).value == pytest.approx(-20 * np.log10(0.5), abs=1e-7)


def similarity(a, b, window):
    """Contrast and structure, and these times luminance, window by window in float64: Wang et al. 2004, equations 6, 9 and 10."""
    place = np.arange(window) - (window - 1) / 2
    bell = np.exp(-(place**2) / (2 * 1.5**2))
    weight = np.outer(bell, bell) / bell.sum() ** 2
    contrast, whole = [], []
    for i in range(len(a) - window + 1):
        for j in range(a.shape[1] - window + 1):
            p, q = (array[i : i + window, j : j + window] for array in (a, b))
            mp, mq = (weight * p).sum(), (weight * q).sum()
            vp, vq = (weight * (p - mp) ** 2).sum(), (weight * (q - mq) ** 2).sum()
            contrast.append((2 * (weight * (p - mp) * (q - mq)).sum() + 9e-4) / (vp + vq + 9e-4))
            whole.append(contrast[-1] * (2 * mp * mq + 1e-4) / (mp**2 + mq**2 + 1e-4))
    return np.mean(contrast), np.mean(whole)


@pytest.mark.parametrize(("side", "scales"), [(28, 3), (32, 3), (64, 4)])
def test_similarity_over_scales_equals_its_definition_by_loops(side, scales):
    draw = np.random.default_rng(0)
    a = draw.random((side, side))
    b = (a + 0.2 * draw.normal(size=a.shape)).clip(0, 1)
    found = ms_ssim(*(torch.from_numpy(image)[None, None].float() for image in (a, b)))
    assert found.provenance == {"n": 1, "window": 7, "scales": scales}
    expected, weights = 1.0, np.array(WEIGHTS[:scales]) / sum(WEIGHTS[:scales])
    for scale in range(scales):
        contrast, whole = similarity(a, b, 7)
        expected *= (whole if scale == scales - 1 else contrast) ** weights[scale]
        half = len(a) // 2
        a, b = (image[: 2 * half, : 2 * half].reshape(half, 2, half, 2).mean((1, 3)) for image in (a, b))
    assert found.value == pytest.approx(expected, abs=1e-7)


def test_similarity_over_scales_is_as_published_where_images_are_large_enough():
    x = torch.rand(2, 3, 180, 176, generator=torch.Generator().manual_seed(0))
    recon = (x + 0.3 * torch.randn(x.shape, generator=torch.Generator().manual_seed(1))).clamp(0, 1)
    found = ms_ssim(x, recon)
    assert found.provenance == {"n": 2, "window": 11, "scales": 5}
    # torchmetrics continues images by reflection where the paper's windows lie inside; that moves the coarsest scale.
    theirs = torchmetrics.functional.image.multiscale_structural_similarity_index_measure(recon, x, data_range=1.0)
    assert found.value == pytest.approx(float(theirs), abs=0.01)


def test_similarity_over_scales_of_equal_inverted_and_small_images(pair):
    x = torch.rand(5, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    assert ms_ssim(x, x).value == pytest.approx(1.0, abs=1e-6)
    assert ms_ssim(x, 1 - x).value == 0.0  # negative similarities count as none, and never as NaN
    assert ms_ssim(x, x + 2) == ms_ssim(x, torch.ones_like(x))  # reconstructions are clipped
    with pytest.raises(NotApplicable, match="8 px have a single scale under a 7 px window"):
        ms_ssim(torch.zeros(2, 1, 8, 8), torch.zeros(2, 1, 8, 8))
    assert ms_ssim(pair[0], pair[1]).provenance["scales"] == 2


@pytest.mark.parametrize("metric", [psnr, ssim, ms_ssim])
def test_images_of_another_range_are_refused(metric):
    images = torch.rand(4, 1, 32, 32)
    for wrong in (images * 255, images * 2 - 1):
        with pytest.raises(ValueError, match=r"\[0, 1\]"):
            metric(wrong, images)
    if metric is psnr:
        assert psnr(images * 255, images * 255 + 2.55, data_range=255).value == pytest.approx(40.0, abs=1e-3)


class Seen:
    """Stands for lpips.LPIPS and keeps what it is shown."""

    images: list[torch.Tensor] = []  # noqa: RUF012 - read by the test

    def __init__(self, net, version, verbose):
        self.net, self.version = net, version

    def eval(self):
        return self

    def state_dict(self):
        return {"lin0": torch.ones(3)}

    def __call__(self, a, b):
        Seen.images += [a, b]
        return (a - b).abs().mean((1, 2, 3))[:, None, None, None]


def test_lpips_shows_three_channels_from_minus_one_to_one_and_names_its_weights(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "lpips", SimpleNamespace(LPIPS=Seen))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    x = torch.rand(70, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    with pytest.raises(NotApplicable, match="weights of alex"):
        lpips(x, x)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints/alexnet-owt-7be5be79.pth").touch()
    found = lpips(x, torch.full_like(x, 1.5))
    assert {tuple(image.shape[1:]) for image in Seen.images} == {(3, 32, 32)}
    assert torch.equal(torch.cat(Seen.images[::2])[:, 2], x[:, 0] * 2 - 1)
    assert torch.cat(Seen.images[1::2]).unique().tolist() == [1.0]
    assert found.value == pytest.approx(float((2 - 2 * x).mean()), rel=1e-5)
    digest = hashlib.sha256(b"lin0" + np.ones(3, np.float32).tobytes()).hexdigest()
    assert found.provenance == {"n": 70, "net": "alex", "version": "0.1", "weights": digest[:8]}
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        lpips(x * 255, x)
    with pytest.raises(NotApplicable, match="at least 31 px; these are 1 × 28 px"):
        lpips(x[..., :28, :28], x[..., :28, :28])
    with pytest.raises(NotApplicable, match="grey or colour"):
        lpips(x.expand(-1, 2, -1, -1), x.expand(-1, 2, -1, -1))


def test_lpips_without_its_package_is_a_reason(monkeypatch):
    monkeypatch.setitem(sys.modules, "lpips", None)
    with pytest.raises(NotApplicable, match="pip install lpips"):
        lpips(torch.zeros(2, 3, 64, 64), torch.zeros(2, 3, 64, 64))


@pytest.mark.parametrize("metric", [mse, mae, psnr, ssim, ms_ssim])
def test_float32_and_float64_agree_and_repeating_gives_the_same_bits(metric, pair):
    x, recon = pair
    found = metric(x, recon)
    assert metric(x, recon) == found
    assert metric(x.double(), recon.double()).value == pytest.approx(found.value, rel=1e-6)
