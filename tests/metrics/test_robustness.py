import numpy as np
import pytest
import torch

from latent_atlas.metrics.result import NotApplicable
from latent_atlas.metrics.robustness import denoising_mse, generalization_gap, latent_shift, probe_under_noise


def normal(n, d, seed, scale=1.0):
    return torch.from_numpy(np.random.default_rng(seed).normal(0, scale, (n, d)))


def test_a_model_that_copies_training_items_has_its_whole_error_as_gap():
    x, seen = normal(400, 6, 0), normal(400, 6, 1)
    found = generalization_gap(x, x + 0.3, seen, seen)
    assert found.value == pytest.approx(0.09, abs=1e-9)
    assert found.parts == pytest.approx({"held_out": 0.09, "train": 0.0, "share": 1.0})
    assert generalization_gap(x, x, seen, seen).value == 0.0


def test_no_gap_lies_within_its_interval_about_95_times_in_100():
    hits, rng = 0, np.random.default_rng(0)
    for _ in range(200):
        errors = [torch.from_numpy(rng.normal(0, 0.5, (60, 4))) for _ in range(2)]
        low, high = generalization_gap(errors[0] * 0, errors[0], errors[1] * 0, errors[1]).interval
        hits += low <= 0 <= high
    assert 0.90 <= hits / 200 <= 0.99


def test_shift_is_in_units_of_the_distance_of_two_random_codes():
    z = normal(4000, 3, 0)
    noisy = {0.1: z + 0.5 * normal(4000, 3, 1), 0.2: z + normal(4000, 3, 2)}
    found = latent_shift(z, noisy)
    assert found.value == pytest.approx(0.5 / np.sqrt(2), rel=0.03)
    assert found.parts["shift"]["0.2"] == pytest.approx(1 / np.sqrt(2), rel=0.03)
    assert found.interval[0] < found.value < found.interval[1]
    assert latent_shift(z, {0.1: z}).value == 0.0
    other = {0.1: z[torch.randperm(4000)]}
    assert latent_shift(z, other).value == pytest.approx(latent_shift(z, other).floor, abs=0.02)


def test_shift_does_not_know_scale_offset_order_or_dead_dimensions():
    z, moved = normal(300, 3, 0), normal(300, 3, 1)
    value = latent_shift(z, {0.1: moved}).value
    for change in (lambda a: 7 * a - 3, lambda a: a.flip(1), lambda a: torch.hstack([a, torch.ones(300, 2)])):
        assert latent_shift(change(z), {0.1: change(moved)}).value == pytest.approx(value, rel=1e-9)
    with pytest.raises(NotApplicable, match="alike"):
        latent_shift(z * 0, {0.1: moved})
    with pytest.raises(NotApplicable, match="no strength"):
        latent_shift(z, {})


@pytest.mark.parametrize("ladder", ["knn", "linear", "mlp"])
def test_accuracy_falls_from_that_without_noise_to_chance(ladder):
    z, zt = normal(800, 2, 0), normal(800, 2, 1)
    y, yt = (z[:, 0] > 0).long(), (zt[:, 0] > 0).long()
    noisy = {0.05: z.clone(), 0.1: z + 0.5 * normal(800, 2, 2), 0.2: z + 100 * normal(800, 2, 3)}
    found = probe_under_noise(z, noisy, zt, y, yt, ladder=ladder)
    curve = found.parts["accuracy"]
    assert list(curve) == ["0.0", "0.05", "0.1", "0.2"]
    assert curve["0.0"] == curve["0.05"] > 0.95
    assert curve["0.0"] > found.value == curve["0.1"] > curve["0.2"]
    assert curve["0.2"] == pytest.approx(0.5, abs=0.06)
    assert found.ceiling == curve["0.0"]
    assert found.provenance["sigma"] == 0.1
    refit = probe_under_noise(z, noisy, zt, y, yt, ladder=ladder, refits=3)
    assert refit.interval[0] < refit.value < refit.interval[1]


def test_noise_on_the_first_items_alone_is_enough():
    z, zt = normal(800, 2, 0), normal(800, 2, 1)
    y, yt = (z[:, 0] > 0).long(), (zt[:, 0] > 0).long()
    found = probe_under_noise(z, {0.1: z[:300]}, zt, y, yt)
    assert found.provenance["n"] == latent_shift(z, {0.1: z[:300]}).provenance["n"] == 300
    assert found.value == found.ceiling > 0.95


def test_a_probe_under_noise_needs_training_items():
    with pytest.raises(NotApplicable, match="no training items"):
        probe_under_noise(normal(50, 2, 0), {0.1: normal(50, 2, 0)}, labels=torch.arange(50) % 2)


def shaken(x, sigmas=(0.1, 0.2, 0.5)):
    return {sigma: (x + sigma * torch.randn(x.shape, generator=torch.Generator().manual_seed(9))).float() for sigma in sigmas}


def test_a_copy_keeps_all_noise_and_a_projection_what_lies_in_it():
    """x in two of eight dimensions: the identity errs by σ², the projection on these two by 2 σ² / 8."""
    x = torch.hstack([normal(4000, 2, 0), torch.zeros(4000, 6)]).float()
    noisy = shaken(x)
    copied = denoising_mse(x, x, noisy, lambda z: z)
    assert copied.value == pytest.approx(0.04, rel=0.03)
    assert copied.floor == pytest.approx(0.04, rel=0.03)
    assert copied.ceiling == 0.0
    narrow = {sigma: codes[:, :2] for sigma, codes in noisy.items()}
    projected = denoising_mse(x, x, narrow, lambda z: torch.hstack([z, torch.zeros(len(z), 6)]))
    assert projected.value == pytest.approx(0.04 / 4, rel=0.05)
    assert projected.interval[0] < projected.value < projected.interval[1]
    assert list(projected.parts["denoised"]) == list(projected.parts["noisy"]) == ["0.0", "0.1", "0.2", "0.5"]
    assert projected.parts["denoised"]["0.5"] == pytest.approx(25 * projected.parts["denoised"]["0.1"], rel=1e-4)


def test_the_best_linear_denoiser_reaches_its_known_error():
    """x ~ N(0, 1), y = x + σ ε: the best estimate y / (1 + σ²) errs by σ² / (1 + σ²)."""
    x = normal(2000, 8, 0).float()
    found = denoising_mse(x, x, shaken(x[:1500]), lambda y: y / (1 + 0.5**2), sigma=0.5)
    assert found.value == pytest.approx(0.25 / 1.25, rel=0.03)
    assert found.provenance == {"n": 1500, "sigma": 0.5}


def test_the_floor_of_images_is_clamped_as_they_are_and_repeats():
    x = torch.zeros(200, 1, 6, 6)
    first, again, other = (denoising_mse(x, x, {0.2: x.flatten(1)}, lambda z: z.reshape(-1, 1, 6, 6), seed=s) for s in (3, 3, 4))
    assert first.floor == pytest.approx(0.04 / 2, rel=0.05)  # half of the noise lies below 0
    assert first.floor == again.floor != other.floor
    with pytest.raises(NotApplicable, match="no strength"):
        denoising_mse(x, x, {}, lambda z: z)


def test_training_items_by_heart_are_the_floor_of_the_gap():
    x, x_train = (torch.randn(300, 4, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    by_heart = generalization_gap(x, x_train.mean(0).expand(300, 4), x_train, x_train)
    assert by_heart.value == pytest.approx(by_heart.floor)
    assert by_heart.value == pytest.approx(1.0, rel=0.1)
