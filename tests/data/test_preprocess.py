import json

import numpy as np
import pandas as pd
import pytest
from drawn import write_data
from PIL import Image

from latent_atlas.data.arrays import Arrays
from latent_atlas.data.datamodule import DataModule
from latent_atlas.data.digits import Digits
from latent_atlas.data.dsprites import Dsprites
from latent_atlas.data.image_folder import ImageFolder
from latent_atlas.data.preprocess import read_new
from latent_atlas.data.reader import DataError
from latent_atlas.data.splits import Split
from latent_atlas.data.store import write
from latent_atlas.data.table import Table

THIRD = Split(0.1, 0.3)
RNG = np.random.default_rng(0)


def prepared(reader, tmp_path):
    write(reader.open(THIRD), tmp_path / "out", name="own", split=THIRD, reference_size=4)
    dm = DataModule(tmp_path / "out")
    return dm, json.loads((tmp_path / "out/card.json").read_text())["preprocessing"]


def pictures(folder, arrays):
    folder.mkdir(parents=True, exist_ok=True)
    for k, array in enumerate(arrays):
        Image.fromarray(array).save(folder / f"{k:03}.png")
    return folder


@pytest.mark.parametrize("more", [{}, {"size": 7}, {"size": [5, 6], "fit": "crop"}, {"size": 8, "channels": 1}])
def test_a_folder_read_anew_is_the_training_data(tmp_path, more):
    path = pictures(tmp_path / "färben", RNG.integers(0, 256, (9, 12, 16, 3), np.uint8))
    dm, record = prepared(ImageFolder(str(path), **more), tmp_path)
    (path / "notes.txt").write_text("x")
    (path / "zero.png").write_bytes(b"")
    x, ids, rejected = read_new(record, dm.spec, path)
    np.testing.assert_array_equal(x, dm.take(range(9))["image"].numpy())
    assert x.dtype == np.float32
    assert ids == [f"{k:03}.png" for k in range(9)]
    assert rejected == [("notes.txt", "not an image that Pillow reads"), ("zero.png", "empty file")]
    one, ids, _ = read_new(record, dm.spec, path / "004.png")
    np.testing.assert_array_equal(one, x[4:5])
    assert ids == ["004.png"]


def test_images_of_another_size_or_colour_are_refused_by_name(tmp_path):
    dm, record = prepared(Digits(), tmp_path)
    path = pictures(tmp_path / "new", [np.rint(dm.take([k])["image"][0, 0].numpy() * 255).astype(np.uint8) for k in range(3)])
    Image.fromarray(RNG.integers(0, 256, (9, 10), np.uint8)).save(path / "big.png")
    Image.fromarray(RNG.integers(0, 256, (8, 8, 3), np.uint8)).save(path / "coloured.png")
    x, _, rejected = read_new(record, dm.spec, path)
    np.testing.assert_array_equal(x, dm.take(range(3))["image"].numpy())
    assert rejected == [("big.png", "is 10×9, the training images are 8×8"), ("coloured.png", "coloured, the others are grey")]
    with pytest.raises(DataError, match=r"no item fits 8×8 grey images; the first: big.png: is 10×9"):
        read_new(record, dm.spec, path / "big.png")


@pytest.mark.parametrize("layout", ["unit", "bytes", "channels", "npy"])
def test_image_arrays(tmp_path, layout):
    dm, record = prepared(Digits(), tmp_path)
    wanted = dm.take(range(10))["image"].numpy()
    levels = np.rint(wanted[:, 0] * 255).astype(np.uint8)
    images = {"unit": wanted[:, 0], "bytes": levels, "channels": wanted, "npy": levels}[layout]
    path = tmp_path / ("new.npy" if layout == "npy" else "new.npz")
    np.save(path, images) if layout == "npy" else np.savez(path, images=images)
    x, ids, rejected = read_new(record, dm.spec, path)
    np.testing.assert_array_equal(x, wanted)
    assert ids == [str(k) for k in range(10)]
    assert rejected == []


def test_arrays_keep_the_training_range(tmp_path):
    levels = RNG.integers(0, 17, (60, 4, 4)).astype(float)
    np.savez(tmp_path / "own.npz", images=levels)
    dm, record = prepared(Arrays(str(tmp_path / "own.npz"), range=[0, 16]), tmp_path)
    np.save(tmp_path / "new.npy", np.concatenate([levels[:3], np.full((1, 4, 4), 17.0), np.full((1, 4, 4), np.nan)]))
    x, ids, rejected = read_new(record, dm.spec, tmp_path / "new.npy")
    np.testing.assert_array_equal(x, dm.take(range(3))["image"].numpy())
    assert ids == ["0", "1", "2"]
    assert rejected == [("3", "values run outside 0 to 16"), ("4", "a value is not finite")]


def test_binary_images(tmp_path):
    dm, record = prepared(Dsprites(32, sizes=(3, 2, 3, 3, 3)), tmp_path)
    wanted = dm.take(range(6))["image"].numpy()
    for white in (1, 255):
        np.save(tmp_path / "new.npy", (wanted[:, 0] * white).astype(np.uint8))
        np.testing.assert_array_equal(read_new(record, dm.spec, tmp_path / "new.npy")[0], wanted)
    path = pictures(tmp_path / "new", (wanted[:, 0] * 255).astype(np.uint8))
    Image.fromarray(np.full((32, 32), 100, np.uint8)).save(path / "grey.png")
    x, _, rejected = read_new(record, dm.spec, path)
    np.testing.assert_array_equal(x, wanted)
    assert rejected == [("grey.png", "has grey pixels, the training images are black and white")]


def test_vectors_by_array_and_by_table(tmp_path):
    raw = RNG.normal(5, 3, (100, 3))
    np.save(tmp_path / "own.npy", raw)
    dm, record = prepared(Arrays(str(tmp_path / "own.npy")), tmp_path)
    pd.DataFrame(raw).to_csv(tmp_path / "own.csv", index=False)
    for name in ("own.npy", "own.csv"):
        x, ids, _ = read_new(record, dm.spec, tmp_path / name)
        np.testing.assert_allclose(x, dm.take(range(100))["x"].numpy(), atol=1e-6)
        assert ids[-1] == "99"
    np.save(tmp_path / "new.npy", raw[:, :2])
    with pytest.raises(DataError, match="items are vectors of 2, the model takes vector of 3 entries"):
        read_new(record, dm.spec, tmp_path / "new.npy")
    pd.DataFrame(raw[:, :2]).to_csv(tmp_path / "new.csv", index=False)
    with pytest.raises(DataError, match="2 columns, the model takes vector of 3"):
        read_new(record, dm.spec, tmp_path / "new.csv")


def test_tables(tmp_path):
    table = pd.DataFrame({"mass": RNG.normal(5, 3, 90), "kind": RNG.choice(["a", "b"], 90), "class": RNG.choice(["u", "v"], 90)})
    table.to_csv(tmp_path / "own.csv", index=False)
    dm, record = prepared(Table(str(tmp_path / "own.csv"), label="class"), tmp_path)
    new = table[["kind", "mass"]].iloc[:5].copy()  # another order of columns, no label
    new.loc[1, "kind"], new.loc[2, "mass"] = "c", np.nan
    new.to_parquet(tmp_path / "new.parquet")
    x, ids, rejected = read_new(record, dm.spec, tmp_path / "new.parquet")
    np.testing.assert_allclose(x, dm.take([0, 3, 4])["x"].numpy(), atol=1e-6)
    assert ids == ["0", "3", "4"]
    assert rejected == [
        ("1", "column 'kind': c is not a category of the training data"),
        ("2", "column 'mass': nan is not a finite number"),
    ]
    for changed, message in (
        (new.drop(columns="mass"), "no column 'mass'; it has kind"),
        (new.assign(mass="heavy"), "column 'mass' holds texts, the model takes numbers"),
    ):
        changed.to_csv(tmp_path / "bad.csv", index=False)
        with pytest.raises(DataError, match=message):
            read_new(record, dm.spec, tmp_path / "bad.csv")


@pytest.mark.parametrize("kind", ["tokens", "counts", "vector", "image", "binary"])
def test_drawn_data_of_every_kind(tmp_path, kind):
    dm = DataModule(write_data(tmp_path, kind))
    wanted = dm.take(range(6))[dm.spec.observation].numpy()
    np.savez(tmp_path / "new.npz", **{"images" if dm.spec.x.kind == "image" else "x": wanted})
    x, _, rejected = read_new(dm.card["preprocessing"], dm.spec, tmp_path / "new.npz")
    np.testing.assert_array_equal(x, wanted)
    assert x.dtype == wanted.dtype
    assert rejected == []


def test_another_kind_is_one_clear_line(tmp_path):
    images, vectors = DataModule(write_data(tmp_path, "image")), DataModule(write_data(tmp_path, "vector"))
    np.save(tmp_path / "x.npy", np.zeros((3, 6)))
    np.save(tmp_path / "images.npy", np.zeros((3, 6, 6)))
    folder = pictures(tmp_path / "folder", np.zeros((2, 4, 4), np.uint8))
    for dm, path, message in (
        (images, tmp_path / "x.npy", "items are vectors of 6, the model takes 16×16 grey images"),
        (images, tmp_path / "images.npy", "items are images of 6×6×1, the model takes 16×16 grey"),
        (vectors, tmp_path / "images.npy", "items are images of 6×6×1, the model takes vector of 6 entries"),
        (vectors, folder, r"takes vector of 6 entries; give them as .npz or .npy, .csv or .parquet"),
        (images, folder, "no item fits 16×16 grey images; the first: 000.png: is 4×4"),
        (images, tmp_path / "none", "does not exist"),
    ):
        with pytest.raises(DataError, match=message) as caught:
            read_new(dm.card["preprocessing"], dm.spec, path)
        assert "\n" not in str(caught.value)


def test_tokens_beyond_the_vocabulary_are_rejected(tmp_path):
    dm = DataModule(write_data(tmp_path, "tokens"))
    np.save(tmp_path / "x.npy", np.array([[0] * 8, [7] * 8, [-1] * 8]))
    _, ids, rejected = read_new(dm.card["preprocessing"], dm.spec, tmp_path / "x.npy")
    assert ids == ["0"]
    assert [item for item, _ in rejected] == ["1", "2"]
