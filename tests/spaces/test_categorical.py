import itertools
import math

import pytest
import torch

from latent_atlas.spaces.categorical import Categorical


def every(space):
    variables, classes = space.shape
    return space.corners(torch.tensor(list(itertools.product(range(classes), repeat=variables))))


def test_the_prior_is_uniform_over_all_codes():
    space = Categorical(2, 3)
    z = every(space)
    assert len(z) == 9
    assert space.log_prob(z).exp().sum().item() == pytest.approx(1.0)
    drawn = space.sample(9000, torch.Generator().manual_seed(0))
    counts = torch.bincount(drawn[:, 0].argmax(1) * 3 + drawn[:, 1].argmax(1), minlength=9)
    assert ((counts - 1000).abs() < 5 * math.sqrt(1000)).all()
    assert torch.equal(drawn.sum(2), torch.ones(9000, 2))
    assert torch.equal(drawn, space.sample(9000, torch.Generator().manual_seed(0)))


def test_the_distance_counts_variables_that_differ_and_geodesics_are_shortest():
    space = Categorical(4, 3)
    a = space.corners(torch.tensor([[0, 1, 2, 0], [0, 0, 0, 0]]))
    b = space.corners(torch.tensor([[0, 2, 1, 0], [1, 2, 1, 2]]))
    assert space.distance(a, b).tolist() == [2.0, 4.0]
    assert space.distance(a, a).tolist() == [0.0, 0.0]
    path = space.geodesic(a, b, torch.linspace(0, 1, 5))
    assert torch.equal(path[0], a)
    assert torch.equal(path[-1], b)
    for start, end in itertools.pairwise(path):
        torch.testing.assert_close(space.distance(start, end), space.distance(a, b) / 4)
    torch.testing.assert_close(path.sum(3), torch.ones(5, 2, 4))


def test_the_triangle_inequality_holds_for_mixtures():
    space = Categorical(3, 4)
    a, b, c = torch.softmax(2 * torch.randn(3, 200, 3, 4, generator=torch.Generator().manual_seed(0)), -1)
    assert (space.distance(a, c) <= space.distance(a, b) + space.distance(b, c) + 1e-6).all()


def test_coordinates_and_projection():
    space = Categorical(3, 4)
    z = torch.softmax(torch.randn(5, 3, 4), -1)
    assert space.coordinates(z).shape == (5, space.dimensions) == (5, 12)
    assert torch.equal(space.from_coordinates(space.coordinates(z)), z)
    nearest = every(space)[torch.cdist(z.flatten(1), every(space).flatten(1)).argmin(1)]
    assert torch.equal(space.project(z), nearest)
    assert torch.equal(space.project(nearest), nearest)


@pytest.mark.parametrize("variables", [2, 5])
def test_the_chart_is_a_grid_and_lift_its_inverse(variables):
    space = Categorical(variables, 4)
    anchor = space.sample(1, torch.Generator().manual_seed(0))[0]
    xy = 3 * torch.rand(20, 2)
    torch.testing.assert_close(space.chart(space.lift(xy, anchor), anchor)[0], xy)
    corner = anchor.clone()
    corner[:2] = space.corners(torch.tensor([[3, 1]]))[0]
    found, outline = space.chart(corner[None], anchor)
    assert found.tolist() == [[3.0, 1.0]]
    assert torch.equal(space.lift(found, anchor)[0], corner)
    assert outline.min() == -0.5
    assert outline.max() == 3.5


def test_one_variable_has_a_chart_too():
    space = Categorical(1, 3)
    z = space.corners(torch.tensor([[2]]))
    assert space.chart(z, z[0])[0].tolist() == [[2.0, 0.0]]
    assert torch.equal(space.lift(torch.tensor([[2.0, 0.0]]), z[0]), z)


def test_orient_finds_the_variables_that_vary():
    space = Categorical(4, 3)
    indices = torch.zeros(300, 4, dtype=torch.int64)
    indices[:, 3] = torch.arange(300) % 3
    indices[:, 1] = torch.arange(300) % 2
    space.orient(space.coordinates(space.corners(indices)))
    assert space.axes.tolist() == [3, 1]
    assert "axes" not in space.state_dict()


def test_a_single_class_says_nothing():
    with pytest.raises(ValueError, match="of 1 classes"):
        Categorical(3, 1)
