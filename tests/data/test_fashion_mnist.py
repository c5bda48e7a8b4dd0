import gzip

import numpy as np
import pytest

from latent_atlas.data import fashion_mnist
from latent_atlas.data.fashion_mnist import DEBIAN, FashionMnist, download, find, read_idx
from latent_atlas.data.reader import DataError
from latent_atlas.data.splits import Split

needs_package = pytest.mark.skipif(not DEBIAN.exists(), reason="Debian's package dataset-fashion-mnist is not installed")


@needs_package
def test_debians_files_are_the_published_images(tmp_path, monkeypatch):
    monkeypatch.setenv("LATENT_ATLAS_HOME", str(tmp_path))
    chunks = list(FashionMnist().open(Split(0.05, 0.1)).chunks())
    assert [chunk["image"].shape for chunk in chunks] == [(60_000, 28, 28, 1), (10_000, 28, 28, 1)]
    np.testing.assert_array_equal(np.bincount(np.concatenate([chunk["labels"] for chunk in chunks])), [7000] * 10)
    assert chunks[0]["labels"][:4].tolist() == [9, 0, 0, 3]


@needs_package
def test_the_cache_comes_first(tmp_path, monkeypatch):
    monkeypatch.setenv("LATENT_ATLAS_HOME", str(tmp_path))
    assert find() == DEBIAN
    cache = tmp_path / "work/downloads/fashion-mnist"
    cache.mkdir(parents=True)
    for name in fashion_mnist.SHA256:
        (cache / name).write_bytes(b"")
    assert find() == cache


def test_offline_the_error_names_the_options(tmp_path, monkeypatch):
    monkeypatch.setenv("LATENT_ATLAS_HOME", str(tmp_path))
    monkeypatch.setattr(fashion_mnist, "DEBIAN", tmp_path / "none")
    monkeypatch.setattr(fashion_mnist, "HOME", "http://127.0.0.1:9")
    with pytest.raises(DataError) as caught:
        find()
    message = str(caught.value)
    assert all(
        word in message for word in ("dataset-fashion-mnist", "reader.folder", str(tmp_path / "work/downloads"), "127.0.0.1")
    )
    assert "\n" not in message


def test_a_download_that_is_not_the_published_file_is_not_kept(tmp_path):
    served = tmp_path / "served.gz"
    served.write_bytes(gzip.compress(b"something else"))
    target = tmp_path / "t10k-labels-idx1-ubyte.gz"
    with pytest.raises(DataError, match="does not hold the published t10k-labels"):
        download(served.as_uri(), target)
    assert not target.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["served.gz"]


@needs_package
def test_a_download_that_is_right_is_kept(tmp_path):
    name = "t10k-labels-idx1-ubyte.gz"
    download((DEBIAN / name).as_uri(), tmp_path / name)
    assert read_idx(tmp_path / name).shape == (10_000,)
    (tmp_path / name).write_bytes((DEBIAN / name).read_bytes()[:-100])
    with pytest.raises(DataError, match="delete it"):
        read_idx(tmp_path / name)
    with pytest.raises(DataError, match="does not exist"):
        read_idx(tmp_path / "t10k-images-idx3-ubyte.gz")
