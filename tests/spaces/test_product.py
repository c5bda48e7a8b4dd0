from itertools import pairwise

import geoopt
import pytest
import torch

from latent_atlas.models.hyperbolic import WrappedNormalHead
from latent_atlas.models.mixed import IndependentHead
from latent_atlas.models.posteriors import NormalHead
from latent_atlas.models.spherical import PowerSphericalHead
from latent_atlas.spaces.ball import PoincareBall
from latent_atlas.spaces.euclidean import Euclidean
from latent_atlas.spaces.product import Product
from latent_atlas.spaces.sphere import Sphere
from latent_atlas.spaces.torus import Torus

HEADS = [NormalHead, PowerSphericalHead, WrappedNormalHead, PowerSphericalHead]


def made():
    return Product(9, [Euclidean(2), Sphere(2), PoincareBall(3, 0.5), Torus(2)])


def test_a_point_is_the_row_of_its_factors():
    space = made()
    assert space.dimensions == 2 + 3 + 3 + 4
    z = space.sample(30, torch.Generator().manual_seed(0))
    assert z.shape == (30, 12)
    parts = space.split(z)
    assert [part.shape[1:] for part in parts] == [(2,), (3,), (3,), (2, 2)]
    assert torch.equal(space.join(parts), z)
    torch.testing.assert_close(space.log_prob(z), sum(f.log_prob(part) for f, part in zip(space.factors, parts, strict=True)))
    assert torch.equal(z, space.sample(30, torch.Generator().manual_seed(0)))
    torch.testing.assert_close(space.project(z), z)
    assert float(space.split(space.project(3 * z))[1].norm(dim=1).max()) == pytest.approx(1)


def test_distances_are_geoopts_and_paths_have_equal_speed():
    space = Product(5, [Euclidean(3), Sphere(2)])
    theirs = geoopt.ProductManifold((geoopt.Euclidean(ndim=1), 3), (geoopt.Sphere(), 3))
    a, b = space.sample(40, torch.Generator().manual_seed(1)).chunk(2)
    torch.testing.assert_close(space.distance(a, b), theirs.dist(a, b), atol=1e-4, rtol=1e-4)
    full = made()
    a, b = full.sample(40, torch.Generator().manual_seed(1)).chunk(2)
    path = full.geodesic(a, b, torch.linspace(0, 1, 5))
    torch.testing.assert_close(path[0], a)
    torch.testing.assert_close(path[-1], b, atol=1e-4, rtol=1e-4)
    for start, end in pairwise(path):
        torch.testing.assert_close(full.distance(start, end), full.distance(a, b) / 4, atol=1e-3, rtol=1e-3)


def test_the_chart_is_that_of_the_factor_that_is_used():
    space = made()
    z = space.sample(200, torch.Generator().manual_seed(0))
    z[:, :2] *= 0.01
    z[:, 2:5] = torch.tensor([0.0, 0, 1])
    z[:, 8:] = torch.tensor([1.0, 0, 1, 0])
    space.orient(z)
    assert space.shown == 2
    assert space.drawn(z).startswith("in factor 3 of 4, PoincareBall, on the Poincaré disc")
    at = z[0]
    xy, outline = space.chart(z, at=at)
    assert float(xy.norm(dim=1).max()) < float(outline.norm(dim=1)[0])
    lifted = space.lift(xy, at=at)
    torch.testing.assert_close(space.chart(lifted, at=at)[0], xy, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(lifted[:, :2], z[:1, :2].expand(200, 2))


def test_one_factor_is_that_space():
    space, alone = Product(3, [PoincareBall(3, 0.5)]), PoincareBall(3, 0.5)
    a, b = alone.sample(20, torch.Generator().manual_seed(0)).chunk(2)
    torch.testing.assert_close(space.distance(a, b), alone.distance(a, b))
    torch.testing.assert_close(space.log_prob(a), alone.log_prob(a))
    assert torch.equal(space.chart(a, at=b[0])[0], alone.chart(a, at=b[0])[0])
    raw = torch.randn(10, 6, generator=torch.Generator().manual_seed(1))
    q, own = IndependentHead(space, [WrappedNormalHead])(raw), WrappedNormalHead(alone)(raw)
    z = own.sample(torch.Generator().manual_seed(2))
    assert torch.equal(q.sample(torch.Generator().manual_seed(2)), z)
    torch.testing.assert_close(q.kl(space, z=z), own.kl(alone, z=z))


def test_the_kl_is_the_sum_over_factors_and_the_mean_of_log_ratios():
    space = made()
    head = IndependentHead(space, HEADS)
    assert head.outputs == 4 + 4 + 6 + 6
    q = head(torch.randn(1, 20, generator=torch.Generator().manual_seed(0)).expand(20_000, -1))
    z = q.sample(torch.Generator().manual_seed(1))
    sampled = (q.log_prob(z) - space.log_prob(z)).mean()
    assert float(q.kl(space, z=z).mean()) == pytest.approx(float(sampled), abs=0.05)
    assert float(q.kl(space, torch.Generator().manual_seed(2)).mean()) == pytest.approx(float(sampled), abs=0.05)
    each = [part.kl(factor, z=own) for part, factor, own in zip(q.parts, space.factors, space.split(z), strict=True)]
    torch.testing.assert_close(q.kl(space, z=z), sum(each))


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="have 3 dimensions together, latent_size is 4"):
        Product(4, [Sphere(2), Euclidean(1)])
    with pytest.raises(ValueError, match="2 heads for 4 factors"):
        IndependentHead(made(), HEADS[:2])
    with pytest.raises(ValueError, match="1 heads for no factors"):
        IndependentHead(Sphere(2), HEADS[:1])


def test_the_kl_falls_into_dimensions_spheres_and_circles():
    space, generator = made(), torch.Generator().manual_seed(3)
    head = IndependentHead(space, HEADS)
    q = head(torch.randn(50, head.outputs, generator=generator))
    parts = q.kl_of_parts(space, torch.Generator().manual_seed(4))
    assert parts.shape == (50, 2 + 1 + 1 + 2)
    torch.testing.assert_close(parts.sum(1), q.kl(space, torch.Generator().manual_seed(4)))
    flat, sphere, _, torus = q.parts
    torch.testing.assert_close(parts[:, :2], flat.kl_per_dimension())
    torch.testing.assert_close(parts[:, 2], sphere.kl(space.factors[1]))
    for k in range(2):  # each circle as a sphere of its own
        circle = type(torus)(torus.mode[:, k], torus.kappa[:, k])
        torch.testing.assert_close(parts[:, 4 + k], circle.kl(Sphere(1)))
