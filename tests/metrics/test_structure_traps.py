"""The toy cases of docs/metrics.md for structure, prior and collapse: each figure there is one of these."""

import math

import numpy as np
import pytest
import torch

from latent_atlas.metrics.aggregate import gram, mmd, prior_holes
from latent_atlas.metrics.clusters import class_component, silhouette
from latent_atlas.metrics.collapse import latent_information
from latent_atlas.metrics.dimension import levina_bickel, two_nn
from latent_atlas.metrics.probes import probe


def normal(n, d, seed, scale=1.0):
    return torch.from_numpy(np.random.default_rng(seed).normal(0, scale, (n, d)))


def test_biased_mmd_sees_a_difference_between_equal_clouds():
    a, b = normal(100, 10, 0), normal(100, 10, 1)
    sign = torch.cat([torch.ones(100), -torch.ones(100)]).double()
    biased = float(sign @ gram(a, b, "imq") @ sign) / 100**2
    assert biased == pytest.approx(0.0097, abs=0.0005)
    assert abs(mmd(a, b).value) < 0.0002


def test_shuffled_labels_form_large_pieces_where_classes_are_few():
    z = normal(2000, 5, 0)
    floors = [class_component(z, torch.arange(2000) % classes).value for classes in (2, 4, 10)]
    assert floors == pytest.approx([0.97, 0.18, 0.03], abs=0.01)


def test_two_islands_per_class_look_perfect_to_neighbours_and_half_to_the_component():
    centres = torch.eye(8).double() * 10
    cloud = torch.arange(800) % 8
    z, y = centres[cloud] + normal(800, 8, 0, 0.3), cloud % 4
    assert class_component(z, y).value == 0.5
    assert silhouette(z, y).value == pytest.approx(0.45, abs=0.02)
    assert probe(z, labels=y, ladder="knn").value == 1.0


def test_intrinsic_dimension_falls_short_of_many_dimensions():
    z = torch.from_numpy(np.random.default_rng(0).random((5000, 20)))
    assert two_nn(z).value == pytest.approx(15.7, abs=0.3)
    assert levina_bickel(z).value == pytest.approx(14.9, abs=0.3)


def test_rate_without_information():
    z = 3 + normal(1000, 1, 0)
    density = torch.distributions.Normal(3.0, 1.0).log_prob(z).expand(1000, 1000)
    assert latent_information(density).value == pytest.approx(0.0, abs=1e-9)
    assert 0.5 * 3**2 == 4.5  # nats of rate
    assert math.log(1000) == pytest.approx(6.9, abs=0.01)


def test_holes_of_a_posterior_that_is_too_narrow_and_of_one_that_is_too_wide():
    prior = normal(3000, 5, 1)
    narrow, wide = normal(3000, 5, 0, 0.5), normal(3000, 5, 0, 2.0)
    assert prior_holes(narrow, prior).value == pytest.approx(0.52, abs=0.02)
    assert prior_holes(wide, prior).value == 0.0
    assert mmd(wide, prior).value == pytest.approx(0.074, abs=0.01)


def test_accuracy_of_a_rare_class_is_its_chance():
    y = (torch.arange(2000) % 10 == 0).long()
    found = probe(normal(2000, 5, 0), labels=y)
    assert found.value == found.floor == pytest.approx(0.91, abs=0.01)
