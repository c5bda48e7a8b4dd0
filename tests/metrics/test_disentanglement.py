import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import mutual_info_score

from latent_atlas.metrics.disentanglement import mig
from latent_atlas.metrics.information import entropies, mutual_information, quantile_bins
from latent_atlas.metrics.result import NotApplicable

SIZES = (3, 6, 40, 32)


def factors(n=10_000, sizes=SIZES, seed=0):
    rng = np.random.default_rng(seed)
    return np.stack([rng.integers(0, size, n) for size in sizes], axis=1)


def identity(v, seed=1, noise=0.01):
    return (v + noise * np.random.default_rng(seed).normal(size=v.shape)).astype(np.float32)


def test_the_identity_code_is_perfect_at_any_number_of_values():
    v = factors()
    assert mig(v.astype(np.float32), v).value == pytest.approx(1.0, abs=0.02)
    assert mig(identity(v[:, :2]), v[:, :2]).value == pytest.approx(1.0, abs=0.03)


def test_the_ceiling_is_what_a_perfect_code_reaches_where_bins_cut_through_values():
    v = factors()
    found = mig(identity(v), v)
    assert found.value == pytest.approx(found.ceiling, abs=0.01)
    assert 0.85 < found.ceiling < 0.97
    assert abs(found.floor) < 0.01


def test_a_code_rotated_by_45_degrees_has_no_gap():
    v = factors(sizes=(8, 8))
    z = identity(v)
    turned = np.stack([z[:, 0] + z[:, 1], z[:, 0] - z[:, 1]], axis=1) / np.sqrt(2)
    assert mig(z, v).value > 0.9
    assert mig(turned, v).value < 0.05


def test_a_duplicated_dimension_leaves_no_gap():
    v = factors()
    z = identity(v)
    assert mig(np.hstack([z, z]), v).value == pytest.approx(0.0, abs=1e-9)


def test_pure_noise_is_at_the_floor_also_for_few_items():
    for n, information in ((500, 0.1), (1000, 0.06), (10_000, 0.005)):
        v = factors(n)
        found = mig(np.random.default_rng(3).normal(size=(n, 10)), v)
        assert found.value == pytest.approx(found.floor, abs=0.02), n
        assert found.value < 0.02, n
        assert max(found.parts["information"].values()) < information, n


def test_dead_dimensions_change_nothing():
    v = factors()
    z = identity(v)
    dead = np.hstack([z, np.zeros((len(z), 2), np.float32)])
    assert mig(dead, v).value == pytest.approx(mig(z, v).value, abs=1e-12)
    tiny = np.hstack([z, 1e-6 * np.random.default_rng(0).normal(size=(len(z), 2)).astype(np.float32)])
    assert mig(tiny, v).value == pytest.approx(mig(z, v).value, abs=0.01)


def test_one_outlier_moves_quantile_bins_by_nothing_and_equal_width_bins_by_everything():
    v = factors(sizes=(5, 8))
    z = identity(v)
    spoiled = z.copy()
    spoiled[0] = 1e6
    assert mig(spoiled, v).value == pytest.approx(mig(z, v).value, abs=0.01)
    assert mig(z, v, estimator="histogram20").value - mig(spoiled, v, estimator="histogram20").value > 0.9


def test_constant_factors_are_left_out_and_named():
    v = factors(sizes=(5, 8))
    constant = np.insert(v, 1, 3, axis=1)
    found = mig(identity(v), constant, factor_names=["a", "still", "b"])
    assert found.parts["constant"] == ["still"]
    assert set(found.parts["gap"]) == {"a", "b"}
    assert found.value == pytest.approx(mig(identity(v), v).value, abs=1e-12)
    with pytest.raises(NotApplicable, match="constant"):
        mig(identity(v), np.zeros((len(v), 2)))


def test_one_dimension_has_no_gap_to_speak_of():
    v = factors(500)
    with pytest.raises(NotApplicable, match="at least two"):
        mig(v[:, :1], v)


def test_a_continuous_factor_is_binned_like_the_codes_and_named():
    v = np.random.default_rng(0).random((5000, 2))
    found = mig(v * [2.0, -3.0], v)
    assert found.value == pytest.approx(1.0, abs=0.03)
    assert found.parts["binned"] == ["factor 0", "factor 1"]
    assert found.provenance == {"n": 5000, "bins": 50, "estimator": "quantile_miller_madow", "codes": "mode"}


def test_the_gap_of_each_factor_and_its_dimension_are_recorded():
    v = factors(sizes=(5, 8))
    z = np.hstack([np.random.default_rng(0).normal(size=(len(v), 1)), identity(v)[:, ::-1]])
    found = mig(z, v, factor_names=["a", "b"])
    assert found.parts["dimension"] == {"a": 2, "b": 1}
    assert found.value == pytest.approx(np.mean(list(found.parts["gap"].values())), rel=1e-12)


@settings(max_examples=20, deadline=None)
@given(order=st.permutations(range(6)), scales=st.lists(st.floats(1e-2, 1e2), min_size=6, max_size=6))
def test_permuting_and_rescaling_dimensions_changes_nothing(order, scales):
    v = factors(600, (3, 6))
    z = np.hstack([identity(v, noise=0.5), np.random.default_rng(0).normal(size=(600, 4))])
    assert mig((z * scales)[:, list(order)], v).value == pytest.approx(mig(z, v).value, abs=1e-9)


def test_repeating_gives_the_same_bits():
    v = factors(800)
    z = np.random.default_rng(0).normal(size=(800, 5))
    assert mig(z, v) == mig(z, v)  # value, floor, ceiling and parts


def test_plug_in_information_equals_scikit_learns_and_the_correction_removes_its_bias():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 20, 1000), rng.integers(0, 20, 1000)
    raw = mutual_information([a], [b], corrected=False).mutual[0, 0]
    assert raw == pytest.approx(mutual_info_score(a, b), abs=1e-12)
    assert raw > 0.15
    assert mutual_information([a], [b]).mutual[0, 0] < 0.2 * raw


def test_entropy_of_uniform_bins():
    counts = np.bincount(np.arange(1000) % 8)
    assert entropies(counts, 1000, corrected=False) == pytest.approx(np.log(8), rel=1e-12)
    assert entropies(counts, 1000, corrected=True) == pytest.approx(np.log(8) + 7 / 2000, rel=1e-12)


def test_bins_have_equal_mass_and_few_values_stay_apart():
    x = np.random.default_rng(0).exponential(size=1000)
    assert set(np.bincount(quantile_bins(x, 20))) == {50}
    assert quantile_bins(np.array([5.0, -1.0, 5.0, 9.0]), 20).tolist() == [1, 0, 1, 2]
