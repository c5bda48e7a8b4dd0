import math

import numpy as np
import pytest
import torch

from latent_atlas.metrics.paths import cycle_error, cycle_error_codes, perceptual_path_length
from latent_atlas.metrics.result import NotApplicable
from latent_atlas.spaces.euclidean import Euclidean

SPACE = Euclidean(3)
PRIOR = torch.from_numpy(np.random.default_rng(0).normal(size=(2000, 3))).float()


def same(z):
    return z


def test_a_linear_decoder_has_the_mean_squared_distance_of_two_draws_as_path_length():
    found = perceptual_path_length(PRIOR, lambda z: 3 * z, same, SPACE, n_pairs=1000)
    pairs = (PRIOR[:1000] - PRIOR[1000:]).square().sum(1).mean()
    assert found.value == pytest.approx(9 * float(pairs), rel=1e-3)
    assert found.provenance == {"n": 1000, "eps": "1e-4", "space": "euclidean", "pairs": 1000}


def test_a_jump_of_the_decoder_lengthens_the_path_and_a_constant_one_has_none():
    step = perceptual_path_length(PRIOR, lambda z: z + 0.2 * torch.sign(z), same, SPACE, eps=1e-2).value
    assert step > perceptual_path_length(PRIOR, same, same, SPACE, eps=1e-2).value
    assert perceptual_path_length(PRIOR, lambda z: z * 0, same, SPACE).value == 0.0


def test_paths_are_the_spaces_own():
    class Circle(Euclidean):
        def geodesic(self, a, b, t):
            angles = [torch.atan2(p[:, 1], p[:, 0]) for p in (a, b)]
            turn = (angles[1] - angles[0] + math.pi) % (2 * math.pi) - math.pi
            found = angles[0] + t[:, None] * turn
            return torch.stack([found.cos(), found.sin()], 2)

    prior = torch.nn.functional.normalize(PRIOR[:, :2], dim=1)
    seen = []
    perceptual_path_length(prior, lambda z: seen.append(z) or z, same, Circle(2))
    assert float((torch.cat(seen).norm(dim=1) - 1).abs().max()) < 1e-5


def test_too_few_draws_are_a_reason():
    with pytest.raises(NotApplicable, match="too few"):
        perceptual_path_length(PRIOR[:10], same, same, SPACE)


def test_cycle_error_of_a_perfect_pair_a_biased_and_a_forgetful_encoder():
    assert cycle_error(PRIOR, lambda x: x / 2, lambda z: 2 * z, SPACE).value == pytest.approx(0, abs=1e-6)
    shifted = cycle_error_codes(PRIOR, lambda x: x + torch.tensor([3.0, 4.0, 0.0]), same, SPACE)
    assert shifted.value == pytest.approx(5.0, rel=1e-5)
    forgetful = cycle_error(PRIOR, lambda x: x * 0, same, SPACE)
    assert forgetful.value == pytest.approx(forgetful.floor)
    assert forgetful.value == pytest.approx(math.sqrt(8 / math.pi), rel=0.05)  # mean norm of 3 normals
    assert cycle_error(PRIOR, same, same, SPACE).floor > forgetful.floor


def test_a_straight_way_is_at_the_ceiling_a_jump_at_the_floor_and_a_detour_between():
    straight = perceptual_path_length(PRIOR, lambda z: 2 * z, same, SPACE, eps=1e-2)
    assert straight.value == pytest.approx(straight.ceiling, rel=1e-3)
    assert straight.floor == pytest.approx(straight.ceiling / 1e-2)
    bent = perceptual_path_length(PRIOR, lambda z: z + (3 * z).sin(), same, SPACE, eps=1e-2)
    assert 1.2 * bent.ceiling < bent.value < bent.floor
    jumps = perceptual_path_length(torch.cat([PRIOR] * 4), lambda z: z.sign(), same, SPACE, eps=1e-2, n_pairs=1000)
    assert jumps.value == pytest.approx(jumps.floor, rel=0.4)  # seldom seen, and then large
