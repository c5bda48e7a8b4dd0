"""The toy cases of docs/metrics.md for disentanglement: what a correction of protocol ``atlas`` is for, with its figures."""

import re

import numpy as np
import pytest
from toy_codes import METRICS, factors, identity, mixed, noise, rotated, trained, trees_in_one_process

from latent_atlas.metrics import dci
from latent_atlas.metrics.disentanglement import Study, jemmig, mig, mig_sup, modularity
from latent_atlas.metrics.information import default_bins, factors_of, histogram20, information, quantile_miller_madow
from latent_atlas.metrics.interventions import Sample, beta_vae_score, factor_vae_score, irs
from latent_atlas.metrics.result import NotApplicable
from latent_atlas.metrics.separability import sap
from latent_atlas.metrics.unsupervised import dimension_information, total_correlation

REFERENCE = {"estimator": "histogram20"}


@pytest.fixture(autouse=True, scope="module")
def _trees():
    with trees_in_one_process():
        yield


def test_one_outlier_empties_bins_of_equal_width():
    v = factors(10_000, (5, 8))
    z = v + 0.01 * noise(10_000, 2)
    spoiled = z.copy()
    spoiled[0] = 1e6
    assert [mig(one, v, **REFERENCE).value for one in (z, spoiled)] == pytest.approx([1.0, 0.0], abs=0.005)
    assert [mig(one, v).value for one in (z, spoiled)] == pytest.approx([0.97, 0.97], abs=0.005)


def test_plug_in_information_of_independent_variables():
    for n, uncorrected in ((1000, 0.34), (2000, 0.17), (10_000, 0.035)):
        pairs = [(noise(n, 1, seed), factors(n, (40,), 100 + seed)) for seed in range(10)]
        plug_in = np.mean([histogram20(z, v, 20).mutual for z, v in pairs])
        corrected = np.mean([quantile_miller_madow(z, v, default_bins(n, "quantile_miller_madow")).mutual for z, v in pairs])
        assert plug_in == pytest.approx(uncorrected, rel=0.05), n
        assert corrected < 0.007, n


def test_a_quantity_in_units_of_the_logarithm_of_its_values_is_never_well_coded():
    v = np.random.default_rng(0).random((5000, 2))
    for n, by_values in ((500, 0.35), (5000, 0.45)):
        study = Study(v[:n], v[:n], None, None, None, "quantile_miller_madow")
        ranked = np.sort(study.information().mutual, axis=0)
        assert np.mean((ranked[-1] - ranked[-2]) / np.log(n)) == pytest.approx(by_values, abs=0.02)
        assert mig(v[:n], v[:n]).value == pytest.approx(1.0, abs=0.02)


def test_a_dimension_of_two_factors_is_seen_from_the_code_and_not_from_the_factors():
    v = factors(5000, (4, 4))
    z = np.hstack([4 * v[:, :1] + v[:, 1:] + 0.05 * noise(5000, 1), noise(5000, 1, 9)])
    assert mig(z, v).value == pytest.approx(0.93, abs=0.01)
    assert mig_sup(z, v).value == pytest.approx(0.10, abs=0.01)
    assert modularity(z, v).value == pytest.approx(0.19, abs=0.01)


def test_constants_have_the_least_joint_entropy_of_all():
    v = factors(2000, (3, 4, 5))
    dead = Study(np.zeros((2000, 3)), v, None, None, None, "quantile_miller_madow")
    found = information(dead.codes, dead.factors, dead.bins, dead.estimator)
    as_defined = 1 - (found.joint - 2 * found.mutual)[0] / (found.entropy + np.log(dead.bins))
    assert as_defined.mean() == pytest.approx(0.69, abs=0.005)
    assert jemmig(dead.codes, v).value == 0.0


def test_dead_dimensions_are_averaged_into_the_published_modularity():
    v = factors(5000)
    z = v + 0.05 * noise(5000, 3)
    codes = (z, np.hstack([z, np.zeros((5000, 3))]), np.hstack([z, noise(5000, 3, 4)]))
    published = [modularity(one, v, dimensions="all", **REFERENCE).value for one in codes]
    assert published == pytest.approx([1.00, 0.50, 0.88], abs=0.01)
    assert [modularity(one, v).value for one in codes] == pytest.approx([1.0, 1.0, 1.0], abs=0.001)
    assert modularity(codes[1], v).parts["all"] == pytest.approx(0.5, abs=0.001)


def unpruned(z, v, seed=0):
    """FactorVAE votes as some packages cast them: over all dimensions, where a constant one is 0 / 0 and argmin answers NaN."""
    rng, source = np.random.default_rng(seed), Sample(z, factors_of(v)[0])
    chosen = rng.integers(0, v.shape[1], 3000)
    with np.errstate(invalid="ignore"):
        least = (z[source.fixed(rng, chosen, 64)].var(axis=1) / z.var(axis=0)).argmin(1)
    votes = np.zeros((z.shape[1], v.shape[1]), int)
    np.add.at(votes, (least[:2000], chosen[:2000]), 1)
    return np.mean(votes.argmax(1)[least[2000:]] == chosen[2000:])


def test_a_constant_dimension_wins_every_vote():
    v = factors(5000, (3,) * 5)
    z = v + 0.05 * noise(5000, 5)
    constant = np.hstack([z, np.full((5000, 1), 7.0)])
    assert [unpruned(one, v) for one in (z, constant)] == pytest.approx([1.0, 0.2], abs=0.035)  # chance
    assert factor_vae_score(constant, v).value == 1.0


def test_a_threshold_in_the_codes_own_units_prunes_what_is_only_narrow():
    v = factors(5000, (3,) * 5)
    z = (v + 0.05 * noise(5000, 5)) * [1, 1, 1, 1, 0.02]
    assert factor_vae_score(z, v, relative=False).value == pytest.approx(0.80, abs=0.01)
    assert factor_vae_score(z, v).value == 1.0


def test_an_outlier_sets_the_variance_that_votes_are_relative_to():
    v = factors(5000, (3,) * 5)
    z = v + 0.05 * noise(5000, 5)
    z[0, 0] = 1e6
    assert factor_vae_score(z, v, relative=False).value == pytest.approx(0.21, abs=0.02)
    assert factor_vae_score(z, v).value == 1.0


def test_nearly_every_code_has_a_high_beta_vae_score():
    v = factors(5000, (3,) * 5)
    entangled = np.tanh((v - 1) @ noise(5, 10, 3))  # one random layer
    assert beta_vae_score(entangled, v, train=2000, evaluation=1000).value == pytest.approx(0.998, abs=0.003)
    assert factor_vae_score(entangled, v).value == pytest.approx(0.92, abs=0.01)
    assert mig(entangled, v).value == pytest.approx(0.10, abs=0.01)


def test_the_penalty_of_the_beta_vae_score_sees_how_large_codes_are():
    v = factors(5000, (3,) * 5)
    z = 0.001 * mixed(v + 0.05 * noise(5000, 5))
    assert beta_vae_score(z, v, standardise=False).value == pytest.approx(0.2, abs=0.03)
    assert beta_vae_score(z, v).value > 0.9


def test_trees_that_predict_nothing_have_importances_all_the_same():
    v = factors(4000, (4, 4, 4, 4))
    z = np.hstack([v[:, :3] + 0.05 * noise(4000, 3), noise(4000, 1, 7)])  # the last factor is absent
    d, c = METRICS["dci_disentanglement"](z, v), METRICS["dci_completeness"](z, v)
    assert [d.parts["disentanglement_raw"], c.parts["completeness_raw"]] == pytest.approx([0.64, 0.73], abs=0.01)
    assert [d.value, c.value] == pytest.approx([0.985, 0.98], abs=0.01)


def test_dead_dimensions_make_an_entangled_code_look_complete():
    v = factors(2400, (2, 3))
    z = rotated(identity(v))
    dead = np.hstack([z, np.zeros((2400, 10))])
    raw = [trained(dci.dci_completeness, importance="raw")(one, v).value for one in (z, dead)]
    assert raw == pytest.approx([0.00, 0.72], abs=0.01)
    assert [METRICS["dci_completeness"](one, v).value for one in (z, dead)] == pytest.approx([0.0, 0.0], abs=0.01)


def test_a_lucky_factor_of_pure_noise_would_be_disentangled():
    z, v = noise(1200, 4, 5), factors(1200, (3, 4, 5))
    fit, test = factors_of(v[600:])[0], factors_of(v[:600])[0]
    found = dci.boost(dci.tasks_of(fit, test, z[600:], z[:600]), "lightgbm", 1)
    assert found.test - found.chance == pytest.approx([0.012, -0.005, -0.007], abs=0.01)
    assert dci.disentanglement(found.importance * dci.skill(found)) == pytest.approx(1.0, abs=0.01)
    assert METRICS["dci_disentanglement"](z, v).value == 0.0


def test_the_linear_machine_sees_how_large_codes_are():
    v = factors(4000)
    z = identity(v)
    scores = {
        name: [trained(sap, **how)(z * scale, v).value for scale in (0.01, 1, 100)]
        for name, how in (("reference", {"standardise": False, "score": "accuracy"}), ("atlas", {}))
    }
    assert scores["reference"] == pytest.approx([0.27, 0.55, 0.57], abs=0.01)
    assert scores["atlas"] == pytest.approx([0.99, 0.99, 0.99], abs=0.01)


def test_accuracy_of_a_rare_class_is_its_absence():
    v = factors(4000)
    v[:, 0] = np.random.default_rng(0).random(4000) < 0.1
    z = noise(4000, 3)
    best = [trained(sap, **how)(z, v).parts["best"]["factor 0"] for how in ({"standardise": False, "score": "accuracy"}, {})]
    assert best == pytest.approx([0.53, 0.01], abs=0.02)


def test_the_largest_deviation_of_noise_grows_with_items():
    found = {
        n: [irs(noise(n, 4), factors(n, (3, 4)), normaliser=how).value for how in ("max", "quantile")] for n in (200, 2000, 20_000)
    }
    assert [found[n][0] for n in found] == pytest.approx([0.23, 0.27, 0.38], abs=0.01)
    assert [found[n][1] for n in found] == [0, 0, 0]


def test_factors_that_were_not_crossed_are_named_beside_their_robustness():
    rng, sizes = np.random.default_rng(0), [3, 6, 40, 32]
    v = rng.integers(0, sizes, (3000, 4))
    crossed = irs(identity(v), v, factor_names=list("abcd"), factor_sizes=sizes)
    tied = rng.random(3000) < 0.6
    v[tied, 1] = 2 * v[tied, 0] + rng.integers(0, 2, tied.sum())
    found = irs(noise(3000, 4) + v, v, factor_names=list("abcd"), factor_sizes=sizes)
    assert "warning" not in crossed.parts
    # I(a; b) / H(a) of that mixture is 0.303.
    said = re.fullmatch(r"not varied independently: a with b \(they share (\d+) %\); .*", found.parts["warning"])
    assert abs(int(said[1]) - 30) <= 2
    few = rng.integers(0, sizes, (60, 4))  # chance ties 60 items in up to 40 classes
    assert "warning" not in irs(identity(few), few, factor_sizes=sizes).parts


def test_trees_see_no_more_items_than_they_are_allowed():
    v = factors(900, (3, 4))
    z = identity(v) + 0.3 * noise(900, v.shape[1])
    given = {"factor_sizes": (3, 4), "workers": 1}
    few = dci.dci_informativeness(z, v, z, v, limit=300, **given)
    assert (few.provenance["n"], few.provenance["n_train"]) == (300, 300)
    assert few.value == dci.dci_informativeness(z[:300], v[:300], z[:300], v[:300], **given).value


def test_the_largest_deviation_weighs_dimensions_by_their_scale():
    v = factors(5000, (3, 4))
    z = np.hstack([identity(v), noise(5000, 1, 1)])
    wide = z * [1, 1, 100]
    assert [irs(one, v, normaliser="max").value for one in (z, wide)] == pytest.approx([0.58, 0.34], abs=0.01)
    assert [irs(one, v).value for one in (z, wide)] == pytest.approx([0.90, 0.90], abs=0.01)


def test_a_determinant_of_32_narrow_dimensions_is_taken_for_none():
    chain = np.eye(32) + 0.9 * np.eye(32, k=1)
    covariance = chain @ chain.T
    exact = 0.5 * (np.log(np.diag(covariance)).sum() - np.linalg.slogdet(covariance)[1])
    z = noise(10_000, 32) @ chain.T
    z = 0.5 * z / z.std(0)
    assert exact == pytest.approx(9.20, abs=0.01)
    assert np.prod(z.var(0)) < 1e-10  # the product of variances below which one package answers 0
    assert total_correlation(z).value == pytest.approx(9.18, abs=0.01)


def test_few_items_of_independent_dimensions_look_correlated():
    z = noise(300, 20)
    assert total_correlation(z, dimensions="all").value == pytest.approx(0.29, abs=0.01)
    over_seeds = [total_correlation(noise(300, 20, seed)).value for seed in range(30)]
    assert np.mean(over_seeds) == pytest.approx(0.0, abs=0.02)


def test_a_dead_dimension_makes_the_determinant_0():
    z = np.hstack([noise(300, 20), np.zeros((300, 1))])
    with pytest.raises(NotApplicable, match="infinite"):
        total_correlation(z, dimensions="all")
    assert total_correlation(z).value == total_correlation(z[:, :20]).value


def test_total_correlation_of_a_gaussian_is_blind_to_a_rotated_code():
    z = factors(4000, (8, 8))
    z = rotated(z / z.std(0))
    assert total_correlation(z).value == pytest.approx(0.0, abs=0.001)
    assert dimension_information(z).value == pytest.approx(2.5, abs=0.05)


def test_more_pairs_of_bins_than_items_see_dependence():
    pairs = [noise(200, 3, seed) for seed in range(20)]
    assert np.mean([dimension_information(z, bins=10).value for z in pairs]) == pytest.approx(0.06, abs=0.01)
    assert np.mean([dimension_information(z).value for z in pairs]) == pytest.approx(0.0, abs=0.01)
