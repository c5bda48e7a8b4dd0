import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from latent_atlas.metrics.probes import MISSING, grouped, probe, standardised
from latent_atlas.metrics.result import NotApplicable, TooFewSamples

LADDER = ["knn", "linear", "mlp"]


def both(seed=0, n=600, sizes=(3, 4)):
    """Factors of training and held-out items."""
    rng = np.random.default_rng(seed)
    return [torch.from_numpy(np.stack([rng.integers(0, size, n) for size in sizes], 1)) for _ in range(2)]


def noisy(v, seed, noise=0.05):
    return v.double() + noise * torch.from_numpy(np.random.default_rng(seed).normal(size=v.shape))


@pytest.mark.parametrize("ladder", LADDER)
def test_the_factors_themselves_are_read_by_neighbours_and_perceptron(ladder):
    seen, held = both()
    found = probe(noisy(held, 1), noisy(seen, 2), factors=held, factors_train=seen, factor_names=["a", "b"], ladder=ladder)
    # A linear reader answers the inner of four places on a line only as far as its slopes allow.
    assert found.value > (0.9 if ladder == "linear" else 0.99)
    assert set(found.parts["accuracy"]) == {"a", "b"}
    assert found.floor == pytest.approx(np.mean([1 / 3, 1 / 4]), abs=0.05)


@pytest.mark.parametrize("ladder", LADDER)
def test_noise_is_at_the_floor_of_the_commonest_answer(ladder):
    rng = np.random.default_rng(0)
    labels = [torch.from_numpy(rng.choice(3, 1500, p=[0.7, 0.2, 0.1])) for _ in range(2)]
    z = [torch.from_numpy(rng.normal(size=(1500, 4))) for _ in range(2)]
    found = probe(z[0], z[1], labels[0], labels[1], ladder=ladder)
    assert found.floor == pytest.approx(0.7, abs=0.04)
    assert found.value == pytest.approx(found.floor, abs=0.06)
    assert found.value <= found.floor + 0.02


def test_a_rotation_leaves_the_linear_probe_and_only_a_hidden_layer_reads_exclusive_or():
    rng = np.random.default_rng(0)
    z = [torch.from_numpy(rng.normal(size=(1500, 2))) for _ in range(2)]
    turn = torch.tensor([[1.0, 1.0], [-1.0, 1.0]], dtype=torch.float64) / 2**0.5
    halves = [(part[:, 0] > 0).long() for part in z]
    straight = probe(z[0], z[1], halves[0], halves[1]).value
    assert straight > 0.98
    assert probe(z[0] @ turn, z[1] @ turn, halves[0], halves[1]).value == pytest.approx(straight, abs=0.01)
    crossed = [((part > 0).sum(1) == 1).long() for part in z]
    assert probe(z[0], z[1], crossed[0], crossed[1]).value < 0.6
    assert probe(z[0], z[1], crossed[0], crossed[1], ladder="mlp").value > 0.95


@pytest.mark.parametrize("ladder", LADDER)
def test_permuted_rescaled_and_dead_dimensions_change_nothing(ladder):
    seen, held = both(n=300)
    z, zt = noisy(held, 1, 0.6), noisy(seen, 2, 0.6)

    def score(a, b):
        return probe(a, b, factors=held, factors_train=seen, ladder=ladder).value

    value = score(z, zt)
    scale = torch.tensor([1e3, 1e-3], dtype=torch.float64)
    assert score(z * scale - 7, zt * scale - 7) == pytest.approx(value, abs=0.004)
    assert score(*(torch.hstack([part, torch.full((300, 3), 5.0)]) for part in (z, zt))) == pytest.approx(value, abs=1e-9)
    assert score(z.flip(1), zt.flip(1)) == pytest.approx(value, abs=0.04 if ladder == "mlp" else 0.004)


def test_neighbours_and_regression_are_those_of_scikit_learn():
    seen, held = both(n=400, sizes=(4,))
    z, zt = noisy(held, 1, 0.6), noisy(seen, 2, 0.6)
    train, test = (part.numpy() for part in standardised(zt, z))
    for ladder, theirs in (("knn", KNeighborsClassifier(10)), ("linear", LogisticRegression(C=1.0, tol=1e-8, max_iter=1000))):
        expected = theirs.fit(train, seen[:, 0].numpy()).score(test, held[:, 0].numpy())
        assert probe(z, zt, held[:, 0], seen[:, 0], ladder=ladder).value == pytest.approx(expected, abs=0.006)


def test_a_continuous_factor_is_read_in_tenths_and_missing_values_are_masked():
    rng = np.random.default_rng(0)
    values, more = (torch.from_numpy(rng.random((2000, 1))) for _ in range(2))
    found = probe(values, more, factors=values, factors_train=more, ladder="knn")
    assert found.value > 0.97
    assert found.floor == pytest.approx(0.1, abs=0.02)
    holes = values.clone()
    holes[::4] = torch.nan
    assert probe(values, more, factors=holes, factors_train=more, ladder="knn").value > 0.97
    assert (grouped(more[:, 0], holes[:, 0])[1] == MISSING).sum() == 500


@pytest.mark.parametrize("ladder", LADDER)
def test_missing_training_labels_teach_nothing(ladder):
    seen, held = both(n=400, sizes=(3,))
    some = seen[:, 0].clone()
    some[::2] = MISSING
    assert probe(noisy(held, 1), noisy(seen, 2), held[:, 0], some, ladder=ladder).value > 0.97


def test_without_training_items_one_half_teaches_and_the_other_is_read():
    seen, _ = both()
    found = probe(noisy(seen, 1), factors=seen)
    assert found.provenance["n"] == found.provenance["trained_on"] == 300
    assert found.value > 0.9


def test_wide_codes_are_read_through_their_principal_components():
    seen, held = both(n=400)
    lift = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 500)))
    found = probe(noisy(held, 1) @ lift, noisy(seen, 2) @ lift, factors=held, factors_train=seen, ladder="knn")
    assert found.value > 0.97


def test_refits_give_an_interval_and_repeating_gives_the_same_bits():
    seen, held = both(n=300)
    z, zt = noisy(held, 1, 0.6), noisy(seen, 2, 0.6)
    for ladder in LADDER:
        found = probe(z, zt, factors=held, factors_train=seen, ladder=ladder, refits=3)
        assert found.interval[0] < found.value < found.interval[1]
        assert found == probe(z, zt, factors=held, factors_train=seen, ladder=ladder, refits=3)
    assert probe(z, zt, factors=held, factors_train=seen).interval is None


def test_what_cannot_be_read_is_a_reason():
    z = torch.randn(100, 2)
    with pytest.raises(NotApplicable, match="neither labels nor factors"):
        probe(z, z)
    with pytest.raises(NotApplicable, match="neither labels nor factors"):
        probe(z, z, torch.zeros(100).long(), torch.zeros(100).long())
    with pytest.raises(TooFewSamples):
        probe(z, z[:5], torch.arange(100) % 2, torch.arange(5) % 2)


def test_a_collapsed_code_is_at_the_floor():
    y = torch.arange(200) % 4
    assert probe(torch.zeros(200, 3), torch.zeros(200, 3), y, y).value == pytest.approx(0.25)


@pytest.mark.parametrize("unknown", [-1.0, float("nan")])
def test_a_negative_class_of_a_factor_is_unknown_and_no_class(unknown):
    rng = np.random.default_rng(0)
    v = torch.from_numpy(rng.integers(0, 3, (600, 1))).double()
    codes = v + torch.from_numpy(rng.normal(0, 0.3, (600, 1)))
    holes = v.clone()
    holes[torch.from_numpy(rng.random(600) < 0.6)] = unknown  # as a class it would be the commonest answer
    split = (slice(None, 300), slice(300, None))
    given = {"codes": codes[split[0]], "codes_train": codes[split[1]], "ladder": "linear"}
    found = probe(**given, factors=holes[split[0]], factors_train=holes[split[1]])
    assert found.value == pytest.approx(probe(**given, factors=v[split[0]], factors_train=v[split[1]]).value, abs=0.05)
    assert found.parts["chance"]["factor 0"] == pytest.approx(1 / 3, abs=0.08)
    negative = {"factors": v[split[0]] - 5, "factors_train": v[split[1]] - 5, "factor_sizes": [0]}
    assert probe(**given, **negative).value == probe(**given, factors=v[split[0]], factors_train=v[split[1]]).value
