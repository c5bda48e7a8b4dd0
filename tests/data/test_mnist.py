import gzip
import struct

import numpy as np
import pytest

from latent_atlas.data.datamodule import DataModule
from latent_atlas.data.mnist import Mnist
from latent_atlas.data.prepare import prepare
from latent_atlas.data.reader import DataError
from latent_atlas.data.splits import Split

SPLIT = Split(0.1, 0.2)


def idx(array):
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}i", *array.shape) + array.tobytes()


def files(folder, sign="-", gz=True, images=(90, 30), side=28, labels=None):
    folder.mkdir(exist_ok=True)
    rng, written = np.random.default_rng(0), []
    for part, n in zip(("train", "t10k"), images, strict=True):
        pictures = rng.integers(0, 256, (n, side, side)).astype(np.uint8)
        classes = np.arange(n if labels is None else labels, dtype=np.uint8) % 10
        for stem, axes, array in ((f"{part}-images", 3, pictures), (f"{part}-labels", 1, classes)):
            path = folder / f"{stem}{sign}idx{axes}-ubyte{'.gz' * gz}"
            path.write_bytes(gzip.compress(idx(array)) if gz else idx(array))
        written.append((pictures, classes))
    return written


@pytest.mark.parametrize("sign", ["-", "."])
@pytest.mark.parametrize("gz", [True, False])
def test_the_users_files_are_read_packed_or_not(tmp_path, sign, gz):
    written = files(tmp_path / "own", sign, gz)
    chunks = list(Mnist(str(tmp_path / "own")).open(SPLIT).chunks())
    for chunk, (pictures, classes) in zip(chunks, written, strict=True):
        np.testing.assert_array_equal(chunk["image"][..., 0], pictures)
        np.testing.assert_array_equal(chunk["labels"], classes)


def test_it_is_prepared_and_binarized(tmp_path):
    files(tmp_path / "own")
    reader = {"_target_": "latent_atlas.data.mnist.Mnist", "folder": str(tmp_path / "own"), "binarize": "dynamic"}
    data = {"reader": reader, "split": {"val": 0.1, "test": 0.2}, "reference_size": 10}
    prepare({"name": "mnist", "data": data}, tmp_path / "mnist")
    module = DataModule(tmp_path / "mnist")
    assert len(module) == 120
    assert module.spec.x.size == 2
    assert set(module.train_batch(0, 0, 8)["image"].unique().tolist()) == {0.0, 1.0}
    assert module.card["classes"] == list("0123456789")


def test_without_a_folder_it_says_what_to_give():
    with pytest.raises(DataError, match=r"data\.reader\.folder="):
        Mnist().open(SPLIT)


def test_a_missing_file_is_named_with_the_folder(tmp_path):
    files(tmp_path / "own")
    (tmp_path / "own/t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(DataError, match=r"own has none of t10k-labels-idx1-ubyte, .*is data.reader.folder right"):
        Mnist(str(tmp_path / "own")).open(SPLIT)


def read(folder):
    return list(Mnist(str(folder)).open(SPLIT).chunks())


def test_files_that_do_not_fit_are_refused_in_one_line(tmp_path):
    files(tmp_path / "small", side=8)
    with pytest.raises(DataError, match=r"items of \(8, 8\), not \(28, 28\)"):
        read(tmp_path / "small")
    files(tmp_path / "short", labels=29)
    with pytest.raises(DataError, match=r"has 90 pictures, .* 29 labels"):
        read(tmp_path / "short")
    files(tmp_path / "cut")
    path = tmp_path / "cut/train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte.gz cannot be read"):
        read(tmp_path / "cut")
    files(tmp_path / "classes", gz=False)
    labels = np.full(90, 11, np.uint8)
    (tmp_path / "classes/train-labels-idx1-ubyte").write_bytes(idx(labels))
    with pytest.raises(DataError, match="has the label 11; there are ten"):
        read(tmp_path / "classes")
