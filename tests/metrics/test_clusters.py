import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import silhouette_score

from latent_atlas.metrics.clusters import ari, class_component, nmi, silhouette
from latent_atlas.metrics.result import NotApplicable

METRICS = [class_component, nmi, ari, silhouette]


def islands(n=600, classes=4, islands=1, spread=0.2, seed=0):
    """Each class is ``islands`` equal clouds, all clouds far apart."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    cloud = labels * islands + np.arange(n) // classes % islands
    centres = 10.0 * np.eye(classes * islands)[:, : max(2, classes * islands)]
    return torch.from_numpy(centres[cloud] + spread * rng.normal(size=(n, centres.shape[1]))), torch.from_numpy(labels)


@pytest.mark.parametrize("metric", METRICS)
def test_separate_classes_are_perfect_and_noise_is_at_the_measured_floor(metric):
    z, y = islands()
    assert metric(z, y).value > 0.95
    noise = metric(torch.from_numpy(np.random.default_rng(1).normal(size=(3000, 4))), torch.arange(3000) % 10)
    assert noise.value == pytest.approx(noise.floor, abs=0.03)


@pytest.mark.parametrize("parts", [2, 3])
def test_a_class_of_several_islands_has_its_share_in_the_largest(parts):
    z, y = islands(islands=parts)
    found = class_component(z, y)
    assert found.value == pytest.approx(1 / parts, abs=0.01)
    assert set(found.parts["class"]) == {"0", "1", "2", "3"}


def test_another_class_that_lies_between_cuts_a_region_in_two():
    line = torch.linspace(0, 1, 300, dtype=torch.float64)[:, None]
    y = torch.zeros(300, dtype=torch.int64)
    y[100:200] = 1
    assert class_component(line, y).parts["class"] == {"0": 0.5, "1": 1.0}
    assert class_component(line, (torch.arange(300) >= 100).long()).value == 1.0


@pytest.mark.parametrize("metric", METRICS)
def test_dead_dimensions_duplicates_and_order_change_nothing(metric):
    z, y = islands(spread=4.0)
    value = metric(z, y).value
    assert 0.05 < value < 0.97
    assert metric(torch.hstack([z, torch.zeros(len(z), 2)]), y).value == pytest.approx(value, abs=1e-6)
    assert metric(z.flip(1), y).value == pytest.approx(value, abs=0.02)
    assert metric(torch.hstack([z, z]), y).value == pytest.approx(value, abs=0.02)


@settings(max_examples=8, deadline=None)
@given(scale=st.floats(1e-3, 1e3), shift=st.floats(-100, 100))
def test_a_common_scale_and_offset_change_nothing(scale, shift):
    z, y = islands(200, spread=4.0)
    for metric in (class_component, silhouette):
        assert metric(z * scale + shift, y).value == pytest.approx(metric(z, y).value, abs=1e-6)


def test_silhouette_equals_scikit_learns_also_with_a_class_of_one():
    z, y = islands(300, spread=5.0)
    y[0] = 9
    assert silhouette(z, y).value == pytest.approx(silhouette_score(z.numpy(), y.numpy()), abs=1e-9)


@pytest.mark.parametrize("metric", METRICS)
def test_missing_labels_are_left_out_and_one_class_is_a_reason(metric):
    z, y = islands(spread=4.0)
    masked = y.clone()
    masked[::3] = -1
    assert metric(z, masked).value == pytest.approx(metric(z[masked >= 0], y[masked >= 0]).value, abs=1e-12)
    with pytest.raises(NotApplicable, match="same label"):
        metric(z, y * 0)


def test_collapsed_codes_cannot_be_clustered():
    with pytest.raises(NotApplicable, match="fewer than 4 different values"):
        nmi(torch.zeros(100, 3), torch.arange(100) % 4)


def test_refits_give_an_interval_around_their_mean_and_repeating_gives_the_same_bits():
    z, y = islands(spread=4.0)
    found = nmi(z, y, refits=3)
    assert found.interval[0] < found.value < found.interval[1]
    assert found.value == pytest.approx(np.mean(found.parts["refits"]))
    assert found == nmi(z, y, refits=3)
    assert nmi(z, y).interval is None


def test_the_interval_of_components_holds_the_value_of_other_items():
    def drawn(n, seed):
        """Two islands for each of two classes, the second a third of the first."""
        rng = np.random.default_rng(seed)
        y, far = rng.integers(0, 2, n), rng.random(n) < 0.25
        centre = np.stack([y * 20.0, far * 20.0], 1)
        return torch.from_numpy(centre + rng.normal(0, 1, (n, 2))), torch.from_numpy(y)

    many = class_component(*drawn(4000, 99)).value
    found = [class_component(*drawn(400, seed), resamples=10) for seed in range(10)]
    assert sum(one.interval[0] <= many <= one.interval[1] for one in found) >= 8
    assert all(one.interval[1] - one.interval[0] < 0.2 for one in found)
    assert class_component(*drawn(400, 0)).interval is None
