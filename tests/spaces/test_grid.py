import itertools
import math

import pytest
import torch

from latent_atlas.spaces.grid import Grid


def grid(size=3, levels=4):
    """One whose values are uneven and out of order, as learning may leave them."""
    space = Grid(size, levels)
    with torch.no_grad():
        space.values.copy_(torch.randn(size, levels, generator=torch.Generator().manual_seed(0)))
    return space


def test_the_values_start_evenly_spaced():
    torch.testing.assert_close(Grid(2, 5).values.detach(), torch.linspace(-0.5, 0.5, 5).expand(2, 5))
    with pytest.raises(ValueError, match="at least 2"):
        Grid(2, 1)


def test_project_is_the_nearest_of_all_points():
    space = grid()
    points = torch.tensor(list(itertools.product(*space.values.tolist())))  # all 64 of them
    z = torch.randn(200, 3)
    nearest = points[torch.cdist(z, points).argmin(1)]
    assert torch.equal(space.project(z), nearest)
    assert torch.equal(space.project(nearest), nearest)
    assert torch.equal(space.at(space.nearest(z)), nearest)


def test_the_prior_is_uniform_over_the_points():
    space = grid()
    z = space.sample(20_000, torch.Generator().manual_seed(0))
    assert torch.equal(space.project(z), z)
    for dimension in range(3):
        share = torch.bincount(space.nearest(z)[:, dimension], minlength=4) / len(z)
        assert (share - 1 / 4).abs().max() < 0.02
    torch.testing.assert_close(space.log_prob(z), torch.full((len(z),), -3 * math.log(4)))
    points = torch.tensor(list(itertools.product(*space.values.tolist())))
    assert space.log_prob(points).exp().sum().item() == pytest.approx(1.0)
    assert space.log_prob(points + torch.tensor([0.0, 1e-3, 0.0])).eq(-torch.inf).all()
