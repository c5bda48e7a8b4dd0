"""The stage ``features`` and what it writes."""

import hashlib
import importlib.util
import json
import sys
import types

import numpy as np
import pytest
import torch
from drawn import write_data

from latent_atlas.building import instantiate
from latent_atlas.data.datamodule import DataModule
from latent_atlas.data.spec import Field
from latent_atlas.evaluation.extractors import FeatureError, as_input, load_features, stem
from latent_atlas.evaluation.features import (
    augment,
    batches,
    contrast,
    make_features,
    other_real_rows,
    train_extractor,
    weights_hash,
)
from latent_atlas.metrics.frechet import frechet

QUICK = {"name": "domain", "dimensions": 16, "steps": 60, "batch_size": 32, "seed": 0, "threads": 1}


def made(tmp, extractor=QUICK, **drawn):
    data = write_data(tmp, **drawn)
    card = make_features({"name": data.name, "extractor": extractor}, data, tmp / "features")
    return data, tmp / "features", card


def test_the_same_seed_gives_the_same_bytes_and_the_name_holds_the_hash(tmp_path):
    data, out, card = made(tmp_path, kind="image", n=200, labels=True)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    again = make_features({"name": data.name, "extractor": QUICK}, data, out)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert set(before) == {"extractor.pt", "extractor.json", "head.pt", "statistics.npz"}
    assert card == again
    assert card["name"] == f"domain_{card['hash'][:8]}"
    assert card["hash"] == weights_hash(load_features(out, DataModule(data).spec.x).net)
    other = make_features({"name": data.name, "extractor": QUICK | {"seed": 1}}, data, tmp_path / "other")
    assert other["name"] != card["name"]


@pytest.mark.parametrize("kind", ["binary", "vector", "tokens", "counts"])
@pytest.mark.parametrize(("fields", "trained_on"), [({"labels": True}, "labels"), ({"factors": True}, "factors"), ({}, "self")])
def test_every_kind_of_data_gets_features_from_what_it_has(tmp_path, kind, fields, trained_on):
    data, out, card = made(tmp_path, kind=kind, n=200, **fields)
    assert card["trained_on"] == trained_on
    assert card["dimensions"] == 16 <= card["n"] // 2
    arrays = np.load(out / "statistics.npz")
    assert arrays["real"].shape == (40, 16)
    np.testing.assert_allclose(arrays["cov"], np.cov(arrays["real"].astype(np.float64), rowvar=False), atol=1e-10)
    if trained_on != "self":
        assert card["accuracy"] > 0.45  # chance is 0.25
    module = DataModule(data)
    found = load_features(out, module.spec.x)
    again = found.extract(module.take(arrays["index"])[module.spec.observation])
    np.testing.assert_allclose(again.numpy(), arrays["real"], atol=1e-6)


def test_features_without_labels_tell_kinds_of_items_apart(tmp_path):
    data, out, _ = made(tmp_path, QUICK | {"dimensions": 4}, kind="image", n=400, factors=False)
    module = DataModule(data)
    found = load_features(out, module.spec.x)
    real, noise = found.real, found.extract(torch.rand(80, *module.spec.x.shape, generator=torch.Generator().manual_seed(0)))
    assert frechet(real, noise) > 5 * frechet(real[::2], real[1::2])


def test_features_never_outnumber_half_of_the_reference(tmp_path):
    _, _, card = made(tmp_path, kind="vector", n=60, labels=True)
    assert (card["n"], card["dimensions"]) == (12, 6)


def test_real_against_other_real_items_is_recorded_where_there_are_enough(tmp_path):
    _, _, card = made(tmp_path, kind="vector", n=200, labels=True)
    assert card["real_vs_real"]["split"] == "train"  # 20 validation items are fewer than 40
    assert 0 < card["real_vs_real"]["fid"] < 100
    other = other_real_rows(DataModule(tmp_path / "drawn-vector"), 40, "test")[1]
    assert len(set(other)) == 40
    assert set(other) <= set(DataModule(tmp_path / "drawn-vector").rows("train"))
    _, _, tiny = made(tmp_path / "tiny", kind="vector", n=3)
    assert tiny["real_vs_real"]["fid"] is None


def test_batches_cover_the_given_items_once_a_pass_and_nothing_else(tmp_path):
    module = DataModule(write_data(tmp_path, kind="vector", n=60))
    items = module.rows("train")[:20]
    drawn = [batch["index"] for batch in batches(module, items, steps=4, seed=0, batch_size=10)]
    assert sorted(torch.cat(drawn[:2]).tolist()) == sorted(torch.cat(drawn[2:]).tolist()) == items.tolist()
    assert not torch.equal(drawn[0], drawn[2])


def test_a_continuous_factor_is_learned_too(tmp_path):
    data = write_data(tmp_path, kind="vector", n=400, factors=True)
    card = json.loads((data / "card.json").read_text())
    card["spec"]["fields"]["factors"] |= {"size": [0, 4], "dtype": "float32"}
    (data / "card.json").write_text(json.dumps(card))
    module = DataModule(data)
    _, found, _ = train_extractor(module, module.rows("train"), 8, QUICK | {"steps": 200})
    assert found["heads"]["a"] > 0.8  # R²


def test_training_leaves_the_global_generator_and_threads_alone(tmp_path):
    torch.manual_seed(3)
    expected, threads = torch.rand(2), torch.get_num_threads()
    torch.manual_seed(3)
    made(tmp_path, QUICK | {"threads": 2, "steps": 1}, kind="vector", n=60)
    assert torch.equal(torch.rand(2), expected)
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 5, 9), (3, 28, 28), (1, 64, 40), (5, 33, 33)])
def test_images_of_any_size_have_features(shape):
    net = stem(Field("image", shape, size=256), 7).eval()
    assert net(torch.rand(2, *shape)).shape == (2, 7)


def test_tokens_and_their_probabilities_take_one_form():
    field = Field("tokens", (3,), "int64", 5)
    tokens = torch.tensor([[0, 4, 2], [1, 1, 3]])
    probabilities = 0.5 * torch.nn.functional.one_hot(tokens, 5) + 0.1
    assert torch.equal(as_input(field, tokens), as_input(field, probabilities))
    assert as_input(field, tokens).shape == (2, 3, 5)


def test_contrast_is_low_for_equal_views_of_distinct_items_and_high_for_mixed_up_ones():
    views = torch.eye(6)
    assert contrast(views, views) < 0.1
    assert contrast(views, views.roll(1, 0)) > 4


def test_augmented_images_keep_their_shape_and_change():
    x = torch.rand(4, 1, 16, 16)
    found = augment(Field("image", (1, 16, 16)), x, torch.Generator().manual_seed(0))
    assert found.shape == x.shape
    assert not torch.equal(found, x)


def test_features_of_other_data_are_refused(tmp_path):
    _, out, _ = made(tmp_path, kind="vector", n=60)
    with pytest.raises(FeatureError, match=r"items of shape \[6\], the data has \[7\]"):
        load_features(out, Field("vector", (7,)))


@pytest.mark.skipif(importlib.util.find_spec("torch_fidelity") is not None, reason="torch-fidelity is installed")
def test_inception_without_its_package_names_the_way_out(tmp_path):
    with pytest.raises(FeatureError, match=r"needs torch-fidelity .* or choose domain"):
        made(tmp_path, {"name": "inception", "weights": "w.pth"}, kind="image", n=60)


def test_any_module_with_weights_of_a_file_is_an_extractor(tmp_path):
    net = {"_target_": "torch.nn.Conv2d", "in_channels": 1, "out_channels": 2, "kernel_size": 12, "stride": 4}
    torch.manual_seed(5)
    weights = instantiate(net)
    torch.save(weights.state_dict(), tmp_path / "own.pt")
    data, out, card = made(tmp_path, {"name": "module", "net": net, "weights": str(tmp_path / "own.pt")}, kind="image", n=300)
    assert card["dimensions"] == 8  # two channels of 2 x 2 places of a 16 px image
    assert card["name"].startswith("module_")
    (tmp_path / "own.pt").unlink()  # what evaluation reads lies in features/
    module = DataModule(data)
    x = module.take(np.arange(3))["image"]
    with torch.no_grad():
        assert torch.equal(load_features(out, module.spec.x).extract(x), weights(x).flatten(1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"net": {"_target_": "torch.nn.NoSuchLayer"}}, "cannot be built"),
        ({"net": {"_target_": "builtins.dict"}}, "dict and no torch.nn.Module"),
        ({"weights": "nowhere.pt"}, "no weights at nowhere.pt"),
        ({"net": {"_target_": "torch.nn.Linear", "in_features": 3, "out_features": 2}}, r"shape \(1, 16, 16\)"),
    ],
)
def test_a_module_that_does_not_serve_is_named(tmp_path, change, message):
    settings = {"name": "module", "net": {"_target_": "torch.nn.Flatten"}, "weights": None} | change
    with pytest.raises(FeatureError, match=message):
        made(tmp_path, settings, kind="image", n=60)
    assert not (tmp_path / "features").exists() or not list((tmp_path / "features").rglob("extractor.json"))


class MadeUp(torch.nn.Module):
    """In the place of torch-fidelity's Inception: it looks at the means of colours."""

    def __init__(self, name, features, feature_extractor_weights_path):
        super().__init__()

    def forward(self, pixels):
        assert pixels.dtype == torch.uint8
        assert pixels.shape[1] == 3
        return (pixels.double().mean((2, 3)),)


def test_inception_is_named_so_only_with_the_published_weights(tmp_path, monkeypatch, capsys):
    package = types.ModuleType("torch_fidelity.feature_extractor_inceptionv3")
    package.FeatureExtractorInceptionV3 = MadeUp
    monkeypatch.setitem(sys.modules, "torch_fidelity", types.ModuleType("torch_fidelity"))
    monkeypatch.setitem(sys.modules, package.__name__, package)
    file = tmp_path / "w.pth"
    file.write_bytes(b"weights of somebody")
    settings, digest = {"name": "inception", "weights": str(file)}, hashlib.sha256(file.read_bytes()).hexdigest()
    _, out, card = made(tmp_path, settings, kind="image", n=60)
    assert (card["name"], card["hash"]) == (f"inception_{digest[:8]}", digest)
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1
    assert "not the published Inception" in said[0]
    assert digest[:8] in said[0]
    field = Field("image", tuple(card["shape"]))
    assert load_features(out, field).name == card["name"]
    monkeypatch.setattr("latent_atlas.evaluation.features.INCEPTION", digest[:8])
    assert made(tmp_path / "published", settings, kind="image", n=60)[2]["name"] == "inception"
    assert capsys.readouterr().err == ""
    file.write_bytes(b"weights of somebody else")
    with pytest.raises(FeatureError, match="another file than its features were made with"):
        load_features(out, field)


def test_inception_is_for_images(tmp_path):
    with pytest.raises(FeatureError, match="drawn-vector has vector: choose domain"):
        made(tmp_path, {"name": "inception", "weights": "w.pth"}, kind="vector", n=60)
