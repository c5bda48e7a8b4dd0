"""What the reference packages give on fixed inputs (README.md), held by our metrics."""

import json
from pathlib import Path

import numpy as np
import pytest

from latent_atlas.metrics.disentanglement import histogram20, mig
from latent_atlas.metrics.frechet import frechet_distance, moments

HERE = Path(__file__).parent
EXPECTED = json.loads((HERE / "expected.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", sorted(EXPECTED["feature_cases"]))
def test_frechet_distance_lies_in_the_span_of_the_reference_packages(case):
    arrays = np.load(HERE / f"frechet_{case}.npz")
    found = frechet_distance(moments(arrays["real"]), moments(arrays["fake"]))
    theirs = [value for key, value in EXPECTED["feature_cases"][case]["frechet"].items() if key.endswith("_float64")]
    slack = 1e-4 if case == "rank_deficient" else 1e-6
    assert min(theirs) * (1 - slack) <= found <= max(theirs) * (1 + slack)


@pytest.mark.parametrize("case", sorted(EXPECTED["representation_cases"]))
def test_mig_of_the_reference_protocol(case):
    arrays = np.load(HERE / f"{case}.npz")
    expected = EXPECTED["representation_cases"][case]["disentanglement_lib"]["fixed"]
    found = mig(arrays["mus_train"], arrays["factors_train"], estimator="histogram20")
    assert found.value == pytest.approx(expected["mig"]["discrete_mig"], abs=1e-5)
    matrix = histogram20(arrays["mus_train"], arrays["factors_train"], 20)
    np.testing.assert_allclose(matrix.mutual, expected["details"]["mutual_information"], atol=1e-5)
    np.testing.assert_allclose(matrix.entropy, expected["details"]["factor_entropy"], atol=1e-5)
