"""Lines of the oracle suite that hold for many metrics of structure, prior and robustness at once."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from latent_atlas.metrics.aggregate import energy_distance, mmd, prior_holes
from latent_atlas.metrics.clusters import ari, class_component, nmi, silhouette
from latent_atlas.metrics.collapse import active_units, sparsity
from latent_atlas.metrics.dimension import levina_bickel, two_nn
from latent_atlas.metrics.neighbours import continuity, knn_accuracy, knn_factors, trustworthiness
from latent_atlas.metrics.probes import probe
from latent_atlas.metrics.robustness import latent_shift, probe_under_noise
from latent_atlas.metrics.topology import loops, tear, tree_correlation
from latent_atlas.metrics.widths import error_by_width
from latent_atlas.spaces.euclidean import Euclidean

RNG = np.random.default_rng(0)
N = 400
Y = torch.arange(N) % 4
CENTRES = torch.from_numpy(RNG.normal(0, 1.5, (4, 3)))
Z = CENTRES[Y] + torch.from_numpy(RNG.normal(size=(N, 3)))
X = torch.from_numpy(RNG.normal(size=(3, 12)))
PRIOR = torch.from_numpy(RNG.normal(size=(N, 3)))
METRICS = {
    "class_component": lambda z: class_component(z, Y),
    "nmi": lambda z: nmi(z, Y),
    "ari": lambda z: ari(z, Y),
    "silhouette": lambda z: silhouette(z, Y),
    "knn_accuracy": lambda z: knn_accuracy(z, Y),
    "trustworthiness": lambda z: trustworthiness(Z @ X, z),
    "continuity": lambda z: continuity(Z @ X, z),
    "two_nn": two_nn,
    "levina_bickel": levina_bickel,
    "mmd": lambda z: mmd(z, PRIOR),
    "energy_distance": lambda z: energy_distance(z, PRIOR),
    "prior_holes": lambda z: prior_holes(z, PRIOR),
    "active_units": active_units,
    "probe_knn": lambda z: probe(z, labels=Y, ladder="knn"),
    "probe_linear": lambda z: probe(z, labels=Y),
}
V = torch.stack([Y, Y % 2], 1)


def shaken(z):
    """Codes under noise that scales with them: a tenth of the way to another item's."""
    return {0.1: z + 0.1 * (z.roll(1, 0) - z)}


def widths(z):
    """The dimensions that a linear decoder fitted to the codes needs."""
    x, mean = Z @ X, z.double().mean(0)
    back = torch.linalg.lstsq(z.double() - mean, x - x.mean(0), driver="gelsd").solution
    return error_by_width(x, z, lambda codes: (codes.double() - mean) @ back + x.mean(0), x, limit=N)


METRICS |= {
    "knn_factors": lambda z: knn_factors(z, V),
    "probe_mlp": lambda z: probe(z, labels=Y, ladder="mlp"),
    "latent_shift": lambda z: latent_shift(z, shaken(z)),
    "probe_under_noise": lambda z: probe_under_noise(z, shaken(z), z, Y, Y),
    "error_by_width": widths,
}
OF_THE_PRIOR = {"mmd", "energy_distance", "prior_holes"}
# Means of distances or squares, by their papers' definitions: a single far point moves them.
OUTLIERS_MOVE = {"silhouette", "nmi", "ari", "energy_distance", "active_units", "latent_shift", "error_by_width"}


@pytest.mark.parametrize("name", METRICS)
def test_float32_and_float64_agree_and_repeating_gives_the_same_bits(name):
    metric = METRICS[name]
    assert metric(Z.float()).value == pytest.approx(metric(Z).value, abs=2e-3)
    assert metric(Z) == metric(Z)


@pytest.mark.parametrize("name", sorted(set(METRICS) - OUTLIERS_MOVE))
def test_one_outlier_moves_next_to_nothing(name):
    spoiled = Z.clone()
    spoiled[0, 0] = 1e6
    wider = {"two_nn": 0.1, "levina_bickel": 0.25, "probe_linear": 0.03, "probe_mlp": 0.04, "probe_under_noise": 0.03}
    tolerance = wider.get(name, 0.02)
    assert METRICS[name](spoiled).value == pytest.approx(METRICS[name](Z).value, abs=tolerance)


@pytest.mark.parametrize("name", sorted(set(METRICS) - OF_THE_PRIOR))
def test_a_dead_dimension_changes_nothing_be_it_constant_or_tiny_noise(name):
    value = METRICS[name](Z).value
    assert METRICS[name](torch.hstack([Z, torch.full((N, 2), 7.0)])).value == pytest.approx(value, abs=1e-6)
    if not name.startswith("probe"):  # a probe scales every dimension to one: to it tiny noise is as large as any other
        tiny = torch.hstack([Z, 1e-7 * torch.from_numpy(np.random.default_rng(1).normal(size=(N, 2)))])
        assert METRICS[name](tiny).value == pytest.approx(value, abs=1e-3)


@settings(max_examples=5, deadline=None)
@given(order=st.permutations(range(3)), scale=st.floats(1e-2, 1e2))
def test_permuted_dimensions_and_one_scale_for_all_change_nothing(order, scale):
    for name in set(METRICS) - OF_THE_PRIOR - {"active_units", "probe_mlp"}:  # whose first weights have an order
        assert METRICS[name](scale * Z[:, list(order)]).value == pytest.approx(METRICS[name](Z).value, abs=1e-3), name


OF_SHAPES = {
    "loops": lambda z: loops(z),
    "sparsity": lambda z: sparsity(z),
    "tear": lambda z: tear(z, torch.arange(N)[:, None], ("angle",), (N,), Euclidean(z.shape[1])),
    "tree_correlation": lambda z: tree_correlation(z, torch.arange(N)[:, None], ("node",), Euclidean(z.shape[1])),
}


@pytest.mark.parametrize("name", OF_SHAPES)
@settings(max_examples=3)
@given(order=st.permutations(range(3)), scale=st.floats(1e-2, 1e2))
def test_permuted_dimensions_and_one_scale_for_all_leave_shapes_as_they_are(name, order, scale):
    assert OF_SHAPES[name](scale * Z[:, list(order)]).value == pytest.approx(OF_SHAPES[name](Z).value, rel=1e-4)


@pytest.mark.parametrize("name", ["loops", "tear", "tree_correlation"])  # fewer dimensions in use are what sparsity counts
def test_a_dead_dimension_leaves_shapes_as_they_are(name):
    dead = torch.hstack([Z, torch.full((N, 2), 7.0), 1e-7 * torch.from_numpy(np.random.default_rng(1).normal(size=(N, 1)))])
    assert OF_SHAPES[name](dead).value == pytest.approx(OF_SHAPES[name](Z).value, rel=1e-4)


@settings(max_examples=3)
@given(order=st.permutations(range(3)))
def test_dimensions_of_codes_and_prior_permuted_alike_change_nothing(order):
    z, prior = Z[:, list(order)], PRIOR[:, list(order)]
    for metric in (mmd, energy_distance, prior_holes):
        assert metric(z, prior).value == pytest.approx(metric(Z, PRIOR).value, abs=1e-9), metric.__name__
    assert active_units(z).value == active_units(Z).value


AT_CHANCE = (
    "class_component",
    "nmi",
    "ari",
    "silhouette",
    "probe_knn",
    "probe_linear",
    "probe_mlp",
    "trustworthiness",
    "continuity",
)


@pytest.mark.parametrize("name", AT_CHANCE)
def test_codes_dealt_to_other_items_are_at_the_floor(name):
    found = METRICS[name](Z[torch.from_numpy(np.random.default_rng(3).permutation(N))])
    assert found.value == pytest.approx(found.floor, abs=0.09)
    assert METRICS[name](Z).value > found.floor + 0.1
