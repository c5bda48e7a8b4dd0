import numpy as np
import pytest
import torch

from latent_atlas.data import drawing
from latent_atlas.data.datamodule import DataModule
from latent_atlas.data.fashion_mnist import picture
from latent_atlas.data.reader import Contents, DataError, Stored, blocks
from latent_atlas.data.spec import Field
from latent_atlas.data.splits import Split
from latent_atlas.data.store import write
from latent_atlas.models.likelihoods import BernoulliHead, default

LEVELS = np.random.default_rng(5).integers(0, 256, (240, 28, 28, 1)).astype(np.uint8)
LEVELS[:, 0], LEVELS[:, 1], LEVELS[:, 2] = 0, 255, 128


def folder(tmp, stored, name="drawn"):
    contents = Contents(
        "image", {"image": stored}, lambda: blocks({"image": LEVELS}), {"kind": "image", "size": None, "range": None}
    )
    write(contents, tmp / name, name=name, split=Split(0.1, 0.2), reference_size=20)
    return tmp / name


@pytest.fixture
def data(tmp_path):
    return DataModule(folder(tmp_path, picture("dynamic")))


def test_a_pixel_is_white_with_the_probability_of_its_level():
    levels = np.tile(np.arange(256, dtype=np.uint8), (40_000, 1))
    share = drawing.at_step(levels, np.random.default_rng(0)).mean(0)
    assert share[0] == 0
    assert share[255] == 1
    error = (share - np.arange(256) / 255) * np.sqrt(40_000) / np.sqrt(np.clip(share * (1 - share), 1e-9, None))
    assert np.abs(error[1:255]).max() < 4.5
    assert abs(error[1:255].std() - 1) < 0.15


def test_models_see_black_and_white_and_take_a_bernoulli_likelihood(data):
    assert data.spec.x == Field("image", (1, 28, 28), size=2)
    assert isinstance(default(data.spec.x), BernoulliHead)
    x = data.train_batch(0, 0, 16)["image"]
    assert x.shape == (16, 1, 28, 28)
    assert x.dtype == torch.float32
    assert set(x.unique().tolist()) == {0.0, 1.0}
    assert (x[:, :, 0] == 0).all()
    assert (x[:, :, 1] == 1).all()


def test_training_draws_anew_at_each_step_as_a_function_of_seed_and_step(data, tmp_path):
    fresh = DataModule(data.folder, resident=False)
    later = [fresh.train_batch(step, 3, 16) for step in (9, 2)]  # in another order, from disk
    for batch, step in zip(later, (9, 2), strict=True):
        assert torch.equal(batch["image"], data.train_batch(step, 3, 16)["image"])
    per_pass = len(data.rows("train")) // 16
    lap = [data.train_batch(step, 3, 16) for step in range(per_pass)]
    seen = {int(item): x for batch in lap for item, x in zip(batch["index"], batch["image"], strict=True)}
    again = data.train_batch(per_pass, 3, 16)
    both = [k for k, i in enumerate(again["index"].tolist()) if i in seen]
    assert len(both) > 5
    assert not any(torch.equal(again["image"][k], seen[int(again["index"][k])]) for k in both)


def test_held_out_items_have_one_draw_each(data):
    rows = data.rows("test")
    x = data.take(rows)["image"]
    assert torch.equal(x, DataModule(data.folder).take(rows)["image"])
    assert torch.equal(x[3], data.take(rows[[7, 3]])["image"][1])
    assert torch.equal(next(data.batches("test", 5))["image"], x[:5])
    flat = x[:, 0, 2:].flatten(1)
    assert len(x[:, 0, 2].unique(dim=0)) == len(rows), "the same 28 levels in each item: items do not share their noise"
    expected = torch.from_numpy(LEVELS[rows, 2:, :, 0].astype(np.float32) / 255).flatten(1)
    assert float((flat - expected).mean().abs()) < 4 * 0.5 / np.sqrt(flat.numel())


def test_the_split_is_that_of_the_grey_pictures(data, tmp_path):
    grey = DataModule(folder(tmp_path, picture(None), "grey"))
    for split in ("train", "val", "test"):
        np.testing.assert_array_equal(data.rows(split), grey.rows(split))
    assert grey.spec.x.size == 256
    assert data.card["content_hash"] != grey.card["content_hash"]
    assert "drawn" not in grey.card["storage"]["image"]
    assert len(np.unique(grey.take([0])["image"])) > 50


def test_a_binary_set_is_stored_as_before():
    assert Stored(Field("image", (1, 4, 4), size=2), "uint8").layout() == {
        "packed": False, "shape": [4, 4, 1], "order": [2, 0, 1], "divisor": None,
    }  # fmt: skip


def test_another_word_is_refused():
    with pytest.raises(DataError, match="binarize is 'static'; it is null or one of dynamic"):
        picture("static")
