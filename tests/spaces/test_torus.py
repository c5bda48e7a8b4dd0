import math
from itertools import pairwise

import geoopt
import pytest
import torch
from torch import distributions as D

from latent_atlas.models.spherical import PowerSpherical, PowerSphericalHead, VonMisesFisher
from latent_atlas.spaces.sphere import Sphere
from latent_atlas.spaces.torus import Torus


def points(circles, n=40, seed=0):
    space = Torus(circles)
    z = space.from_angles(torch.rand(2 * n, circles, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 20 - 10)
    return space, *z.chunk(2)


@pytest.mark.parametrize("circles", [1, 2, 5])
def test_the_prior_is_uniform_in_every_angle_and_repeats(circles):
    space = Torus(circles)
    z = space.sample(5000, torch.Generator().manual_seed(0))
    assert z.shape == (5000, circles, 2)
    torch.testing.assert_close(z.norm(dim=2), torch.ones(5000, circles))
    torch.testing.assert_close(space.angles(z).sort(0).values[1250], torch.full((circles,), -math.pi / 2), atol=0.15, rtol=0)
    torch.testing.assert_close(z.mean(0), torch.zeros(circles, 2), atol=0.04, rtol=0)
    assert torch.equal(z, space.sample(5000, torch.Generator().manual_seed(0)))
    torch.testing.assert_close(space.log_prob(z), torch.full((5000,), -circles * math.log(2 * math.pi)))


def test_distance_exp_and_log_are_those_of_geoopts_circles():
    space, a, b = points(3)
    circle = geoopt.Sphere()
    torch.testing.assert_close(space.distance(a, b), circle.dist(a, b, keepdim=False).norm(dim=1), atol=1e-6, rtol=1e-6)
    turned = (space.angles(a) - space.angles(b) + math.pi) % (2 * math.pi) - math.pi
    torch.testing.assert_close(space.distance(a, b), turned.norm(dim=1))
    torch.testing.assert_close(space.exp(a, space.log(a, b)), b)
    torch.testing.assert_close(space.log(a, b).flatten(1).norm(dim=1), space.distance(a, b))


def test_one_circle_is_the_sphere_of_one_dimension():
    space, a, b = points(1)
    sphere = Sphere(1)
    t = torch.linspace(0, 1, 4)
    torch.testing.assert_close(space.distance(a, b), sphere.distance(a[:, 0], b[:, 0]))
    torch.testing.assert_close(space.geodesic(a, b, t)[:, :, 0], sphere.geodesic(a[:, 0], b[:, 0], t))
    torch.testing.assert_close(space.log_prob(a), sphere.log_prob(a[:, 0]))
    torch.testing.assert_close(space.chart(a, at=a[3])[0], sphere.chart(a[:, 0], at=a[3, 0])[0])
    torch.testing.assert_close(space.lift(space.chart(a, at=a[3])[0], at=a[3]), a)


def test_geodesics_take_the_short_way_round_at_equal_speed():
    space = Torus(2)
    a, b = space.from_angles(torch.tensor([[3.0, 0.1]])), space.from_angles(torch.tensor([[-3.0, 0.3]]))
    assert float(space.distance(a, b)) == pytest.approx(math.hypot(2 * math.pi - 6, 0.2), abs=1e-6)
    path = space.geodesic(a, b, torch.linspace(0, 1, 5))
    assert path.shape == (5, 1, 2, 2)
    torch.testing.assert_close(path[2], space.from_angles(torch.tensor([[math.pi, 0.2]])), atol=1e-5, rtol=0)
    for start, end in pairwise(path):
        torch.testing.assert_close(space.distance(start, end), space.distance(a, b) / 4, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(space.geodesic(a, a, torch.tensor([0.5]))[0], a)


def test_coordinates_are_continuous_where_an_angle_jumps():
    space = Torus(2)
    below, above = (space.from_angles(torch.tensor([[sign * (math.pi - 1e-4), 1.0]])) for sign in (1, -1))
    assert float((space.coordinates(below) - space.coordinates(above)).norm()) < 3e-4
    assert torch.equal(space.from_coordinates(space.coordinates(below)), below)
    assert space.dimensions == 4


@pytest.mark.parametrize("circles", [2, 4])
def test_the_chart_is_the_square_as_seen_from_its_anchor(circles):
    space, z, _ = points(circles)
    at = z[0]
    xy, outline = space.chart(z, at=at)
    assert float(xy.abs().max()) <= math.pi
    torch.testing.assert_close(xy[0], torch.zeros(2, dtype=xy.dtype))
    assert outline.abs().unique().tolist() == pytest.approx([math.pi])
    lifted = space.lift(xy, at=at)
    torch.testing.assert_close(space.chart(lifted, at=at)[0], xy)
    if circles == 2:
        torch.testing.assert_close(lifted, z)
    # edges are joined: one point to the left of the left edge is one at the right
    torch.testing.assert_close(space.lift(xy + 2 * math.pi, at=at), lifted)


def test_orient_draws_the_circles_that_are_used():
    space = Torus(4)
    angles = torch.randn(500, 4, generator=torch.Generator().manual_seed(0)) * torch.tensor([0.1, 3.0, 0.2, 9.0])
    space.orient(space.coordinates(space.from_angles(angles)))
    assert space.shown.tolist() == [1, 3]
    assert "shown" not in space.state_dict()


def test_a_point_is_no_torus():
    with pytest.raises(ValueError, match="at least 1 circle"):
        Torus(0)


def test_the_posterior_is_a_product_over_circles_with_a_closed_kl():
    space = Torus(3)
    head = PowerSphericalHead(space)
    assert head.outputs == 9
    q = head(torch.randn(6, 9, generator=torch.Generator().manual_seed(0)))
    z = q.sample(torch.Generator().manual_seed(1))
    assert z.shape == q.mode.shape == (6, 3, 2)
    each = [PowerSpherical(q.mean[:, k], q.kappa[:, k]) for k in range(3)]
    torch.testing.assert_close(q.log_prob(z), sum(one.log_prob(z[:, k]) for k, one in enumerate(each)))
    torch.testing.assert_close(q.kl(space), sum(one.kl(Sphere(1)) for one in each))


def test_von_mises_on_circles_is_torchs():
    space = Torus(2)
    q = VonMisesFisher(space.from_angles(torch.tensor([[0.5, -2.0]])).double(), torch.tensor([[3.0, 40.0]]).double())
    z = q.sample(torch.Generator().manual_seed(0))
    theirs = D.VonMises(torch.tensor([[0.5, -2.0]]), torch.tensor([[3.0, 40.0]])).log_prob(space.angles(z)).sum(1)
    torch.testing.assert_close(q.log_prob(z), theirs, atol=1e-4, rtol=1e-4)
