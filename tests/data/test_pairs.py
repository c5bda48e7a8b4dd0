import numpy as np
import pytest
import torch
from drawn import write_data

from latent_atlas.data.datamodule import DataModule
from latent_atlas.data.pairs import Pairs
from latent_atlas.data.prepare import prepare
from latent_atlas.data.reader import DataError

SIZES = (3, 1, 4, 5)
WIDE = (3, 1, 8, 9)


def parts(n=216, share=0.4):
    return (np.random.default_rng(0).random(n) < share).astype(np.uint8)


@pytest.mark.parametrize("differing", [1, 2, 3])
def test_a_partner_differs_in_just_so_many_factors_and_is_of_the_same_split(differing):
    split = parts()
    rows = np.random.default_rng(1).integers(0, 216, 2000)
    partners = Pairs(WIDE, split, differing).partners(rows, np.random.default_rng(2))
    one, two = (np.stack(np.unravel_index(each, WIDE), 1) for each in (rows, partners))
    assert ((one != two).sum(1) == differing).all()
    assert (split[rows] == split[partners]).all()


def test_every_factor_and_every_other_value_comes_up_alike():
    rows = np.full(24_000, 37)
    partners = Pairs(SIZES, np.zeros(60, np.uint8), 1).partners(rows, np.random.default_rng(0))
    one, two = (np.stack(np.unravel_index(each, SIZES), 1) for each in (rows, partners))
    assert np.allclose((one != two).mean(0), [1 / 3, 0, 1 / 3, 1 / 3], atol=0.02)
    found, counts = np.unique(partners, return_counts=True)
    assert len(found) == 2 + 3 + 4
    changed = [int(np.flatnonzero(np.array(np.unravel_index(each, SIZES)) != one[0])[0]) for each in found]
    assert np.allclose(counts / len(rows), [1 / 3 / (SIZES[factor] - 1) for factor in changed], atol=0.01)


def test_who_has_no_partner_is_its_own():
    split = np.zeros(60, np.uint8)
    split[7] = 1
    assert Pairs(SIZES, split, 1).partners(np.array([7, 8]), np.random.default_rng(0))[0] == 7


@pytest.mark.parametrize("differing", [0, 4])
def test_a_number_that_cannot_be_is_refused(differing):
    with pytest.raises(ValueError, match="3 factors vary"):
        Pairs(WIDE, parts(), differing)


@pytest.fixture(scope="module")
def sprites(tmp_path_factory):
    reader = {"_target_": "latent_atlas.data.dsprites.Dsprites", "resolution": 16, "sizes": [2, 2, 4, 4, 4]}
    folder = tmp_path_factory.mktemp("data") / "sprites"
    prepare({"name": "sprites", "data": {"reader": reader, "split": {"val": 0.2, "test": 0.2}, "reference_size": 20}}, folder)
    return folder


def test_batches_have_partners_as_a_function_of_seed_and_step(sprites):
    data, fresh, plain = (DataModule(sprites, pairs=pairs) for pairs in ({"differing": 1}, {"differing": 1}, None))
    assert data.spec.fields["pair"] == data.spec.x
    later = [fresh.train_batch(step, 3, 32) for step in (9, 2)]  # in another order, with other batches between
    for batch, step in zip(later, (9, 2), strict=True):
        again = data.train_batch(step, 3, 32)
        assert all(torch.equal(batch[name], again[name]) for name in batch)
        alone = plain.train_batch(step, 3, 32)
        assert set(again) == {*alone, "pair"}
        assert all(torch.equal(again[name], alone[name]) for name in alone)
    assert not torch.equal(data.train_batch(2, 3, 32)["pair"], data.train_batch(2, 4, 32)["pair"])
    # the next pass sees the same items with other partners
    laps = [{}, {}]
    per_pass = len(data.rows("train")) // 32
    for lap, seen in enumerate(laps):
        for step in range(lap * per_pass, (lap + 1) * per_pass):
            batch = data.train_batch(step, 3, 32)
            seen |= dict(zip(batch["index"].tolist(), batch["pair"].flatten(1), strict=True))
    both = set(laps[0]) & set(laps[1])
    assert np.mean([torch.equal(laps[0][item], laps[1][item]) for item in both]) < 0.5


def test_partners_are_items_of_the_split(sprites):
    data = DataModule(sprites, pairs={"differing": 1})
    batch = next(data.batches("val", 16))
    images = data.take(data.rows("val"))["image"].flatten(1)
    assert all((images == image).all(1).any() for image in batch["pair"].flatten(1))
    assert torch.equal(batch["pair"], next(data.batches("val", 16))["pair"])
    assert "pair" not in data.take([0, 1])


def test_a_set_without_every_combination_has_no_pairs(tmp_path):
    with pytest.raises(DataError, match="every combination"):
        DataModule(write_data(tmp_path, factors=True), pairs={"differing": 1})
