import numpy as np
import pytest
import torch
from sklearn.manifold import trustworthiness as sklearn_trustworthiness
from sklearn.model_selection import LeaveOneOut, cross_val_score
from sklearn.neighbors import KNeighborsClassifier

from latent_atlas.metrics.neighbours import knn_accuracy, knn_factors, nearest, trustworthiness
from latent_atlas.metrics.result import NotApplicable


def clusters(n=120, classes=4, spread=0.1, seed=0):
    rng = np.random.default_rng(seed)
    labels = torch.arange(n) % classes
    centres = rng.normal(size=(classes, 3))
    return torch.from_numpy(centres[labels] + spread * rng.normal(size=(n, 3))), labels


def test_nearest_leaves_out_the_item_itself_also_among_duplicates_and_in_blocks():
    codes = torch.tensor([[0.0], [0.0], [1.0], [1.5], [10.0]])
    assert nearest(codes, 1).squeeze(1).tolist() == [1, 0, 3, 2, 3]
    z, _ = clusters()
    assert torch.equal(nearest(z, 5, block=7), nearest(z, 5))


def test_accuracy_equals_scikit_learns_leave_one_out():
    z, labels = clusters(spread=1.0)
    theirs = cross_val_score(KNeighborsClassifier(7), z.numpy(), labels.numpy(), cv=LeaveOneOut()).mean()
    assert knn_accuracy(z, labels, k=7).value == pytest.approx(theirs, abs=1e-12)


def test_separate_classes_are_found_and_noise_is_at_the_floor():
    z, labels = clusters()
    assert knn_accuracy(z, labels).value == 1.0
    found = knn_accuracy(torch.randn(2000, 5, generator=torch.Generator().manual_seed(0)), torch.arange(2000) % 4)
    assert found.floor == 0.25
    assert found.value == pytest.approx(0.25, abs=0.04)


def test_labels_that_cannot_be_scored_give_a_reason():
    z, labels = clusters()
    with pytest.raises(NotApplicable, match="same label"):
        knn_accuracy(z, labels * 0)
    with pytest.raises(NotApplicable, match="5 items have no 10 neighbours"):
        knn_accuracy(z[:5], labels[:5])


def test_factors_of_neighbours_are_one_for_the_factors_themselves_and_zero_for_noise():
    rng = np.random.default_rng(0)
    v = torch.from_numpy(rng.integers(0, 4, (3000, 2)))
    found = knn_factors(v.double() + 0.01 * torch.from_numpy(rng.normal(size=v.shape)), v, ["a", "b"])
    assert found.value == pytest.approx(1.0, abs=0.01)
    assert set(found.parts) == {"a", "b"}
    assert knn_factors(torch.from_numpy(rng.normal(size=(3000, 4))), v).value == pytest.approx(0.0, abs=0.02)


def test_factors_of_neighbours_take_long_factors_in_fifths_and_leave_out_constant_ones():
    rng = np.random.default_rng(0)
    v = torch.from_numpy(rng.integers(0, 32, (2000, 1)))
    found = knn_factors(v.double(), torch.hstack([v, v * 0]), ["x", "still"])
    assert found.value > 0.9
    assert set(found.parts) == {"x"}
    with pytest.raises(NotApplicable, match="constant"):
        knn_factors(v.double(), v * 0)


def test_trustworthiness_equals_scikit_learns_and_is_one_for_the_data_itself():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(90, 6))
    z = x[:, :2] + 0.3 * rng.normal(size=(90, 2))
    ours = trustworthiness(torch.from_numpy(x), torch.from_numpy(z), k=8).value
    assert ours == pytest.approx(sklearn_trustworthiness(x, z, n_neighbors=8), abs=1e-12)
    assert trustworthiness(torch.from_numpy(x), torch.from_numpy(x), k=8).value == 1.0


def test_trustworthiness_of_too_few_items_is_a_reason():
    with pytest.raises(NotApplicable, match="too few"):
        trustworthiness(torch.zeros(12, 2), torch.zeros(12, 2))


@pytest.mark.parametrize("unknown", [-1.0, float("nan")])
def test_unknown_labels_and_factors_are_left_out(unknown):
    rng = np.random.default_rng(0)
    v = rng.integers(0, 4, (400, 2))
    codes = torch.from_numpy(v + rng.normal(0, 0.2, (400, 2)))
    some = torch.from_numpy(rng.random(400) < 0.7)
    factors = torch.from_numpy(v).double()
    holes = factors.clone()
    holes[~some, 0] = unknown
    found = knn_factors(codes, holes)
    assert found.parts["factor 0"] == pytest.approx(knn_factors(codes[some], factors[some]).parts["factor 0"], abs=1e-12)
    assert found.parts["factor 1"] == knn_factors(codes, factors).parts["factor 1"]
    assert found.value == pytest.approx(np.mean(list(found.parts.values())))
    # Of a quantity, negative values are values.
    shifted = (factors - 1.5) * 2
    assert knn_factors(codes, shifted, factor_sizes=[0, 0]).parts == knn_factors(codes, factors).parts
    labels = torch.from_numpy(v[:, 0])
    masked = torch.where(some, labels, -1)
    assert knn_accuracy(codes, masked) == knn_accuracy(codes[some], labels[some])
