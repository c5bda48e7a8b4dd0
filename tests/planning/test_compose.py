from pathlib import Path

import pytest

from latent_atlas.planning.compose import Composer, PlanError, sections

ROOT = Path(__file__).resolve().parents[2]


def cut(*overrides):
    with Composer(ROOT) as composer:
        return sections(ROOT, composer.compose(list(overrides)))


def test_a_model_of_pairs_is_refused_on_data_without_them():
    with pytest.raises(PlanError, match="ada_gvae needs the fields pair, which data digits does not provide"):
        cut("data=digits", "model=ada_gvae")


def test_only_a_model_of_pairs_is_trained_on_them():
    assert cut("data=dsprites", "model=ada_gvae", "data.pairs.differing=2")["train"]["pairs"] == {"differing": 2}
    assert "pairs" not in cut("data=dsprites", "model=vae")["train"]
