import math

import numpy as np
import pytest
import torch

from latent_atlas.metrics.result import NotApplicable
from latent_atlas.metrics.topology import edges, loops, tear, tree_correlation
from latent_atlas.spaces.ball import PoincareBall
from latent_atlas.spaces.euclidean import Euclidean
from latent_atlas.spaces.sphere import Sphere
from latent_atlas.spaces.torus import Torus


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def circle(n=500, seed=0):
    turn = torch.rand(n, generator=rng(seed)) * 2 * math.pi
    return torch.stack((turn.cos(), turn.sin()), 1)


def noisy(x, scale):
    return x + scale * torch.randn(x.shape, generator=rng(9))


SHAPES = {
    "circle": (circle(), 1),
    "noisy circle": (noisy(circle(), 0.08), 1),
    "small circle far away, in 10 dimensions": (torch.cat((circle(), torch.zeros(500, 8)), 1) * 0.01 + 30, 1),
    "ellipse": (circle() * torch.tensor([2.0, 1.0]), 1),
    "flat torus": (Torus(2).sample(2000, rng()).flatten(1), 2),
    "two circles": (torch.cat((circle(), circle(seed=1) + 4)), 2),
    "blob": (torch.randn(1000, 2, generator=rng()), 0),
    "blob in 10 dimensions": (torch.randn(1000, 10, generator=rng()), 0),
    "square": (torch.rand(1000, 2, generator=rng()), 0),
    "four blobs": (
        torch.randn(1000, 2, generator=rng()) * 0.1 + torch.tensor([[0, 0], [3, 0], [0, 3.0], [5, 5]]).repeat(250, 1),
        0,
    ),
    "line": (torch.rand(500, 1, generator=rng()), 0),
    "arc": (circle()[circle()[:, 0] > -0.5], 0),
    "sphere": (Sphere(2).sample(1500, rng()), 0),
}


@pytest.mark.parametrize("name", SHAPES)
def test_loops_of_known_shapes(name):
    codes, expected = SHAPES[name]
    found = loops(codes)
    assert found.value == expected, found.parts


def test_the_count_of_a_clear_shape_is_sure_and_that_of_a_doubtful_one_is_not():
    assert loops(circle(), refits=3).interval == (1.0, 1.0)
    assert loops(circle()).interval is None
    torus = Torus(2).sample(220, rng()).flatten(1)  # too few items for both of its loops at every draw
    found = loops(torus, refits=4)
    counts = found.parts["refits"]
    assert len(counts) == 4
    assert len(set(counts)) > 1
    assert found.interval[0] < found.value == counts[0] < found.interval[1]


def test_the_longest_bar_of_a_circle_stands_alone():
    found = loops(circle())
    assert found.parts["ratio"] is None or found.parts["ratio"] > 10
    turn = torch.arange(399) * (2 * math.pi / 399)  # at equal steps: closed at the distance of neighbours, filled at √3
    even = loops(torch.stack((turn.cos(), turn.sin()), 1)).parts["lifetimes"]
    assert even[0] == pytest.approx(math.sqrt(3) - 2 * math.sin(math.pi / 399), abs=1e-3)
    assert loops(torch.randn(500, 2, generator=rng())).parts["ratio"] < 2
    with pytest.raises(NotApplicable, match="all points are the same"):
        loops(torch.ones(50, 3))


def ring(n=400, steps=2048):
    return torch.randperm(steps, generator=rng())[:n, None], ("angle",), (steps,)


def test_a_line_tears_a_circle_and_a_circle_does_not():
    factors, names, sizes = ring()
    angle = factors[:, 0] * (2 * math.pi / 2048)
    torn = tear(angle[:, None], factors, names, sizes, Euclidean(1))
    assert 100 < torn.value < 10_000
    assert torn.value == pytest.approx(torn.floor, rel=1e-3)  # the floor is this very code
    assert "no_interval" in torn.parts
    assert min(torn.parts["at"][0], 2 * math.pi - torn.parts["at"][0]) < 0.1  # where the angle jumps
    whole = torch.stack((angle.cos(), angle.sin()), 1)
    assert tear(whole, factors, names, sizes, Sphere(1)).value == pytest.approx(1, abs=1e-2)
    assert tear(whole, factors, names, sizes, Torus(1)).value == pytest.approx(1, abs=1e-2)
    assert tear(whole, factors, names, sizes, Euclidean(2)).value == pytest.approx(1, abs=1e-2)
    # the same in radians, and turned: no place is special
    assert tear(whole, angle[:, None] + 2, names, (0,), Sphere(1)).value == pytest.approx(1, abs=1e-2)
    # a fold is no tear: there and back again, at equal speed
    assert tear((angle - math.pi).abs()[:, None], factors, names, sizes, Euclidean(1)).value < 1.1


def test_a_plane_tears_a_torus_and_a_torus_does_not():
    grid = torch.cartesian_prod(torch.arange(40), torch.arange(40))[torch.randperm(1600, generator=rng())[:500]]
    names, sizes = ("angle", "angle of the short hand"), (40, 40)
    angles = grid * (2 * math.pi / 40)
    space = Torus(2)
    codes = space.coordinates(space.from_angles(angles))
    assert tear(codes, grid, names, sizes, space).value == pytest.approx(1, abs=1e-2)
    assert tear(angles, grid, names, sizes, Euclidean(2)).value > 8
    assert tear(codes, grid, names, sizes, space).floor == pytest.approx(tear(angles, grid, names, sizes, Euclidean(2)).value)


def test_what_is_no_angle_has_no_tear():
    factors, _, sizes = ring()
    codes = torch.randn(400, 1)
    with pytest.raises(NotApplicable, match="angles and no others"):
        tear(codes, factors, ("scale",), sizes, Euclidean(1))
    with pytest.raises(NotApplicable, match="fewer than 10"):
        tear(codes, factors % 5, ("angle",), sizes, Euclidean(1))
    with pytest.raises(NotApplicable, match="same code"):
        tear(torch.zeros(400, 1), factors, ("angle",), sizes, Euclidean(1))


def test_edges_are_those_of_a_walk():
    def walk(a, b):
        return 0 if a == b else 1 + walk(*((a // 2, b) if a > b else (a, b // 2)))

    pairs = np.random.default_rng(0).integers(1, 64, (300, 2))
    np.testing.assert_array_equal(edges(*pairs.T), [walk(a, b) for a, b in pairs.tolist()])
    assert edges(np.array([8]), np.array([9])) == 2  # siblings


def test_a_tree_laid_out_on_the_disc_correlates_better_than_in_the_plane():
    """Sarkar's idea, coarse: depth is distance from the centre, branches share out the angle."""
    nodes = torch.arange(63)
    depth = (nodes + 1).double().log2().floor()
    angle = 2 * math.pi * ((nodes + 1 - 2**depth) + 0.5) / 2**depth
    u = torch.stack((angle.cos(), angle.sin()), 1) * depth[:, None]
    ball, factors = PoincareBall(2, 1.0), torch.stack((depth, nodes.double()), 1)
    curved = tree_correlation(ball.from_tangent(1.6 * u), factors, ("depth", "node"), ball)
    flat = tree_correlation(u, factors, ("depth", "node"), Euclidean(2))
    assert curved.value > 0.8
    assert curved.value > flat.value + 0.02, flat.value
    assert abs(tree_correlation(torch.randn(63, 2, generator=rng()), factors, ("depth", "node"), Euclidean(2)).value) < 0.1
    low, high = tree_correlation(u, factors, ("depth", "node"), Euclidean(2), resamples=20).interval
    assert low < flat.value < high
    assert 0.01 < high - low < 0.5
    with pytest.raises(NotApplicable, match="named node"):
        tree_correlation(u, factors, ("depth", "leaf"), Euclidean(2))
