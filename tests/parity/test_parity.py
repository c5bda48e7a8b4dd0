"""What the reference packages give on fixed inputs (README.md), held by our metrics."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from toy_codes import trees_in_one_process

from latent_atlas.evaluation.own_codes import score_codes
from latent_atlas.evaluation.own_features import score_features
from latent_atlas.metrics import dci, fidelity, traversals
from latent_atlas.metrics.disentanglement import mig, modularity
from latent_atlas.metrics.frechet import frechet_distance, moments
from latent_atlas.metrics.information import histogram20
from latent_atlas.metrics.interventions import beta_vae_score, factor_vae_score, irs
from latent_atlas.metrics.separability import Pair, sap_matrix

HERE = Path(__file__).parent
EXPECTED = json.loads((HERE / "expected.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", sorted(EXPECTED["feature_cases"]))
def test_frechet_distance_lies_in_the_span_of_the_reference_packages(case):
    arrays = np.load(HERE / f"frechet_{case}.npz")
    found = frechet_distance(moments(arrays["real"]), moments(arrays["fake"]))
    slack = 1e-4 if case == "rank_deficient" else 1e-6
    for ending in ("_float64", "_from_float32_features"):  # we cast to float64 ourselves
        theirs = [value for key, value in EXPECTED["feature_cases"][case]["frechet"].items() if key.endswith(ending)]
        assert min(theirs) * (1 - slack) <= found <= max(theirs) * (1 + slack), ending


@pytest.mark.parametrize("case", sorted(EXPECTED["feature_cases"]))
def test_scores_of_features(case):
    """What ``pipelines/score.py features=... protocol=reference`` gives."""
    expected = EXPECTED["feature_cases"][case]
    found = score_features(HERE / f"frechet_{case}.npz", "reference")
    theirs = [value for key, value in expected["frechet"].items() if key.endswith("_float64")]
    slack = 1e-4 if case == "rank_deficient" else 1e-6
    assert min(theirs) * (1 - slack) <= found["fid"] <= max(theirs) * (1 + slack)
    assert found["kid"] == pytest.approx(expected["kid_all_samples"]["torch_fidelity_float64"], rel=1e-9)
    for k in (3, 5):
        for theirs in ("prdc_float64", "prdc"):
            for name, value in expected[f"{theirs}_k{k}"].items():
                assert found[f"{name}_k{k}"] == pytest.approx(value, abs=1e-12), (theirs, name, k)


@pytest.mark.parametrize("k", [3, 5])
@pytest.mark.parametrize("case", sorted(EXPECTED["feature_cases"]))
def test_precision_and_recall_of_all_rows_with_points_on_the_sphere_inside(case, k):
    """torch-fidelity's: it has <= where prdc has <."""
    arrays = np.load(HERE / f"frechet_{case}.npz")
    sides = torch.from_numpy(arrays["real"]), torch.from_numpy(arrays["fake"])
    theirs = EXPECTED["feature_cases"][case][f"torch_fidelity_prc_k{k}"]
    for score in (fidelity.precision, fidelity.recall):
        assert score(*sides, k, all_rows=True).value == pytest.approx(theirs[score.__name__], abs=1e-7), score.__name__


@pytest.mark.parametrize("case", sorted(EXPECTED["feature_cases"]))
def test_kid_of_subsets_is_about_what_other_subsets_give(case):
    arrays, theirs = np.load(HERE / f"frechet_{case}.npz"), EXPECTED["feature_cases"][case]["kid_subsets"]
    sides = torch.from_numpy(arrays["real"]), torch.from_numpy(arrays["fake"])
    found = fidelity.kid(*sides, theirs["subsets"], theirs["subset_size"]).value
    both = theirs["torch_fidelity_float64"]["kernel_inception_distance_mean"], theirs["clean_fid_float64_np_seed_0"]
    for value in both:  # two draws of theirs are up to 0.44 spreads of a subset apart
        assert found == pytest.approx(value, abs=theirs["torch_fidelity_float64"]["kernel_inception_distance_std"])


CASES = sorted(EXPECTED["representation_cases"])


def representation(case):
    arrays = np.load(HERE / f"{case}.npz")
    return {name: arrays[name] for name in arrays.files}, EXPECTED["representation_cases"][case]["disentanglement_lib"]


@pytest.mark.parametrize("case", CASES)
def test_mig_of_the_reference_protocol(case):
    arrays, expected = representation(case)
    found = mig(arrays["mus_train"], arrays["factors_train"], estimator="histogram20")
    assert found.value == pytest.approx(expected["fixed"]["mig"]["discrete_mig"], abs=1e-5)
    matrix = histogram20(arrays["mus_train"], arrays["factors_train"], 20)
    np.testing.assert_allclose(matrix.mutual, expected["fixed"]["details"]["mutual_information"], atol=1e-5)
    np.testing.assert_allclose(matrix.entropy, expected["fixed"]["details"]["factor_entropy"], atol=1e-5)


@pytest.fixture(scope="module")
def scores_of_codes():
    with trees_in_one_process():
        return {case: score_codes(HERE / f"{case}.npz", "reference", estimator="lightgbm") for case in CASES}


@pytest.mark.parametrize("case", CASES)
def test_scores_of_the_fixed_sample(case, scores_of_codes):
    """What ``pipelines/score.py codes=... protocol=reference`` gives, but for its slow trees."""
    fixed, disent = representation(case)[1]["fixed"], EXPECTED["representation_cases"][case]["disent"]["fixed"]
    found = scores_of_codes[case]
    for name, theirs, slack in (
        ("mig", fixed["mig"]["discrete_mig"], 1e-5),
        ("sap", fixed["sap"]["SAP_score"], 2e-3),
        ("sap_continuous", fixed["sap_continuous"]["SAP_score"], 2e-3),
        ("irs", fixed["irs"]["IRS"], 1e-5),
        ("wasserstein_correlation", fixed["unsupervised"]["gaussian_wasserstein_correlation"], 1e-5),
        ("wasserstein_correlation_normalised", fixed["unsupervised"]["gaussian_wasserstein_correlation_norm"], 1e-5),
        ("dimension_information", fixed["unsupervised"]["mutual_info_score"], 1e-5),
        ("total_correlation", varying(fixed, "unsupervised")["gaussian_total_correlation"], 1e-5),
        ("modularity", varying(fixed, "modularity_explicitness")["modularity_score"], 1e-5),
        ("explicitness_train", varying(fixed, "modularity_explicitness")["explicitness_score_train"], 2e-3),
        ("explicitness_test", varying(fixed, "modularity_explicitness")["explicitness_score_test"], 2e-3),
        ("dci_disentanglement", fixed["dci"]["disentanglement"], 0.03),
        ("dci_completeness", fixed["dci"]["completeness"], 0.03),
        ("dci_informativeness_train", fixed["dci"]["informativeness_train"], 0.03),
        ("dci_informativeness_test", fixed["dci"]["informativeness_test"], 0.03),
        ("mig", disent["mig"]["mig.discrete_score"], 1e-5),
        ("sap", disent["sap"]["sap.score"], 2e-3),
        ("dimension_information", disent["unsupervised"]["unsup.mi_score"], 1e-5),
        ("wasserstein_correlation", disent["unsupervised"]["unsup.gauss_wasser_corr"], 1e-5),
        ("wasserstein_correlation_normalised", disent["unsupervised"]["unsup.gauss_wasser_corr_norm"], 1e-5),
        ("total_correlation", no_nan(disent["unsupervised"]["unsup.gauss_total_corr"], found), 1e-5),
        ("dci_disentanglement", disent["dci"]["dci.disentanglement"], 0.03),
        ("dci_completeness", disent["dci"]["dci.completeness"], 0.03),
        ("dci_informativeness_train", disent["dci"]["dci.informativeness_train"], 0.03),
        ("dci_informativeness_test", disent["dci"]["dci.informativeness_test"], 0.03),
    ):
        assert found[name] == pytest.approx(theirs, abs=slack), name


@pytest.mark.parametrize("case", CASES)
def test_all_dimensions_count_in_the_published_modularity(case):
    arrays, expected = representation(case)
    found = modularity(arrays["mus_train"], arrays["factors_train"], estimator="histogram20", dimensions="all")
    assert found.value == pytest.approx(expected["fixed"]["modularity_all_dims"], abs=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_sap_of_each_dimension_and_factor(case):
    arrays, expected = representation(case)
    data = Pair(
        arrays["mus_test"], arrays["factors_test"], arrays["mus_train"], arrays["factors_train"], None, None, standardise=False
    )
    np.testing.assert_allclose(sap_matrix(data, "accuracy"), expected["fixed"]["details"]["sap_score_matrix"], atol=2e-3)


@pytest.mark.parametrize("case", CASES)
def test_scores_of_drawn_votes_lie_within_the_spread_of_the_reference(case):
    arrays, expected = representation(case)
    sizes = arrays["factor_sizes"].tolist()
    published = ((beta_vae_score, "beta_vae", {"standardise": False}), (factor_vae_score, "factor_vae", {"relative": False}))
    for score, key, as_is in published:
        found = score(arrays["mus_train"], arrays["factors_train"], factor_sizes=sizes, grid=arrays["grid_mus"], refits=3, **as_is)
        assert found.value == spread(expected["sampled"][key]["eval_accuracy"]), key
        assert found.parts["train"] == spread(expected["sampled"][key]["train_accuracy"]), key


@pytest.mark.parametrize("case", CASES)
def test_votes_of_all_dimensions_as_disent_takes_them(case):
    """Its threshold is 0, so an exactly constant dimension, 0 / 0, wins every vote: about 1 / K."""
    arrays, _ = representation(case)
    theirs = EXPECTED["representation_cases"][case]["disent"]["sampled"]["factor_vae"]
    given = {"factor_sizes": arrays["factor_sizes"].tolist(), "grid": arrays["grid_mus"]}
    found = factor_vae_score(arrays["mus_train"], arrays["factors_train"], **given, relative=False, threshold=0.0)
    assert found.value == spread(theirs["factor_vae.eval_accuracy"])
    assert found.parts["train"] == spread(theirs["factor_vae.train_accuracy"])


@pytest.mark.parametrize("case", CASES)
def test_scores_of_a_drawn_sample_lie_within_the_spread_of_the_reference(case):
    arrays, expected = representation(case)
    sizes, found = arrays["factor_sizes"], []
    for seed in range(3):
        rng = np.random.RandomState(seed)
        v = np.stack([rng.randint(size, size=10_000) for size in sizes], 1)
        z = arrays["grid_mus"][np.ravel_multi_index(tuple(v.T), tuple(sizes))]
        found.append((mig(z, v, estimator="histogram20").value, irs(z, v, normaliser="max").value))
    for k, (key, name) in enumerate((("mig", "discrete_mig"), ("irs", "IRS"))):
        assert np.mean(found, axis=0)[k] == spread(expected["sampled"][key][name]), key


@pytest.mark.parametrize("case", CASES)
def test_paths_through_the_grid_as_disent_measures_them(case):
    arrays, _ = representation(case)
    theirs = EXPECTED["representation_cases"][case]["disent"]["sampled"]
    straight = traversals.flatness(arrays["grid_mus"], arrays["factor_sizes"].tolist())
    assert straight.value == spread(theirs["flatness"]["flatness.ave_flatness"])
    for norm in ("l1", "l2"):
        assert straight.parts[norm] == spread(theirs["flatness"][f"flatness.ave_flatness_{norm}"])
        for part in ("width", "length"):
            assert straight.parts[f"{part}_{norm}"] == spread(theirs["flatness"][f"flatness.ave_{part}_{norm}"]), (part, norm)
    along = traversals.axis_ratio(arrays["grid_mus"], arrays["factor_sizes"].tolist())
    assert along.value == spread(theirs["linearity"]["linearity.axis_ratio.var"])
    for part, name in (("of_means", "axis_ratio_ave"), ("linear_ratio", "linear_ratio"), ("alignment", "axis_alignment")):
        assert along.parts[part] == spread(theirs["linearity"][f"linearity.{name}.var"]), part


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_dci_by_the_exact_trees(case):
    arrays, expected = representation(case)
    theirs = expected["fixed"]["dci"]
    given = {name: arrays[key] for name, key in NAMES.items()}
    found = dci.dci_disentanglement(**given, estimator="sklearn", importance="raw")
    assert found.value == pytest.approx(theirs["disentanglement"], abs=1e-4)
    assert dci.dci_completeness(**given, estimator="sklearn", importance="raw").value == pytest.approx(
        theirs["completeness"], abs=1e-4
    )
    informative = dci.dci_informativeness(**given, estimator="sklearn", over_chance=False)
    assert informative.value == pytest.approx(theirs["informativeness_test"], abs=1e-4)
    assert informative.parts["informativeness_train"] == pytest.approx(theirs["informativeness_train"], abs=1e-4)
    # No tolerance is stated for single importances: with another random state ties are split otherwise, by up to 2.4e-4.
    np.testing.assert_allclose(found.parts["importance"], expected["fixed"]["details"]["dci_importance"], atol=5e-4)
    disent = EXPECTED["representation_cases"][case]["disent"]["fixed"]["dci"]
    assert found.value == pytest.approx(disent["dci.disentanglement"], abs=1e-4)


NAMES = {"codes": "mus_test", "factors": "factors_test", "codes_train": "mus_train", "factors_train": "factors_train"}


def varying(fixed, key):
    """Where a dimension is exactly constant the reference raises or gives NaN; then its own value without that dimension."""
    return fixed.get(f"{key}_active_dims", fixed[key])


def spread(theirs):
    """What seeds of a sampled score allow: mean ± max(3 standard deviations, 0.01)."""
    return pytest.approx(theirs["mean"], abs=max(3 * theirs["std"], 0.01))


def no_nan(theirs, found):
    """disent gives NaN where a dimension is exactly constant; there nothing is compared."""
    return found["total_correlation"] if np.isnan(float(theirs)) else theirs
