"""Properties of random codes: dimensions have neither an order nor a unit, and scores keep to their range."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from toy_codes import INFORMATION, LINEAR, METRICS, TREES, UNSUPERVISED, VOTED, factors, trees_in_one_process

from latent_atlas.metrics.result import NotApplicable


@pytest.fixture(autouse=True, scope="module")
def _trees():
    with trees_in_one_process():
        yield


CHEAP = [*INFORMATION, "irs", *LINEAR, *VOTED, *UNSUPERVISED]
BINNED = {*INFORMATION, "irs", "dimension_information", "factor_vae_score"}  # order statistics and shares: no solver, no rounding
N, SIZES = 300, (3, 4)


@st.composite
def coded(draw, most=5):
    """Random linear codes of two factors with some noise, and noise dimensions beside them."""
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    v = factors(2 * N, SIZES, draw(st.integers(0, 10_000)))
    d = draw(st.integers(2, most))
    z = v @ rng.normal(size=(2, d)) * draw(st.sampled_from([0.0, 0.3, 1.0])) + draw(st.floats(0.05, 2)) * rng.normal(
        size=(2 * N, d)
    )
    return z, v


def value(name, z, v):
    """None where the metric has a reason not to answer."""
    try:
        return METRICS[name](z, v).value
    except NotApplicable:
        return None


@st.composite
def relabelled(draw):
    z, v = draw(coded())
    d = z.shape[1]
    scale = st.floats(0.05, 20)
    return z, v, draw(st.permutations(range(d))), np.array(draw(st.lists(scale, min_size=d, max_size=d)))


@pytest.mark.parametrize("name", CHEAP)
@settings(max_examples=4, deadline=None)
@given(case=relabelled())
def test_permuting_and_rescaling_dimensions_changes_nothing(name, case):
    z, v, order, scales = case
    scales = scales[:1] if name == "wasserstein_correlation" else scales
    assert value(name, (z * scales)[:, order], v) == pytest.approx(value(name, z, v), abs=1e-9 if name in BINNED else 2e-3)


@pytest.mark.parametrize("name", TREES)
@settings(max_examples=3, deadline=None)
@given(case=relabelled())
def test_permuting_and_rescaling_dimensions_changes_no_tree_but_for_ties(name, case):
    z, v, order, scales = case
    # LightGBM takes the first of two splits that gain as much, and bins codes in float32.
    assert value(name, (z * scales)[:, order], v) == pytest.approx(value(name, z, v), abs=0.03)


@pytest.mark.parametrize("name", sorted(INFORMATION))
@settings(max_examples=4, deadline=None)
@given(case=coded())
def test_of_bins_of_equal_mass_only_the_order_of_codes_counts(name, case):
    z, v = case
    assert value(name, np.exp(z / np.abs(z).max()), v) == pytest.approx(value(name, z, v), abs=1e-9)


RANGES = dict.fromkeys(CHEAP, (0, 1)) | {
    "mig": (-0.05, 1.05),  # corrected entropies: around 0 and 1, not between them
    "mig_sup": (-0.05, 1.05),
    "jemmig": (-0.05, 1.05),
    "total_correlation": (-0.1, np.inf),
    "wasserstein_correlation": (-1e-9, 2),
    "dimension_information": (-0.1, np.log(50)),
}


@pytest.mark.parametrize("name", CHEAP)
@settings(max_examples=5, deadline=None)
@given(case=coded())
def test_scores_keep_to_their_range(name, case):
    low, high = RANGES[name]
    assume(value(name, *case) is not None)
    found = METRICS[name](*case)
    assert low <= found.value <= high
    assert found.floor is None or low <= found.floor <= high
