"""``building.instantiate`` against ``hydra.utils.instantiate``."""

import functools
import re
from pathlib import Path

import hydra
import pytest
import torch
from omegaconf import OmegaConf

from latent_atlas.building import BuildError, instantiate, locate
from latent_atlas.data.spec import DataSpec, Field

ROOT = Path(__file__).resolve().parents[1]
FIELDS = {"x": Field("image", (1, 16, 16), size=2), "labels": Field("class", (), "int64", 3)}
SPEC = DataSpec("drawn", "x", FIELDS, {"train": 64, "val": 0, "test": 0})
MODELS = sorted(path.stem for path in (ROOT / "conf/model").glob("*.yaml"))


def hydra_builds(conf, **extra):
    """Hydra would turn the arguments of its call into configuration, which a DataSpec cannot be: so by way of a partial."""
    return hydra.utils.instantiate({**conf, "_partial_": True})(**extra)


@pytest.mark.parametrize("name", MODELS)
def test_the_same_model_as_hydra_builds(name):
    with hydra.initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        conf = hydra.compose(f"model/{name}")["model"]
    extra = {"spec": SPEC}
    if conf["requires"]["first_stage"]:
        torch.manual_seed(1)
        with hydra.initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
            extra["first_stage"] = hydra_builds(hydra.compose("model/ae")["model"]["net"], spec=SPEC)
    torch.manual_seed(0)
    theirs = hydra_builds(conf["net"], **extra)
    torch.manual_seed(0)
    ours = instantiate(OmegaConf.to_container(conf["net"], resolve=True), **extra)
    assert type(ours) is type(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True))
    # What is no tensor (β, the optimizer's arguments) is the same too, memory addresses and the name of Hydra's partial aside.
    plain = [
        re.sub(r" at 0x[0-9a-f]+", "", str(vars(model))).replace("_DeferredTarget", "functools.partial") for model in (ours, theirs)
    ]
    assert plain[0] == plain[1]


def test_partial_nesting_and_lists():
    inner = [1, {"_target_": "builtins.dict", "b": 2}]
    found = instantiate({"_target_": "builtins.dict", "_partial_": True, "a": inner, "c": {"d": inner}})
    assert isinstance(found, functools.partial)
    assert found() == {"a": [1, {"b": 2}], "c": {"d": [1, {"b": 2}]}}


def test_extra_arguments_go_to_the_outermost_target_and_win():
    assert instantiate({"_target_": "builtins.dict", "a": 1, "inner": {"_target_": "builtins.dict"}}, a=2) == {"a": 2, "inner": {}}


@pytest.mark.parametrize(
    ("path", "complaint"),
    [
        ("latent_atlas.models.nothing.Model", "no attribute 'nothing'"),
        ("latent_atlas.models.vae.Nothing", "no attribute 'Nothing'"),
        ("no_such_package.Thing", "no such module"),
    ],
)
def test_a_target_that_is_not_there_is_named(path, complaint):
    with pytest.raises(BuildError, match=re.escape(path)) as caught:
        locate(path)
    assert complaint in str(caught.value)


def test_a_missing_dependency_inside_a_module_is_not_hidden(tmp_path, monkeypatch):
    (tmp_path / "needs_more.py").write_text("import no_such_dependency\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_dependency"):
        locate("needs_more.Thing")


def test_an_argument_that_the_target_does_not_take_names_the_target():
    with pytest.raises(BuildError, match=r"latent_atlas\.spaces\.euclidean\.Euclidean.*curvature"):
        instantiate({"_target_": "latent_atlas.spaces.euclidean.Euclidean", "curvature": 1})


def test_an_error_inside_the_target_keeps_its_type():
    with pytest.raises(TypeError) as caught:
        instantiate({"_target_": "latent_atlas.spaces.euclidean.Euclidean", "shape": None})
    assert not isinstance(caught.value, BuildError)
