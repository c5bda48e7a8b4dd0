import math
from itertools import pairwise

import geoopt
import pytest
import torch
from torch import distributions as D

from latent_atlas.models.hyperbolic import WrappedNormal, WrappedNormalHead
from latent_atlas.models.posteriors import DiagonalNormal
from latent_atlas.spaces.ball import PoincareBall, log_sinhc
from latent_atlas.spaces.euclidean import Euclidean

double = torch.float64


def points(d=3, c=0.7, n=40, seed=0, spread=1.5):
    space = PoincareBall(d, c)
    u = spread * torch.randn(2 * n, d, generator=torch.Generator().manual_seed(seed), dtype=double)
    return space, *space.from_tangent(u).chunk(2)


@pytest.mark.parametrize("c", [0.3, 1.0, 2.5])
@pytest.mark.parametrize("d", [2, 5])
def test_everything_that_geoopt_has_is_geoopts(d, c):
    space, a, b = points(d, c, spread=0.7)  # geoopt cuts results at 1e-5 from the rim
    theirs = geoopt.PoincareBall(c=torch.tensor(c, dtype=double))
    v = torch.randn(40, d, dtype=double, generator=torch.Generator().manual_seed(1)) * space.room(a) / 4
    close = {"atol": 1e-8, "rtol": 1e-6}
    torch.testing.assert_close(space.distance(a, b), theirs.dist(a, b), **close)
    torch.testing.assert_close(space.add(a, b), theirs.mobius_add(a, b), **close)
    torch.testing.assert_close(space.exp(a, v), theirs.expmap(a, v), **close)
    torch.testing.assert_close(space.log(a, b), theirs.logmap(a, b), **close)
    torch.testing.assert_close(space.transport(a, b, v), theirs.transp(a, b, v), **close)
    t = torch.linspace(0, 1, 4, dtype=double)
    torch.testing.assert_close(space.geodesic(a, b, t), theirs.geodesic(t[:, None, None], a, b), **close)
    torch.testing.assert_close(space.from_tangent(v), theirs.expmap0(v / 2), **close)
    torch.testing.assert_close(space.exp(a, space.log(a, b)), b, **close)


def test_geodesics_have_equal_speed_and_end_where_they_should():
    space, a, b = points()
    path = space.geodesic(a, b, torch.linspace(0, 1, 5))
    torch.testing.assert_close(path[0], a)
    torch.testing.assert_close(path[-1], b)
    for start, end in pairwise(path):
        torch.testing.assert_close(space.distance(start, end), space.distance(a, b) / 4, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(space.geodesic(a, a, torch.tensor([0.3]))[0], a)


def test_transport_keeps_lengths_and_from_the_centre_turns_nothing():
    space, a, b = points()
    v = torch.randn(40, 3, dtype=double)
    carried = space.transport(a, b, v)
    torch.testing.assert_close(carried.norm(dim=1) / space.room(b)[:, 0], v.norm(dim=1) / space.room(a)[:, 0])
    centre = torch.zeros_like(a)
    torch.testing.assert_close(space.transport(centre, b, v), space.room(b) * v)
    torch.testing.assert_close(space.transport(b, a, space.transport(a, b, v)), v)


def test_near_points_far_out_keep_the_digits_of_their_distance():
    """At 9 from the centre arccosh(1 + ...) has none of them left."""
    space = PoincareBall(2, 1.0)
    far = space.from_tangent(torch.tensor([[9.0, 0.0]], dtype=double))
    for tiny in (1e-2, 1e-5, 1e-8):
        near = space.from_tangent(torch.tensor([[9.0 + tiny, 0.0]], dtype=double))
        assert float(space.distance(far, near)) == pytest.approx(tiny, rel=1e-4)
    for r in (0.0, 1e-6, 3.0, 9.0):
        u = torch.tensor([[r, 0.0]])
        assert float(space.to_tangent(space.from_tangent(u))[0, 0]) == pytest.approx(r, rel=5e-4)


@pytest.mark.parametrize("c", [0.4, 1.0, 3.0])
@pytest.mark.parametrize("mean", [[0.0, 0.0], [0.2, -0.3]])
def test_densities_integrate_to_one_over_the_metrics_volume(c, mean):
    space = PoincareBall(2, c, prior_scale=0.8)
    r, turn = torch.linspace(1e-3, 12, 1200, dtype=double), torch.arange(256, dtype=double) * (2 * math.pi / 256)
    r = r[r < 9 / space.s]
    grid = torch.stack((r[:, None] * turn.cos(), r[:, None] * turn.sin()), -1).reshape(-1, 2)
    z = space.from_tangent(grid)
    volume = (torch.sinh(space.s * r) / space.s).repeat_interleave(256) * (r[1] - r[0]) * (2 * math.pi / 256)
    q = WrappedNormal(space, torch.tensor([mean], dtype=double), torch.tensor([[0.5, 0.9]], dtype=double))
    wrapped = space.log_wrapped(q.mean.expand_as(z), q.scale.expand_as(z), z)
    assert float((wrapped.exp() * volume).sum()) == pytest.approx(1, abs=2e-3)
    assert float((space.log_prob(z).exp() * volume).sum()) == pytest.approx(1, abs=2e-3)


def test_prior_draws_lie_at_the_distances_of_the_normal_and_repeat():
    space = PoincareBall(3, 0.8, prior_scale=1.3)
    z = space.sample(20_000, torch.Generator().manual_seed(0))
    u = space.to_tangent(z)
    torch.testing.assert_close(u.std(0), torch.full((3,), 1.3), atol=0.03, rtol=0)
    torch.testing.assert_close(u.norm(dim=1), space.distance(torch.zeros_like(z), z), atol=1e-5, rtol=1e-4)
    assert torch.equal(z, space.sample(20_000, torch.Generator().manual_seed(0)))
    assert float(z.norm(dim=1).max()) < 1 / space.s


def test_without_curvature_it_is_flat_space():
    """c → 0: distances are 2 |a - b|, paths straight, and prior, posterior and KL those of normals in u = 2 z."""
    space, flat = PoincareBall(4, 1e-8), Euclidean(4)
    generator = torch.Generator().manual_seed(0)
    raw = torch.randn(50, 8, generator=generator)
    q = WrappedNormalHead(space)(raw)
    normal = DiagonalNormal(raw[:, :4], raw[:, 4:])
    z = q.sample(generator)
    torch.testing.assert_close(2 * q.mode, normal.mode, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(q.log_prob(z), normal.log_prob(2 * z), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(space.log_prob(z), flat.log_prob(2 * z), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(space.distance(q.mode, z), 2 * (q.mode - z).norm(dim=1), atol=1e-4, rtol=1e-4)
    t = torch.tensor([0.25])
    torch.testing.assert_close(space.geodesic(q.mode, z, t), flat.geodesic(q.mode, z, t), atol=1e-5, rtol=1e-5)
    many = WrappedNormal(space, q.mean[:1].expand(20_000, -1), q.scale[:1].expand(20_000, -1))
    assert float(many.kl(space, generator).mean()) == pytest.approx(float(normal.kl(flat)[0]), rel=0.03)


def test_the_posterior_is_the_prior_where_they_agree_and_moves_with_isometries():
    space, a, b = points(2, 1.0, spread=1.0)
    scale = torch.full_like(a, 0.6)
    at_centre = WrappedNormal(PoincareBall(2, 1.0, prior_scale=0.6), torch.zeros_like(a), scale)
    torch.testing.assert_close(at_centre.kl(at_centre.space, z=b.float()), torch.zeros(40), atol=1e-5, rtol=0)
    moved = WrappedNormal(space, a, scale)
    torch.testing.assert_close(moved.log_prob(space.add(a, b)), at_centre.log_prob(b), atol=1e-5, rtol=1e-5)
    # one dimension has no volume to correct: the wrapped normal is the normal of the signed distance
    line = PoincareBall(1, 2.0)
    z = line.from_tangent(torch.tensor([[0.7]], dtype=double))
    assert float(line.log_prob(z)) == pytest.approx(float(D.Normal(0.0, 1.0).log_prob(torch.tensor(0.7))), abs=1e-6)


def test_draws_have_the_moments_of_their_tangents():
    space = PoincareBall(2, 1.0)
    q = WrappedNormal(
        space,
        torch.tensor([[0.5, 0.2]], dtype=double).expand(20_000, -1),
        torch.tensor([[0.3, 0.8]], dtype=double).expand(20_000, -1),
    )
    u = space.to_tangent(space.seen(q.mean, q.sample(torch.Generator().manual_seed(0)).double()))
    torch.testing.assert_close(u.mean(0), torch.zeros(2, dtype=double), atol=0.02, rtol=0)
    torch.testing.assert_close(u.std(0), torch.tensor([0.3, 0.8], dtype=double), atol=0, rtol=0.03)


def test_the_rim_and_the_centre_have_finite_gradients():
    space = PoincareBall(3, 1.0)
    head = WrappedNormalHead(space)
    raw = torch.cat((torch.zeros(1, 6), torch.full((1, 6), 50.0), torch.full((1, 6), -1e4), torch.randn(3, 6))).requires_grad_()
    q = head(raw)
    z = q.sample(torch.Generator().manual_seed(0))
    assert float(z.detach().norm(dim=1).max()) < 1
    (q.kl(space, z=z).sum() + space.distance(z, z.roll(1, 0)).sum() + space.distance(q.mode, q.mode).sum()).backward()
    assert bool(raw.grad.isfinite().all())
    assert bool(q.log_prob(z).isfinite().all())
    outside = space.project(torch.tensor([[3.0, 4.0, 0.0]]))
    torch.testing.assert_close(outside, torch.tensor([[0.6, 0.8, 0.0]]) * (1 - 1e-4))
    torch.testing.assert_close(space.project(z), z)


def test_log_sinhc_is_exact_from_nothing_to_overflow():
    x = torch.tensor([0.0, 1e-8, 9.99e-4, 1.01e-3, 1.0, 5.0], dtype=double)
    torch.testing.assert_close(log_sinhc(x)[1:], torch.log(torch.sinh(x) / x)[1:], atol=1e-12, rtol=1e-9)
    assert float(log_sinhc(x)[0]) == 0
    assert float(log_sinhc(torch.tensor(5000.0, dtype=double))) == pytest.approx(5000 - math.log(10_000))
    assert torch.autograd.gradcheck(log_sinhc, (x[2:].requires_grad_(),), eps=1e-7, atol=1e-5)


@pytest.mark.parametrize("d", [1, 2, 6])
def test_the_chart_is_the_disc_as_seen_from_its_anchor(d):
    space, z, _ = points(d, 0.6)
    if d == 6:
        space.orient(z * torch.tensor([0.1, 0.9, 0.1, 0.1, 0.5, 0.1]))
        assert space.axes.abs().argmax(1).tolist() == [1, 4]
        assert "axes" not in space.state_dict()
    at = z[0]
    xy, outline = space.chart(z, at=at)
    torch.testing.assert_close(outline.norm(dim=1), torch.full((129,), 1 / space.s, dtype=double))
    assert float(xy.norm(dim=1).max()) < 1 / space.s
    torch.testing.assert_close(xy[0], torch.zeros(2, dtype=double), atol=1e-9, rtol=0)
    lifted = space.lift(xy, at=at)
    torch.testing.assert_close(space.chart(lifted, at=at)[0], xy, atol=1e-8, rtol=1e-6)
    disc = PoincareBall(2, 0.6)
    torch.testing.assert_close(space.distance(lifted, at.expand_as(lifted)), disc.distance(xy, torch.zeros_like(xy)))
    if d <= 2:
        torch.testing.assert_close(lifted, z)


def test_what_has_no_curvature_or_is_no_ball_is_refused():
    with pytest.raises(ValueError, match="flat space is Euclidean"):
        PoincareBall(2, curvature=0.0)
    with pytest.raises(ValueError, match="not on a Euclidean"):
        WrappedNormalHead(Euclidean(2))
