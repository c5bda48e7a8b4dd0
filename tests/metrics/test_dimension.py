import numpy as np
import pytest
import torch

from latent_atlas.metrics.dimension import levina_bickel, two_nn
from latent_atlas.metrics.result import NotApplicable

ESTIMATES = [two_nn, levina_bickel]


def sphere(n, d, rng):
    x = rng.normal(size=(n, d + 1))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def swiss_roll(n, rng):
    t, height = 1.5 * np.pi * (1 + 2 * rng.random(n)), 21 * rng.random(n)
    return np.stack([t * np.cos(t), height, t * np.sin(t)], 1)


def embedded(x, into, rng):
    """The same cloud in more dimensions, by a random isometry."""
    return torch.from_numpy(x @ np.linalg.qr(rng.normal(size=(into, into)))[0][: x.shape[1]])


@pytest.mark.parametrize("estimate", ESTIMATES)
@pytest.mark.parametrize(
    ("true", "cloud"),
    [
        (1, lambda n, rng: np.stack([np.cos(t := 6.28 * rng.random(n)), np.sin(t)], 1)),
        (2, lambda n, rng: sphere(n, 2, rng)),
        (2, swiss_roll),
        (4, lambda n, rng: sphere(n, 4, rng)),
        (5, lambda n, rng: rng.normal(size=(n, 5))),
    ],
    ids=["circle", "sphere", "swiss roll", "4-sphere", "5 normals"],
)
def test_known_manifolds_in_twelve_dimensions(estimate, true, cloud):
    rng = np.random.default_rng(0)
    found = estimate(embedded(cloud(3000, rng), 12, rng))
    assert found.value == pytest.approx(true, rel=0.08)
    assert found.ceiling == 12


@pytest.mark.parametrize("estimate", ESTIMATES)
def test_many_dimensions_are_underestimated_as_the_documentation_says(estimate):
    z = torch.from_numpy(np.random.default_rng(0).random((2000, 20)))
    assert 10 < estimate(z).value < 18


@pytest.mark.parametrize("estimate", ESTIMATES)
def test_scale_offset_duplicates_and_dead_dimensions_change_nothing(estimate):
    z = torch.from_numpy(np.random.default_rng(0).normal(size=(800, 3)))
    value = estimate(z).value
    for changed in (z * 1e3, z + 100, torch.hstack([z, torch.ones(800, 2)]), z.flip(1), torch.cat([z, z])):
        assert estimate(changed).value == pytest.approx(value, rel=1e-6)
    assert estimate(torch.hstack([z, 1e-6 * torch.randn(800, 2)])).value == pytest.approx(value, rel=0.02)


def test_the_interval_of_two_nn_covers_about_95_times_in_100():
    hits = 0
    for seed in range(60):
        angle = 6.283 * np.random.default_rng(seed).random(300)
        low, high = two_nn(torch.from_numpy(np.stack([np.cos(angle), np.sin(angle)], 1))).interval
        hits += low <= 1 <= high
    assert hits >= 52


@pytest.mark.parametrize("estimate", ESTIMATES)
def test_duplicates_within_the_rounding_of_float32_are_no_neighbours(estimate):
    z = torch.from_numpy(np.random.default_rng(0).normal(size=(800, 3)))
    again = torch.cat([z, z + 1e-7 * torch.from_numpy(np.random.default_rng(1).normal(size=(800, 3)))])
    assert estimate(again).value == pytest.approx(estimate(z).value, rel=1e-6)


@pytest.mark.parametrize("estimate", ESTIMATES)
def test_a_collapsed_code_has_no_dimension(estimate):
    with pytest.raises(NotApplicable, match="1 different codes are too few"):
        estimate(torch.zeros(500, 4))
