import math
from itertools import pairwise

import geoopt
import pytest
import torch

from latent_atlas.spaces.sphere import Sphere


def points(d, n=40, seed=0):
    space = Sphere(d)
    return space, *space.project(space.sample(2 * n, torch.Generator().manual_seed(seed)).double()).chunk(2)


@pytest.mark.parametrize("d", [1, 2, 5, 40])
def test_the_prior_is_one_over_the_area_and_repeats(d):
    space = Sphere(d)
    z = space.sample(5000, torch.Generator().manual_seed(0))
    torch.testing.assert_close(z.norm(dim=1), torch.ones(5000))
    torch.testing.assert_close(z.mean(0), torch.zeros(d + 1), atol=0.06, rtol=0)
    torch.testing.assert_close(z.T @ z / 5000, torch.eye(d + 1) / (d + 1), atol=0.03, rtol=0)
    assert torch.equal(z, space.sample(5000, torch.Generator().manual_seed(0)))
    area = {1: 2 * math.pi, 2: 4 * math.pi, 5: math.pi**3, 40: 2 * math.pi**20.5 / math.gamma(20.5)}[d]
    torch.testing.assert_close(space.log_prob(z), torch.full((5000,), -math.log(area)))


@pytest.mark.parametrize("d", [1, 2, 7])
def test_distance_exp_and_log_are_geoopts(d):
    space, a, b = points(d)
    theirs = geoopt.Sphere()
    torch.testing.assert_close(space.distance(a, b), theirs.dist(a, b), atol=1e-7, rtol=1e-7)
    torch.testing.assert_close(space.log(a, b), theirs.logmap(a, b), atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(space.exp(a, space.log(a, b)), b)
    torch.testing.assert_close(space.log(a, b).norm(dim=1), space.distance(a, b))
    torch.testing.assert_close((space.log(a, b) * a).sum(1), torch.zeros(len(a), dtype=a.dtype), atol=1e-12, rtol=0)


def test_distances_keep_their_digits_near_zero_and_near_pi():
    space, a, _ = points(3)
    for tiny in (1e-2, 1e-4, 1e-6):
        b = space.exp(a, tiny * space.log(a, a.roll(1, 0)) / space.distance(a, a.roll(1, 0))[:, None])
        torch.testing.assert_close(space.distance(a, b), torch.full((40,), tiny, dtype=a.dtype), rtol=1e-6, atol=0)
        torch.testing.assert_close(math.pi - space.distance(a, -b), torch.full((40,), tiny, dtype=a.dtype), rtol=1e-6, atol=1e-12)
    near = (a + 3e-4 * a.roll(1, 0)).float()
    exact = space.distance(space.project(a.float().double()), space.project(near.double()))
    torch.testing.assert_close(space.distance(space.project(a.float()), space.project(near)).double(), exact, rtol=1e-3, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_geodesics_have_equal_speed_and_are_continuous_as_the_angle_goes_to_zero(dtype):
    space, a, b = points(4)
    a, b = a.to(dtype), b.to(dtype)
    path = space.geodesic(a, b, torch.linspace(0, 1, 5))
    assert path.shape == (5, 40, 5)
    torch.testing.assert_close(path[0], a)
    torch.testing.assert_close(path[-1], b, atol=1e-5, rtol=1e-5)
    for start, end in pairwise(path):
        torch.testing.assert_close(space.distance(start, end), space.distance(a, b) / 4, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(path.norm(dim=2), torch.ones_like(path[..., 0]))
    for shrunk in (1e-3, 1e-5, 1e-7, 0.0):
        near = space.project(torch.lerp(a, b, shrunk))
        middle = space.geodesic(a, near, torch.tensor([0.5]))[0]
        torch.testing.assert_close(middle, space.project((a + near) / 2), atol=1e-6, rtol=0)


def test_opposite_points_have_a_path_and_its_points_lie_on_the_sphere():
    space, a, _ = points(3)
    path = space.geodesic(a, -a, torch.linspace(0, 1, 3))
    torch.testing.assert_close(space.distance(path[1], a), torch.full((40,), math.pi / 2, dtype=a.dtype))
    torch.testing.assert_close(path[2], -a)


def test_distance_has_a_gradient_everywhere():
    space, a, b = points(3)
    b = torch.cat((b, a[:1], -a[:1])).requires_grad_()
    space.distance(torch.cat((a, a[:1], a[:1])), b).sum().backward()
    assert bool(b.grad.isfinite().all())


def test_project_is_the_nearest_point_and_zero_has_one_too():
    space = Sphere(2)
    z = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(space.project(z), z / z.norm(dim=1, keepdim=True))
    flat = torch.zeros(1, 3, requires_grad=True)
    assert space.project(flat).tolist() == [[1, 0, 0]]
    space.project(flat).sum().backward()
    assert bool(flat.grad.isfinite().all())


@pytest.mark.parametrize("anchor", [[1.0, 0, 0], [0.3, -0.5, 0.2], [0, 0, 1.0], [-1.0, 0, 0]])
def test_mollweide_is_equal_in_area_lies_in_its_ellipse_and_lifts_back(anchor):
    space, anchor = Sphere(2), torch.tensor(anchor)
    z = space.sample(20_000, torch.Generator().manual_seed(0))
    xy, outline = space.chart(z, at=anchor)
    torch.testing.assert_close((outline / torch.tensor([8**0.5, 2**0.5])).norm(dim=1), torch.ones(len(outline)))
    assert bool(((xy / torch.tensor([8**0.5, 2**0.5])).norm(dim=1) <= 1 + 1e-5).all())
    # Equal area: uniform points fill the ellipse uniformly, so that a quarter of the area holds a quarter of them.
    inner = (xy / torch.tensor([8**0.5, 2**0.5])).norm(dim=1) < 0.5
    assert float(inner.float().mean()) == pytest.approx(0.25, abs=0.012)
    torch.testing.assert_close(space.lift(xy, at=anchor), z, atol=2e-3, rtol=0)
    torch.testing.assert_close(space.chart(space.lift(xy, at=anchor), at=anchor)[0], xy, atol=2e-3, rtol=0)
    torch.testing.assert_close(space.chart(space.project(anchor)[None], at=anchor)[0], torch.zeros(1, 2), atol=1e-6, rtol=0)


@pytest.mark.parametrize("d", [3, 9])
@pytest.mark.parametrize("turned", [False, True])
def test_the_chart_of_a_larger_sphere_keeps_distances_from_its_anchor(d, turned):
    space, anchor = Sphere(d), torch.zeros(d + 1)
    anchor[0] = 1  # the first axis itself
    if turned:
        space.orient(space.project(torch.randn(200, d + 1) * torch.arange(1, d + 2)))
        assert "axes" not in space.state_dict()
    turn = torch.linspace(0, 6, 20)
    xy = torch.stack((turn.cos(), turn.sin()), 1) * torch.linspace(0.1, 3.1, 20)[:, None]
    z = space.lift(xy, at=anchor)
    torch.testing.assert_close(space.distance(z, anchor.expand_as(z)), xy.norm(dim=1), atol=1e-5, rtol=1e-5)
    found, outline = space.chart(z, at=anchor)
    torch.testing.assert_close(found, xy, atol=1e-4, rtol=0)
    torch.testing.assert_close(outline.norm(dim=1), torch.full((len(outline),), math.pi))


def test_a_circle_is_drawn_as_itself():
    space = Sphere(1)
    z = space.sample(20)
    anchor = torch.tensor([0.0, 1.0])
    xy, outline = space.chart(z, at=anchor)
    torch.testing.assert_close(xy.norm(dim=1), torch.ones(20))
    torch.testing.assert_close(space.lift(2 * xy, at=anchor), z)
    torch.testing.assert_close(space.chart(anchor[None], at=anchor)[0], torch.tensor([[1.0, 0.0]]))
    torch.testing.assert_close(outline.norm(dim=1), torch.ones(len(outline)))


def test_a_point_is_no_sphere():
    with pytest.raises(ValueError, match="at least 1 dimension"):
        Sphere(0)
    assert Sphere(2).dimensions == 3
    assert Sphere(2).intrinsic == 2
