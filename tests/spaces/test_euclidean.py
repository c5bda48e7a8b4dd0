import math
from itertools import pairwise

import pytest
import torch

from latent_atlas.spaces.euclidean import Euclidean


@pytest.mark.parametrize("shape", [3, (3,), (2, 2)])
def test_prior_is_the_standard_normal(shape):
    space = Euclidean(shape)
    z = space.sample(50, torch.Generator().manual_seed(0))
    reference = torch.distributions.Normal(0.0, 1.0).log_prob(z).flatten(1).sum(1)
    torch.testing.assert_close(space.log_prob(z), reference)
    assert torch.equal(z, space.sample(50, torch.Generator().manual_seed(0)))
    assert not torch.equal(z, space.sample(50, torch.Generator().manual_seed(1)))


def test_geodesics_are_straight_and_exact_at_both_ends():
    space = Euclidean((2, 2))
    a, b = torch.randn(5, 2, 2), torch.randn(5, 2, 2)
    path = space.geodesic(a, b, torch.linspace(0, 1, 5))
    assert path.shape == (5, 5, 2, 2)
    assert torch.equal(path[0], a)
    assert torch.equal(path[-1], b)
    # equal speed: each quarter of the way is a quarter of the distance
    for start, end in pairwise(path):
        torch.testing.assert_close(space.distance(start, end), space.distance(a, b) / 4)
    assert torch.equal(space.geodesic(a, a, torch.tensor([0.3]))[0], a)


def test_coordinates_and_their_inverse():
    space = Euclidean((2, 3))
    z = torch.randn(4, 2, 3)
    assert space.coordinates(z).shape == (4, space.dimensions) == (4, 6)
    assert torch.equal(space.from_coordinates(space.coordinates(z)), z)
    assert torch.equal(space.project(z), z)


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("d", [2, 5])
def test_lift_is_the_exact_inverse_of_the_chart(d, turned):
    space, anchor = Euclidean(d), torch.randn(d)
    if turned:
        space.orient(torch.randn(100, d) * torch.arange(1, d + 1))
    xy = torch.randn(20, 2)
    z = space.lift(xy, at=anchor)
    torch.testing.assert_close(space.chart(z, at=anchor)[0], xy, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(space.lift(torch.zeros(1, 2), at=anchor)[0], anchor)
    # lengths on the plane are distances in the space
    torch.testing.assert_close(space.distance(z, anchor.expand_as(z)), xy.norm(dim=1), atol=1e-5, rtol=1e-5)


def test_the_outline_holds_99_percent_of_the_prior_on_its_plane():
    space = Euclidean(4)
    anchor = torch.tensor([1.0, -2.0, 0.5, 0.0])
    xy, outline = space.chart(space.sample(20_000, torch.Generator().manual_seed(0)), at=anchor)
    centre, radius = outline[:-1].mean(0), (outline[0] - outline[32]).norm() / 2
    torch.testing.assert_close(centre, -anchor[:2], atol=1e-5, rtol=0)
    assert ((xy - centre).norm(dim=1) < radius).float().mean() == pytest.approx(0.99, abs=0.003)


def test_orient_finds_the_directions_of_largest_variance():
    space = Euclidean(4)
    space.orient(torch.randn(5000, 4, generator=torch.Generator().manual_seed(0)) * torch.tensor([0.1, 3.0, 0.1, 6.0]) + 50)
    torch.testing.assert_close(space.axes, torch.eye(4)[[3, 1]], atol=0.05, rtol=0)
    assert "axes" not in space.state_dict(), "how a space is drawn is no part of a trained model"


def test_a_line_has_a_chart_too():
    space = Euclidean(1)
    space.orient(torch.randn(10, 1))
    xy, _ = space.chart(torch.tensor([[2.0]]), at=torch.tensor([0.5]))
    assert xy.tolist() == [[1.5, 0.0]]
    assert space.lift(xy, at=torch.tensor([0.5])).item() == pytest.approx(2.0)
    assert math.isclose(space.dimensions, 1)


def test_what_a_chart_shows_is_said():
    space = Euclidean(4)
    codes = torch.randn(5000, 4, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 3.0, 1.0, 4.0]) + 50
    assert space.drawn(codes) == "on the plane of largest variance, which holds 37% of it"  # (1 + 9) / 27, not yet turned
    space.orient(codes)
    assert space.drawn(codes) == "on the plane of largest variance, which holds 93% of it"
    assert Euclidean(2).drawn(codes[:, :2]) == "as they are"
