import numpy as np
import pytest
import torch

from latent_atlas.metrics.homology import loops, persistence, pieces
from latent_atlas.metrics.result import NotApplicable

N = 300


def circle(rng, noise=0.0, width=2):
    angle = 2 * np.pi * rng.random(N)
    points = np.zeros((N, width))
    points[:, 0], points[:, 1] = np.cos(angle), np.sin(angle)
    return points + noise * rng.normal(size=points.shape)


def torus(rng):
    a, b = 2 * np.pi * rng.random((2, 400))
    return np.stack([np.cos(a), np.sin(a), np.cos(b), np.sin(b)], 1)


def sphere(rng):
    points = rng.normal(size=(N, 3))
    return points / np.linalg.norm(points, axis=1, keepdims=True)


SHAPES = {
    "circle": (circle, 1),
    "noisy circle": (lambda rng: circle(rng, 0.15), 1),
    "circle in many dimensions": (lambda rng: circle(rng, 0.15, 30), 1),
    "eight": (lambda rng: np.concatenate([circle(rng, 0.05), circle(rng, 0.05) + np.array([2, 0])]), 2),
    "torus": (torus, 2),
    "line": (lambda rng: rng.normal(size=(N, 1)), 0),
    "plane": (lambda rng: rng.normal(size=(N, 2)), 0),
    "square": (lambda rng: rng.random((N, 2)), 0),
    "sphere": (sphere, 0),
    "ten dimensions": (lambda rng: rng.normal(size=(N, 10)), 0),
    "lattice": (lambda rng: np.stack(np.meshgrid(np.arange(17), np.arange(17)), -1).reshape(-1, 2), 0),
}


@pytest.mark.parametrize("name", SHAPES)
def test_loops_of_known_shapes(name):
    make, expected = SHAPES[name]
    assert loops(persistence(torch.from_numpy(make(np.random.default_rng(0))))) == expected


def test_landmarks_of_many_points_find_a_torus_that_is_bent_in_many_directions():
    """Pairs of small images, a dot on a circle in each."""
    angle, (y, x) = 2 * np.pi * np.random.default_rng(0).random((2, 1200, 1, 1)), np.mgrid[:8, :8] - 3.5
    dots = [np.exp(-((x - 2 * np.cos(a)) ** 2 + (y - 2 * np.sin(a)) ** 2) / 2).reshape(1200, -1) for a in angle]
    assert loops(persistence(torch.from_numpy(np.concatenate(dots, 1)))) == 2


def test_a_regular_polygon_has_the_lifetimes_of_geometry():
    """Of n points on the unit circle the sides close the loop, and the least inscribed triangle through points fills it."""
    angle = 2 * np.pi * np.arange(60) / 60
    found = persistence(torch.from_numpy(np.stack([np.cos(angle), np.sin(angle)], 1)))
    assert pieces(found) == 1
    side = 2 * np.sin(np.pi / 60)
    assert found.births == pytest.approx([side], rel=1e-5)
    assert found.deaths == pytest.approx([np.sqrt(3)], rel=1e-5)
    assert found.pieces == pytest.approx(np.full(59, side), rel=1e-5)


def test_pieces_are_clusters_and_no_outliers():
    rng = np.random.default_rng(0)
    clusters = np.concatenate([rng.normal(size=(100, 3)) + place for place in ([0, 0, 0], [12, 0, 0], [0, 12, 0])])
    assert pieces(persistence(torch.from_numpy(clusters))) == 3
    outlier = np.concatenate([rng.normal(size=(299, 3)), [[50, 0, 0]]])
    assert pieces(persistence(torch.from_numpy(outlier))) == 1


def test_scale_offset_and_place_change_nothing():
    """Nor do directions without variance, nor the principal axes."""
    points = circle(np.random.default_rng(1), 0.1)
    turn = np.linalg.qr(np.random.default_rng(2).normal(size=(50, 50)))[0][:2]
    one, other = (persistence(torch.from_numpy(p)) for p in (points, 1e3 * points @ turn + 1e4))
    assert other.ratios == pytest.approx(one.ratios, rel=1e-4)


def test_it_repeats_by_seed():
    points = torch.from_numpy(np.random.default_rng(0).normal(size=(1000, 3)))
    first, again, other = (persistence(points, limit=100, seed=seed) for seed in (0, 0, 1))
    assert np.array_equal(first.deaths, again.deaths)
    assert not np.array_equal(first.pieces, other.pieces)


@pytest.mark.parametrize(
    "points",
    [torch.zeros(100, 3), torch.randn(10, 3), torch.full((100, 2), torch.nan), torch.eye(5).repeat(40, 1), torch.zeros(0, 3)],
)
def test_too_little_is_said_and_never_nan(points):
    with pytest.raises(NotApplicable):
        persistence(points)
