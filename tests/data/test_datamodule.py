import numpy as np
import pytest
import torch
from drawn import KINDS, write_data

from latent_atlas.data.datamodule import DataModule
from latent_atlas.data.reader import DataError

DTYPES = {"image": torch.float32, "binary": torch.float32, "vector": torch.float32, "tokens": torch.int64, "counts": torch.float32}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("resident", [True, False])
def test_every_kind_passes(tmp_path, kind, resident):
    dm = DataModule(write_data(tmp_path, kind, factors=True, labels=True), resident)
    batch = dm.train_batch(0, 0, 16)
    x = batch[dm.spec.observation]
    assert x.shape == (16, *dm.spec.x.shape)
    assert x.dtype == DTYPES[kind]
    assert batch["labels"].dtype == batch["factors"].dtype == batch["index"].dtype == torch.int64
    np.testing.assert_array_equal(batch["factors"][:, 0], batch["labels"])
    np.testing.assert_array_equal(batch["index"] % 4, batch["labels"])


@pytest.mark.parametrize("shape", [(1, 6, 8), (3, 6, 8)])
def test_images_are_in_the_unit_interval_channels_last(tmp_path, shape):
    dm = DataModule(write_data(tmp_path, "image", shape=shape))
    x = dm.take([5, 2])["image"]
    assert x.is_contiguous(memory_format=torch.channels_last)
    assert x.stride(1) == 1
    stored = np.load(tmp_path / "drawn-image/image.npy")[[5, 2]]
    np.testing.assert_array_equal(x.numpy(), np.float32(stored.transpose(0, 3, 1, 2)) / np.float32(255))


def test_binary_images_are_zeros_and_ones(tmp_path):
    dm = DataModule(write_data(tmp_path, "binary", shape=(1, 5, 7)))
    x = dm.take(range(len(dm)))["image"]
    assert set(x.unique().tolist()) == {0.0, 1.0}
    bits = np.unpackbits(np.load(tmp_path / "drawn-binary/image.npy"), axis=1)[:, :35]
    np.testing.assert_array_equal(x.reshape(len(dm), -1).numpy(), bits)


def test_resident_and_mapped_are_equal(tmp_path):
    folder = write_data(tmp_path, "binary", factors=True)
    for one, two in zip(*(DataModule(folder, resident).train_batches(3, 20, 1, 32) for resident in (True, False)), strict=True):
        assert all(torch.equal(one[key], two[key]) for key in one)


def test_a_pass_visits_each_item_at_most_once_and_the_order_is_a_function_of_seed_and_step(tmp_path):
    folder = write_data(tmp_path, "vector", n=100)
    dm, fresh = DataModule(folder), DataModule(folder)
    train = set(dm.rows("train").tolist())
    per_pass = len(train) // 16
    seen = [dm.train_batch(step, 7, 16)["index"].tolist() for step in range(2 * per_pass)]
    for lap in (seen[:per_pass], seen[per_pass:]):
        items = [item for batch in lap for item in batch]
        assert len(set(items)) == len(items) == per_pass * 16
        assert set(items) <= train
    assert seen[:per_pass] != seen[per_pass:]
    for step in (5, 1, per_pass + 2):
        assert fresh.train_batch(step, 7, 16)["index"].tolist() == seen[step]
    assert dm.train_batch(0, 8, 16)["index"].tolist() != seen[0]


def test_a_batch_larger_than_the_set_is_the_set(tmp_path):
    dm = DataModule(write_data(tmp_path, "vector", n=20))
    for step in (0, 1):
        assert sorted(dm.train_batch(step, 0, 64)["index"].tolist()) == dm.rows("train").tolist()


def test_batches_cover_a_split_in_order_with_its_tail(tmp_path):
    dm = DataModule(write_data(tmp_path, "vector"))
    batches = list(dm.batches("test", 10))
    assert torch.cat([batch["index"] for batch in batches]).tolist() == dm.rows("test").tolist()
    assert len(batches[-1]["index"]) == len(dm.rows("test")) % 10 != 0
    assert sum(len(batch["index"]) for batch in dm.batches("test", 10, limit=13)) == 13
    assert sorted(np.concatenate([dm.rows(split) for split in ("train", "val", "test")]).tolist()) == list(range(160))
    with pytest.raises(ValueError, match="train, val, test"):
        dm.rows("valid")


def test_witnesses_are_held_out(tmp_path):
    dm = DataModule(write_data(tmp_path, "vector"))
    index = dm.witnesses(8)["index"].tolist()
    assert len(set(index)) == 8
    assert set(index) <= set(dm.rows("test").tolist())
    assert dm.witnesses(4)["index"].tolist() == index[:4]


def test_at_finds_the_item_of_a_complete_grid_and_says_where_there_is_none(tmp_path):
    with pytest.raises(DataError, match="does not hold every combination"):
        DataModule(write_data(tmp_path, "vector", factors=True)).at([[0, 0]])


def test_an_array_that_does_not_fit_the_card_is_named(tmp_path):
    folder = write_data(tmp_path, "vector")
    np.save(folder / "x.npy", np.load(folder / "x.npy")[:-1])
    with pytest.raises(DataError, match="x has 159 items, the card says 160"):
        DataModule(folder)
