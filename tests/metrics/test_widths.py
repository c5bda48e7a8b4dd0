from types import SimpleNamespace

import numpy as np
import pytest
import torch

from latent_atlas.metrics.result import NotApplicable
from latent_atlas.metrics.widths import error_by_width, shown_widths

D = 20
AXES = torch.from_numpy(np.linalg.qr(np.random.default_rng(0).normal(size=(D, D)))[0])
SPREAD = torch.tensor([3.0, 2.0, 1.0] + [0.0] * (D - 3), dtype=torch.float64)


def items(n, seed):
    """Data of three directions with variances 9, 4 and 1."""
    scores = torch.from_numpy(np.random.default_rng(seed).normal(size=(n, D))) * SPREAD
    return scores @ AXES.T, scores


def linear(z):
    return z @ AXES[:, : z.shape[1]].T


def test_principal_components_as_codes_follow_pcas_own_curve():
    x, scores = items(600, 0)
    train, _ = items(3000, 1)
    found = error_by_width(x, scores[:, [2, 0, 1]], lambda z: linear(z[:, [1, 2, 0]]), train, limit=600)
    parts = found.parts
    assert parts["order"] == [1, 2, 0]
    assert parts["widths"] == [0, 1, 2, 3]
    assert parts["errors"] == pytest.approx([v / D for v in (14, 5, 1, 0)], abs=0.05)
    assert parts["pca_errors"][:4] == pytest.approx(parts["errors"], abs=0.02)
    assert found.value == 3  # without the third, 1 of 14 of the error is left
    assert error_by_width(x, scores[:, :3], linear, train, tolerance=0.1, limit=600).value == 2
    assert parts["data"] == 3
    assert error_by_width(x, scores[:, :3], linear, train, limit=600, resamples=20).interval == (3.0, 3.0)
    assert found.ceiling == 3


def test_dead_dimensions_are_not_needed_and_kl_ranks_before_variance():
    x, scores = items(300, 0)
    codes = torch.hstack([10 * torch.randn(300, 2, dtype=torch.float64), scores[:, :3]])
    kl = SimpleNamespace(kl=None, kl_per_dimension=torch.tensor([0.0, 0.001, 3.0, 2.0, 1.0]))
    ranked = error_by_width(x, codes, lambda z: linear(z[:, 2:]), x, kl)
    assert ranked.value == 3
    assert ranked.provenance["ranked_by"] == "KL"
    assert error_by_width(x, codes, lambda z: linear(z[:, 2:]), x).value == 5


def test_how_many_principal_components_reach_the_models_error():
    x, scores = items(400, 0)
    found = error_by_width(x, scores[:, :2], linear, x)
    assert found.parts["pca_same_error"] == 2
    squeezed = error_by_width(x, scores[:, :1] * 1.0, lambda z: linear(z) * 0.9, x)
    assert squeezed.parts["pca_same_error"] == 1


def test_a_decoder_that_ignores_its_code_needs_no_dimension_count():
    x, scores = items(200, 0)
    with pytest.raises(NotApplicable, match="no less error"):
        error_by_width(x, scores[:, :3], lambda z: torch.zeros(len(z), D), x)


def test_widths_shown_grow_and_end_with_all():
    assert shown_widths(4) == [0, 1, 2, 3, 4]
    assert shown_widths(128)[0] == 0
    assert shown_widths(128)[-1] == 128
    assert len(shown_widths(512)) <= 11
