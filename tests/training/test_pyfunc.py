"""The model that MLflow serves: in a process that knows nothing of this checkout."""

import subprocess
import sys

import numpy as np
import pytest
from stage import Stage

from latent_atlas.training.fit import train

FOREIGN = """
import importlib.util, pathlib, sys
sys.path = [entry for entry in sys.path if not (pathlib.Path(entry or ".") / "latent_atlas").exists()]
sys.meta_path = [finder for finder in sys.meta_path if "editable" not in repr(finder).lower()]
assert importlib.util.find_spec("latent_atlas") is None
import mlflow, numpy as np
model = mlflow.pyfunc.load_model(sys.argv[1])
x = np.load(sys.argv[2])
out = {}
for n in (1, 3, 64):
    for verb in ("encode", "reconstruct"):
        out[f"{verb}{n}"] = model.predict(x[:n], params={"verb": verb})
    out[f"decode{n}"] = model.predict(out[f"encode{n}"], params={"verb": "decode"})
    out[f"sample{n}"] = model.predict(x[:1], params={"verb": "sample", "n": n, "seed": 5})
out["again"] = model.predict(x[:1], params={"verb": "sample", "n": 3, "seed": 5})
out["other"] = model.predict(x[:1], params={"verb": "sample", "n": 3, "seed": 6})
np.savez(sys.argv[3], **out)
import latent_atlas
print(latent_atlas.__file__)
"""


@pytest.mark.slow
def test_it_answers_in_a_foreign_process(tmp_path):
    from latent_atlas.training import pyfunc

    stage = Stage(tmp_path, "small_vae", steps=5)
    train(stage.section, stage.data, stage.out, tracking={"enabled": False})
    pyfunc.save(stage.out, tmp_path / "served")
    x = np.load(stage.data / "image.npy")[:64].astype(np.float32) / 255
    np.save(tmp_path / "x.npy", x)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    words = [sys.executable, "-c", FOREIGN, str(tmp_path / "served"), str(tmp_path / "x.npy"), str(tmp_path / "out.npz")]
    done = subprocess.run(words, cwd=elsewhere, env=stage.env(PYTHONPATH=""), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert str(tmp_path / "served") in done.stdout
    out = np.load(tmp_path / "out.npz")
    for n in (1, 3, 64):
        assert out[f"encode{n}"].shape == (n, 3)
        assert out[f"encode{n}"].dtype == np.float32
        for verb in ("decode", "reconstruct", "sample"):
            assert out[f"{verb}{n}"].shape == (n, *x.shape[1:])
            assert out[f"{verb}{n}"].dtype == np.float32
    assert np.allclose(out["decode64"], out["reconstruct64"], atol=1e-6)
    assert np.allclose(out["encode3"], out["encode64"][:3], atol=1e-5)
    assert np.array_equal(out["again"], out["sample3"])
    assert not np.array_equal(out["again"], out["other"])


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    from latent_atlas.loading import load_folder
    from latent_atlas.training import pyfunc

    def of(model):
        stage = Stage(tmp_path_factory.mktemp(model), model, steps=2)
        train(stage.section, stage.data, stage.out, tracking={"enabled": False})
        made = pyfunc.Predictor()
        made.model = load_folder(stage.out)
        return made

    return of


def test_a_verb_that_is_missing_is_named_with_those_that_are_there(predictor):
    from latent_atlas.training.pyfunc import PredictError

    game = predictor("two_players")
    with pytest.raises(PredictError, match=r"TwoPlayers cannot 'encode'; it can: decode, sample"):
        game.answer(np.zeros((1, 8, 8, 1)), {"verb": "encode"})
    assert game.answer(None, {"verb": "sample", "n": 2}).shape == (2, 8, 8, 1)


@pytest.mark.parametrize(
    ("array", "verb", "says"),
    [
        (np.zeros((2, 1, 8, 8)), "encode", r"image of shape \(N, 8, 8, 1\); this array is \(2, 1, 8, 8\)"),
        (np.zeros((2, 4)), "decode", r"codes of shape \(N, 3\); this array is \(2, 4\)"),
        (np.zeros((0, 8, 8, 1)), "encode", "the array is empty"),
    ],
)
def test_an_array_of_another_shape_is_refused(predictor, array, verb, says):
    from latent_atlas.training.pyfunc import PredictError

    with pytest.raises(PredictError, match=says):
        predictor("small_vae").answer(array, {"verb": verb})
