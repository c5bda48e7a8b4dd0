from pathlib import Path

import pytest

from latent_atlas.planning.compose import Composer, PlanError, plain, sections
from latent_atlas.planning.plan import read_pipeline

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


def test_a_composition_is_hydras_without_hydras_own_node():
    import hydra

    entries = read_pipeline(ROOT)["runs"]
    with Composer(ROOT) as composer:
        for run in ("digits-ae", "dsprites-beta_tc_vae", "dsprites-ada_gvae", "ring-spherical_vae", "digits-flow"):
            entry = entries[run]
            asked = [f"data={entry['data']}", f"model={entry['model']}", f"run={run}", *entry["overrides"], "budget=standard"]
            assert composer.compose(asked) == plain(ROOT, hydra.compose("config", asked))


@pytest.mark.parametrize(
    ("override", "said"),
    [("model.net.betta=2", "betta"), ("model=nothing", "nothing"), ("seed=1,2", "seed=1,2"), ("no_such_group=x", "no_such_group")],
)
def test_what_hydra_refuses_is_refused(override, said):
    with Composer(ROOT) as composer, pytest.raises(Exception, match=said):
        composer.compose([override])
