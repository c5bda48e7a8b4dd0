"""What disentanglement metrics make of labels that are missing, factors that are constant or quantities, and single dimensions."""

import numpy as np
import pytest
from toy_codes import LINEAR, METRICS, SUPERVISED, TREES, factors, identity, mixed, noise, trees_in_one_process

from latent_atlas.metrics import dci
from latent_atlas.metrics.result import NotApplicable, TooFewSamples
from latent_atlas.metrics.unsupervised import total_correlation, udr

V = factors()
Z = mixed(identity(V)) * 0.3 + identity(V)
NAMES = ["a", "b", "c"]


@pytest.fixture(autouse=True, scope="module")
def _trees():
    with trees_in_one_process():
        yield


def value(name, z=Z, v=V, **more):
    return METRICS[name](z, v, **more).value


def with_unknown_items(missing, seed=0):
    """Codes and factors with 200 items more in each half, of which no factor is known and the code is a draw from elsewhere."""
    rng = np.random.default_rng(seed)
    half = len(V) // 2
    z = [np.vstack([part, 5 + rng.normal(size=(200, 3))]) for part in (Z[:half], Z[half:])]
    v = [np.vstack([part, np.full((200, 3), missing)]) for part in (V[:half].astype(float), V[half:].astype(float))]
    orders = [rng.permutation(half + 200) for _ in range(2)]
    return np.vstack([part[order] for part, order in zip(z, orders, strict=True)]), np.vstack(
        [part[order] for part, order in zip(v, orders, strict=True)]
    )


@pytest.mark.parametrize("missing", [-1, np.nan])
@pytest.mark.parametrize("name", sorted(set(SUPERVISED) - {"beta_vae_score", "factor_vae_score"}))
def test_items_without_labels_take_no_part(name, missing):
    z, v = with_unknown_items(missing)
    if not np.isnan(missing):
        v = v.astype(np.int64)
    assert value(name, z, v) == pytest.approx(value(name), abs=0.01 if name in LINEAR else 1e-9)


def test_an_item_that_lacks_one_label_still_says_something_of_the_others():
    v = V.copy()
    v[::2, 1] = -1
    found, whole = METRICS["mig"](Z, v, factor_names=NAMES), METRICS["mig"](Z, V, factor_names=NAMES)
    assert found.parts["gap"]["a"] == whole.parts["gap"]["a"]
    assert found.parts["gap"]["b"] != whole.parts["gap"]["b"]
    assert found.parts["gap"]["b"] == pytest.approx(whole.parts["gap"]["b"], abs=0.1)


@pytest.mark.parametrize("name", ["beta_vae_score", "factor_vae_score"])
def test_votes_are_never_cast_on_an_unknown_value(name):
    v = V.copy()
    v[::3, 0] = -1
    assert value(name, v=v) == pytest.approx(value(name), abs=0.05)
    v[:, 0] = np.where(np.arange(len(v)) % 3, -1, v[:, 0])
    assert value(name, identity(V), v) > 0.97


@pytest.mark.parametrize("name", SUPERVISED)
def test_a_constant_factor_is_left_out_and_named(name):
    v = np.insert(V, 1, 3, axis=1)
    found = METRICS[name](Z, v, factor_names=["a", "still", "b", "c"])
    dci._FITS.clear()
    assert found.value == pytest.approx(METRICS[name](Z, V, factor_names=NAMES).value, abs=1e-12)
    assert found.parts["constant"] == ["still"]
    assert METRICS[name](Z, V, factor_names=NAMES).parts["constant"] == []
    with pytest.raises(NotApplicable, match="every factor is constant"):
        METRICS[name](Z, np.ones_like(V))


@pytest.mark.parametrize(
    ("name", "least"),
    [
        ("mig", 0.9), ("mig_sup", 0.9), ("jemmig", 0.3), ("modularity", 0.95), ("infom", 0.95), ("infoc", 0.95), ("sap", 0.8),
        ("infoe", 0.95), ("irs", 0.9), ("factor_vae_score", 0.97), ("beta_vae_score", 0.97), ("dci_disentanglement", 0.95),
        ("dci_completeness", 0.95), ("dci_informativeness", 0.95),
    ],
)  # fmt: skip
def test_quantities_are_factors_too(name, least):
    v = np.column_stack([np.random.default_rng(0).random((1200, 2)), V[:, 0]])
    z = identity(v, 0.005)
    assert value(name, z, v) >= least
    assert value(name, noise(d=4), v) < 0.5
    unknown = v.copy()
    unknown[::7, 0] = np.nan
    assert value(name, z, unknown) == pytest.approx(value(name, z, v), abs=0.02)


def test_a_column_of_whole_numbers_is_a_quantity_where_its_size_says_so():
    assert value("sap", identity(V), factor_sizes=(0, 0, 0)) > 0.95  # R² of a line
    assert value("sap", identity(V), factor_sizes=(2, 3, 4)) < 0.8  # the penalty of linear machines weighs against 600 items


def test_quantities_alone_have_no_classes_to_be_explicit_of():
    with pytest.raises(NotApplicable, match="every factor is a quantity"):
        value("explicitness", v=np.random.default_rng(0).random((1200, 2)))


@pytest.mark.parametrize("name", ["mig", "jemmig", "sap", *TREES])
def test_one_dimension_leaves_a_gap_undefined_with_its_reason(name):
    with pytest.raises(NotApplicable, match="at least two"):
        value(name, Z[:, :1])


def test_one_dimension_leaves_compactness_undefined():
    with pytest.raises(NotApplicable, match="single dimension"):
        value("infoc", identity(V)[:, :1])


@pytest.mark.parametrize("name", ["mig_sup", "modularity", "infom", "infoc", "beta_vae_score", "factor_vae_score", *TREES])
def test_one_factor_leaves_a_comparison_of_factors_undefined(name):
    with pytest.raises(NotApplicable, match="at least two"):
        value(name, v=V[:, :1])


@pytest.mark.parametrize("name", [*LINEAR, *TREES])
def test_classes_that_one_side_lacks_are_no_fault(name):
    v = V.copy()
    half = len(v) // 2
    v[:half, 2][v[:half, 2] == 3] = 2  # scored items lack a class of the fit
    assert 0.3 < value(name, v=v) <= 1
    v = V.copy()
    v[half:, 2][v[half:, 2] == 3] = 2  # and the other way round
    assert 0.3 < value(name, v=v) <= 1


def test_too_few_items_are_refused():
    with pytest.raises(TooFewSamples, match="fewer than 20"):
        value("dci_disentanglement", Z[:30], V[:30])
    with pytest.raises(TooFewSamples, match="more than 3 items"):
        total_correlation(Z[:3])
    with pytest.raises(TooFewSamples, match="no two items"):
        value("factor_vae_score", Z[:8], np.arange(16).reshape(8, 2))


def test_a_dimension_twice_has_no_finite_total_correlation():
    with pytest.raises(NotApplicable, match="infinite"):
        total_correlation(np.hstack([Z, Z]))


def test_seeds_are_compared_between_at_least_two_runs():
    with pytest.raises(NotApplicable, match="at least two seeds"):
        udr([Z])
    with pytest.raises(NotApplicable, match="no informative dimension"):
        udr([Z, np.zeros_like(Z)])
