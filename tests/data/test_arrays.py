import numpy as np
import pytest

from latent_atlas.data.arrays import Arrays
from latent_atlas.data.datamodule import DataModule
from latent_atlas.data.reader import DataError
from latent_atlas.data.scaling import Scaling
from latent_atlas.data.splits import Split
from latent_atlas.data.store import write

THIRD = Split(0.1, 0.3)
RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (40, 6, 5), np.uint8)
X = RNG.normal(3, [1, 10, 0.01, 0], (200, 4)) + np.array([0, 0, 1e6, 0])


def save(tmp_path, **arrays):
    np.savez(tmp_path / "own.npz", **arrays)
    return str(tmp_path / "own.npz")


def store(reader, tmp_path):
    card = write(reader.open(THIRD), tmp_path / "out", name="own", split=THIRD, reference_size=4)
    return card, DataModule(tmp_path / "out")


@pytest.mark.parametrize(
    ("images", "shape"),
    [
        (GREY, (1, 6, 5)),
        (GREY[..., None], (1, 6, 5)),
        (GREY[:, None], (1, 6, 5)),
        (np.stack([GREY] * 3, -1), (3, 6, 5)),
        (np.stack([GREY] * 3, 1), (3, 6, 5)),
        (np.asfortranarray(GREY), (1, 6, 5)),
        (GREY.astype(np.int64), (1, 6, 5)),
        (GREY.astype(np.float32) / 255, (1, 6, 5)),
        (GREY.astype(np.uint16) * 257, (1, 6, 5)),
    ],
)
def test_images_of_every_layout_and_type(tmp_path, images, shape):
    _, dm = store(Arrays(save(tmp_path, images=images)), tmp_path)
    assert dm.spec.x.shape == shape
    assert dm.spec.x.size == 256
    np.testing.assert_array_equal(np.rint(dm.take(range(40))["image"][:, 0].numpy() * 255), GREY)


def test_a_range_says_what_is_black_and_white(tmp_path):
    _, dm = store(Arrays(save(tmp_path, images=GREY.astype(float) * 2 - 255), range=[-255, 255]), tmp_path)
    np.testing.assert_array_equal(np.rint(dm.take(range(40))["image"][:, 0].numpy() * 255), GREY)


@pytest.mark.parametrize("white", [1, 255, True, 1.0])
def test_binary_images_are_packed(tmp_path, white):
    bits = GREY > 128
    _, dm = store(Arrays(save(tmp_path, images=(bits * white).astype(np.uint8 if white == 255 else type(white)))), tmp_path)
    assert dm.spec.x.size == 2
    assert dm.card["storage"]["image"]["packed"]
    np.testing.assert_array_equal(dm.take(range(40))["image"][:, 0].numpy(), bits)


def test_three_levels_are_not_binary(tmp_path):
    images = np.zeros((9000, 2, 2))  # more than one block, the third level in the first one
    images[0], images[8999, 0, 0] = 0.5, 1
    assert Arrays(save(tmp_path, images=images)).open(THIRD).fields["image"].field.size == 256


def test_labels_factors_and_names(tmp_path):
    path = save(
        tmp_path,
        images=GREY,
        labels=np.arange(40) % 2,
        factors=np.stack([np.arange(40) % 4, np.linspace(0, 1, 40)], 1),
        class_names=np.array(["no", "yes"]),
        factor_names=np.array(["kind", "level"]),
        junk=np.zeros(3),
    )
    card, dm = store(Arrays(path), tmp_path)
    assert card["classes"] == ["no", "yes"]
    assert card["factors"]["names"] == ["kind", "level"]
    assert card["factors"]["sizes"] == [4, 0]
    assert card["excluded"] == [{"item": "junk", "reason": "an array of this name means nothing here"}]
    assert dm.take([5])["labels"].item() == 1


@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_vectors_are_standardized_over_training_items(tmp_path, suffix):
    if suffix == "npy":
        np.save(tmp_path / "x.npy", X)
        path = str(tmp_path / "x.npy")
    else:
        path = save(tmp_path, x=X, column_names=np.array(list("abcd")))
    card, dm = store(Arrays(path), tmp_path)
    rows = dm.rows("train")
    x = dm.take(range(200))["x"].numpy()
    np.testing.assert_allclose(x[rows].mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(x[rows].std(0), [1, 1, 1, 0], atol=1e-4)  # the last column does not vary
    scaling = Scaling.from_dict(card["preprocessing"]["columns"])
    np.testing.assert_allclose(np.stack(list(scaling.inverse(x).values()), 1), X, rtol=1e-6, atol=1e-6)
    assert dm.spec.x.names == (("a", "b", "c", "d") if suffix == "npz" else ("x1", "x2", "x3", "x4"))
    raw = store(Arrays(path, scaling="none"), tmp_path)[1]
    np.testing.assert_array_equal(raw.take(range(200))["x"].numpy(), X.astype(np.float32))


def test_more_vectors_change_the_scaling_and_move_none(tmp_path):
    before = np.load(store(Arrays(save(tmp_path, x=X)), tmp_path)[1].folder / "split.npy")
    more = np.concatenate([X * 5 + 1, X])
    np.testing.assert_array_equal(np.load(store(Arrays(save(tmp_path, x=more)), tmp_path)[1].folder / "split.npy")[200:], before)


@pytest.mark.parametrize("kind", ["counts", "tokens"])
def test_whole_numbers(tmp_path, kind):
    x = RNG.integers(0, 9, (50, 7))
    _, dm = store(Arrays(save(tmp_path, x=x), kind=kind), tmp_path)
    assert dm.spec.x.kind == kind
    np.testing.assert_array_equal(dm.take(range(50))["x"].numpy(), x)
    assert dm.spec.x.size == (9 if kind == "tokens" else None)
    with pytest.raises(DataError, match=f"{kind} are whole numbers from 0; there is -1"):
        Arrays(save(tmp_path, x=x - 1), kind=kind).open(THIRD)


def with_value(array, index, value):
    array = array.copy()
    array[index] = value
    return array


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": X[:, 0]}, r"x has shape \(200,\); vectors are \(N, d\)"),
        ({"x": X[:0]}, "no items"),
        ({"images": X}, r"images has shape \(200, 4\); images are"),
        ({"images": np.zeros((4, 5, 6, 7))}, r"shape \(4, 5, 6, 7\)"),
        ({"images": np.zeros((4, 0, 6))}, r"shape \(4, 0, 6\)"),
        ({"x": with_value(X, (6, 2), np.nan)}, "nan in row 7, column 3"),
        ({"x": with_value(X, (199, 0), -np.inf)}, "-inf in row 200, column 1"),
        ({"images": with_value(GREY / 255, (4, 0, 1), np.nan)}, "nan in row 5, column 1/2"),
        ({"images": GREY.astype(float)}, r"values run from 0 to 255; say which .* reader.range"),
        ({"images": GREY.astype(int) * 10}, "reader.range"),
        ({"x": X.astype(complex)}, "type complex128; it must be numbers"),
        ({"x": X.astype(str)}, "must be numbers"),
        ({"x": X.astype(object)}, "pickled Python objects"),
        ({"x": X, "images": GREY}, "needs one array 'images' or 'x'"),
        ({"labels": np.arange(4)}, "needs one array"),
        ({"x": X, "labels": np.zeros(3)}, r"labels has shape \(3,\), but x has 200 items"),
        ({"x": X, "factors": np.zeros((3, 2))}, "factors has shape"),
        ({"x": X, "column_names": np.array(["a"])}, "1 column_names for 4 columns"),
        ({"x": X, "factors": np.zeros((200, 2)), "factor_names": np.array(["a"])}, "1 factor_names for 2 factors"),
    ],
)
def test_faults_are_named_in_one_line(tmp_path, arrays, message):
    with pytest.raises(DataError, match=message) as caught:
        store(Arrays(save(tmp_path, **arrays)), tmp_path)
    assert "\n" not in str(caught.value)
    assert "own.npz" in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_files_that_are_none(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        Arrays(str(tmp_path / "none.npy")).open(THIRD)
    for name, data in (("a.npy", b"nonsense"), ("b.npz", b"nonsense"), ("c.npy", b"")):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(DataError, match=name):
            Arrays(str(tmp_path / name)).open(THIRD)
    np.save(tmp_path / "whole.npy", X)
    (tmp_path / "cut.npy").write_bytes((tmp_path / "whole.npy").read_bytes()[:-8])
    with pytest.raises(DataError, match=r"cut\.npy"):
        Arrays(str(tmp_path / "cut.npy")).open(THIRD)
    whole = (tmp_path / "big.npz", X)
    np.savez_compressed(whole[0], x=whole[1])
    data = bytearray(whole[0].read_bytes())
    data[len(data) // 2] ^= 255
    whole[0].write_bytes(data)
    with pytest.raises(DataError, match="cannot be read"):
        Arrays(str(whole[0])).open(THIRD)


@pytest.mark.parametrize("more", [{"range": [1, 0]}, {"range": [1]}, {"kind": "text"}, {"scaling": "log"}])
def test_impossible_arguments(more):
    with pytest.raises(DataError, match="arrays:"):
        Arrays("x.npy", **more)


def test_values_outside_a_given_range_are_named(tmp_path):
    with pytest.raises(DataError, match=r"values run from 0 to 255, outside range=\[0, 16\]"):
        Arrays(save(tmp_path, images=GREY), range=[0, 16]).open(THIRD)
