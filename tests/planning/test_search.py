"""The search over several objectives, with Hydra's own launcher and a task whose front is known."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import hydra
import pytest
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from latent_atlas.planning.compose import Composer, sections
from latent_atlas.planning.search import ParetoSweeper, SearchError, _score

ROOT = Path(__file__).resolve().parents[2]
EXPERIMENTS = sorted(path.stem for path in (ROOT / "conf/experiment").glob("*.yaml"))
APP = textwrap.dedent(
    """
    import sys
    import hydra

    @hydra.main(version_base="1.3", config_path=".", config_name="config")
    def main(cfg):
        if cfg.x > 0.9:
            raise RuntimeError("too far")
        # Every x with k == 0 is on the front; k only harms.
        return {"a": cfg.x + cfg.k, "b_data": (1 - cfg.x) + cfg.k}

    main()
    """
)
CONFIG = """\
defaults: [_self_, {override hydra/sweeper: pareto}]
x: 0.5
k: 0
hydra: {run: {dir: .}, output_subdir: null, sweep: {dir: out, subdir: "${hydra.job.num}"}, job_logging: {root: {level: CRITICAL}}}
"""


@pytest.fixture
def app(tmp_path):
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "config.yaml").write_text(CONFIG)
    sweeper = tmp_path / "hydra/sweeper/pareto.yaml"
    sweeper.parent.mkdir(parents=True)
    sweeper.write_text(
        "_target_: hydra_plugins.latent_atlas_search.ParetoSweeper\nobjectives: {a: minimize, 'b*': minimize}\n"
        "params: {x: 'interval(0, 1)', k: 'choice(0, 1)'}\ntrials: 9\nat_once: 2\nseed: 0\n"
    )

    def run(*words):
        done = subprocess.run([sys.executable, "app.py", "-m", *words], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return json.loads((tmp_path / "out/pareto.json").read_text())

    return run


def test_the_front_is_found_and_a_second_call_adds_nothing(app):
    rows = app()
    assert len(rows) <= 9
    assert {row["params"]["k"] for row in rows if row["on_front"]} == {0}
    # The front of the rows that ran, computed independently.
    for row in rows:
        beaten = any(
            other["values"]["a"] <= row["values"]["a"]
            and other["values"]["b*"] <= row["values"]["b*"]
            and other["values"] != row["values"]
            for other in rows
        )
        assert row["on_front"] == (not beaten)
    assert app() == rows


def test_the_command_line_wins(app):
    assert {row["params"].get("k", "fixed") for row in app("k=0", "hydra.sweeper.trials=3")} == {"fixed"}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_composes_into_runs(name):
    """Each file of conf/experiment, with Hydra's own part: it names a sweep, and every model of it can be planned."""
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = hydra.compose("config", [f"+experiment={name}"], return_hydra_config=True)
    swept = config.hydra.sweeper.params
    assert swept
    for model in swept.get("model", config.model.name).split(","):
        with Composer(ROOT) as composer:
            found = composer.compose([f"+experiment={name}", f"model={model}"])
        assert sections(ROOT, found)["train"]["trainer"]["steps"] > 0
        for key in (key for key in swept if key.startswith("model.")):
            assert OmegaConf.select(OmegaConf.create(found), key) is not None, f"{name}: {model} has no {key}"


def test_errors_name_the_option():
    with pytest.raises(SearchError, match="objectives"):
        ParetoSweeper({"mse": "less"}, {}, 1, 1, 0)
    assert _score({"fid_domain_n5": 2.0}, "fid_*") == 2.0
    assert _score({"mse": 1.0}, "mig") is None
