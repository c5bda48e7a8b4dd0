import json
import os
from pathlib import Path

import numpy as np
import pytest
from drawn import KINDS, write_data
from PIL import Image

from latent_atlas.data.packing import pack, unpack
from latent_atlas.data.reader import HASH, Contents, DataError, Stored, blocks
from latent_atlas.data.spec import Field
from latent_atlas.data.splits import Split, digests
from latent_atlas.data.store import item_digests, read_card, replacing, write

FIELD = Stored(Field("vector", (3,)), "float32")


def contents(x, chunks=None):
    return Contents("x", {"x": FIELD}, chunks or (lambda: blocks({"x": x})), {"kind": "vector"}, len(x))


def store(x, out, **more):
    return write(contents(x), out, name=out.name, split=Split(0.2, 0.2), reference_size=5, **more)


def drawn(n, seed=0):
    return np.random.default_rng(seed).normal(size=(n, 3)).astype(np.float32)


def test_the_appended_array_is_an_ordinary_npy_file(tmp_path):
    x = drawn(50)
    parts = [{"x": x[:7]}, {"x": x[7:7]}, {"x": x[7:50]}]
    write(contents(x, lambda: iter(parts)), tmp_path / "a", name="a", split=Split(0.2, 0.2), reference_size=5)
    np.testing.assert_array_equal(np.load(tmp_path / "a/x.npy"), x)
    assert np.load(tmp_path / "a/x.npy", mmap_mode="r").shape == (50, 3)


@pytest.mark.parametrize("kind", KINDS)
def test_twice_the_same_bytes(tmp_path, kind):
    one = write_data(tmp_path / "1", kind, factors=True, labels=True)
    two = write_data(tmp_path / "2", kind, factors=True, labels=True)
    names = sorted(file.name for file in one.iterdir())
    assert {"card.json", "contact.png", "split.npy"} < set(names)
    assert names == sorted(file.name for file in two.iterdir())
    for name in names:
        assert (one / name).read_bytes() == (two / name).read_bytes(), name
    assert Image.open(one / "contact.png").size[0] > 300


def test_content_hash_follows_the_content(tmp_path):
    x = drawn(50)
    first = store(x, tmp_path / "a")["content_hash"]
    assert store(x, tmp_path / "b")["content_hash"] == first
    x[3, 1] += 1e-3
    assert store(x, tmp_path / "c")["content_hash"] != first


def test_duplicates_never_straddle_and_adding_items_moves_none(tmp_path):
    x = drawn(400)
    doubled = np.concatenate([x, x[::-1]])
    store(x, tmp_path / "once")
    store(doubled, tmp_path / "twice")
    once, twice = np.load(tmp_path / "once/split.npy"), np.load(tmp_path / "twice/split.npy")
    assert set(once) == {0, 1, 2}
    np.testing.assert_array_equal(twice[:400], once)
    np.testing.assert_array_equal(twice[400:], once[::-1])
    store(np.concatenate([drawn(100, seed=1), x]), tmp_path / "more")
    np.testing.assert_array_equal(np.load(tmp_path / "more/split.npy")[100:], once)


def test_split_fractions_are_met():
    assigned = Split(0.05, 0.1).assign(digests(drawn(40_000)))
    np.testing.assert_allclose(np.bincount(assigned) / 40_000, [0.85, 0.05, 0.1], atol=0.006)


@pytest.mark.parametrize(("val", "test"), [(-0.1, 0.2), (0.5, 0.5)])
def test_split_refuses_fractions_without_training(val, test):
    with pytest.raises(ValueError, match="leave a part for training"):
        Split(val, test)


def test_packed_and_unpacked_are_one(tmp_path):
    bits = (np.random.default_rng(0).random((30, 5, 7, 1)) < 0.4).astype(np.uint8)
    np.testing.assert_array_equal(unpack(pack(bits), (5, 7, 1)), bits)
    field = Field("image", (1, 5, 7), size=2)
    packed, plain = Stored(field, "uint8", packed=True), Stored(field, "uint8")
    assert packed.row == (5,)
    np.testing.assert_array_equal(item_digests(packed, pack(bits)), item_digests(plain, bits))


def test_a_reader_may_bring_its_own_digests(tmp_path):
    x, given = drawn(60), digests(np.arange(60)[:, None])
    chunks = [{"x": x[:40], HASH: given[:40]}, {"x": x[40:], HASH: given[40:]}]
    write(contents(x, lambda: iter(chunks)), tmp_path / "a", name="a", split=Split(0.2, 0.2), reference_size=5)
    np.testing.assert_array_equal(np.load(tmp_path / "a/split.npy"), Split(0.2, 0.2).assign(given))


def test_witnesses_are_held_out_distinct_and_stay_when_items_are_added(tmp_path):
    x = drawn(300)
    card = store(np.concatenate([x, x]), tmp_path / "a")
    split = np.load(tmp_path / "a/split.npy")
    assert all(split[k] == 2 for k in card["witnesses"])
    assert len(np.unique(np.concatenate([x, x])[card["witnesses"]], axis=0)) == len(card["witnesses"]) > 8
    assert card["witnesses"][:8] == store(x, tmp_path / "b")["witnesses"][:8]


def failing():
    yield {"x": drawn(5)}
    raise DataError("row 7 is bad")


def test_a_failure_leaves_the_older_directory_and_nothing_else(tmp_path):
    out = tmp_path / "a"
    store(drawn(50), out)
    before = {file.name: file.read_bytes() for file in out.iterdir()}
    with pytest.raises(DataError, match="row 7"):
        write(contents(drawn(50), failing), out, name="a", split=Split(0.2, 0.2), reference_size=5)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert {file.name: file.read_bytes() for file in out.iterdir()} == before


def test_a_failing_rename_puts_the_older_directory_back(tmp_path, monkeypatch):
    out = tmp_path / "a"
    store(drawn(50), out)
    real, calls = Path.rename, []

    def rename(self, target):
        calls.append(target)
        if len(calls) == 2:
            raise OSError("disk is gone")
        return real(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(OSError, match="gone"):
        store(drawn(60), out)
    assert len(np.load(out / "x.npy")) == 50
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_what_a_killed_process_left_is_swept_away_and_a_living_ones_is_not(tmp_path):
    dead, alive = 2**22 + 1, os.getppid()
    for pid in (dead, alive):
        (tmp_path / f".a.{pid}.new").mkdir()
    (tmp_path / f".a.{dead}.old").mkdir()
    (tmp_path / f".a.{dead}.old" / "x").write_text("older")
    with pytest.raises(DataError), replacing(tmp_path / "a"):
        raise DataError("stop")
    assert (tmp_path / "a/x").read_text() == "older"
    assert sorted(path.name for path in tmp_path.iterdir()) == [f".a.{alive}.new", "a"]


def test_wrong_items_and_empty_sets_are_named(tmp_path):
    with pytest.raises(DataError, match=r"items of shape \(4,\) do not fit the declared \(3,\)"):
        write(
            contents([], lambda: iter([{"x": np.zeros((2, 4))}])), tmp_path / "a", name="a", split=Split(0, 0.5), reference_size=1
        )
    with pytest.raises(DataError, match="no items"):
        write(contents([], lambda: iter([])), tmp_path / "a", name="a", split=Split(0, 0.5), reference_size=1)
    with pytest.raises(DataError, match="of 1 items the split leaves none for"):
        store(drawn(1), tmp_path / "a")
    with pytest.raises(DataError, match="prepare the data set first"):
        read_card(tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_card_says_what_the_data_is(tmp_path):
    card = json.loads((write_data(tmp_path, "image", factors=True, labels=True) / "card.json").read_text())
    assert card["factors"] == {"names": ["a", "b"], "sizes": [4, 4], "values": None}
    assert card["classes"] == ["w", "x", "y", "z"]
    assert card["ranges"]["factors"] == [0, 3]
    assert 0 <= card["ranges"]["image"][0] < card["ranges"]["image"][1] <= 1
    assert sum(card["spec"]["sizes"].values()) == 160
