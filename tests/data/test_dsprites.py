import numpy as np
import pytest

from latent_atlas.data.datamodule import DataModule
from latent_atlas.data.dsprites import SIZES, Dsprites
from latent_atlas.data.packing import unpack
from latent_atlas.data.reader import DataError
from latent_atlas.data.splits import Split
from latent_atlas.data.store import write

SMALL = (3, 2, 12, 5, 4)
HALF = Split(0.1, 0.2)


def collected(reader):
    parts = list(reader.open(HALF).chunks())
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


@pytest.mark.parametrize("resolution", [64, 32, 20])
def test_at_equals_the_stored_row_for_every_combination(tmp_path, resolution):
    reader = Dsprites(resolution, sizes=SMALL)
    write(reader.open(HALF), tmp_path / "d", name="d", split=HALF, reference_size=10)
    dm = DataModule(tmp_path / "d")
    grid = np.stack(np.unravel_index(np.arange(np.prod(SMALL)), SMALL), axis=1)
    stored = dm.take(range(len(dm)))
    np.testing.assert_array_equal(stored["factors"].numpy(), grid)
    np.testing.assert_array_equal(stored["image"].numpy(), reader.at(grid).transpose(0, 3, 1, 2))
    some = np.random.default_rng(0).permutation(grid)[:50]
    np.testing.assert_array_equal(dm.at(some)["image"].numpy(), reader.at(some).transpose(0, 3, 1, 2))


def test_the_published_sizes_in_the_published_order():
    contents = Dsprites(32).open(HALF)
    assert contents.total == 737_280
    assert contents.fields["factors"].field.names == ("shape", "scale", "orientation", "x", "y")
    chunk = next(iter(contents.chunks()))
    np.testing.assert_array_equal(
        chunk["factors"][[0, 1, 32, 1024]], [[0, 0, 0, 0, 0], [0, 0, 0, 0, 1], [0, 0, 0, 1, 0], [0, 0, 1, 0, 0]]
    )
    rows = np.random.default_rng(1).integers(0, len(chunk["image"]), 200)
    np.testing.assert_array_equal(unpack(chunk["image"][rows], (32, 32, 1)), Dsprites(32).at(chunk["factors"][rows]))


def test_shapes_lie_where_their_factors_say():
    """Centre of mass and area against the exact figures: R · (1/4 + p/2) and the shape's own area."""
    reader = Dsprites(64)
    factors = np.random.default_rng(0).integers(0, SIZES, (600, 5))
    images = reader.at(factors)[..., 0].astype(float)
    area = images.sum((1, 2))
    x = (images.sum(1) * (np.arange(64) + 0.5)).sum(1) / area
    y = (images.sum(2) * (np.arange(64) + 0.5)).sum(1) / area
    np.testing.assert_allclose(x, 64 * (0.25 + factors[:, 3] / 62), atol=0.6)
    np.testing.assert_allclose(y, 64 * (0.25 + factors[:, 4] / 62), atol=0.6)
    scale = np.linspace(0.5, 1, 6)[factors[:, 1]]
    exact = np.array([0.34**2, np.pi * 0.24 * 0.14])
    for shape in (0, 1):
        chosen = factors[:, 0] == shape
        np.testing.assert_allclose(area[chosen], exact[shape] * (64 * scale[chosen]) ** 2, rtol=0.12)
    assert (images[:, [0, -1]].sum() + images[:, :, [0, -1]].sum()) == 0  # nothing is cut off at the frame


def test_a_quarter_turn_of_the_square_is_the_square_and_half_a_turn_flips_the_heart():
    reader = Dsprites(64)
    np.testing.assert_array_equal(reader.at([[0, 5, 3, 9, 9]]), reader.at([[0, 5, 13, 9, 9]]))
    heart, turned = reader.at([[2, 5, 0, 0, 0], [2, 5, 20, 31, 31]])[..., 0]
    assert (heart != turned).any()
    assert (heart != turned[::-1, ::-1]).mean() < 0.002


def test_two_runs_give_the_same_bytes():
    one, two = collected(Dsprites(32, sizes=SMALL)), collected(Dsprites(32, sizes=SMALL))
    assert all(np.array_equal(one[key], two[key]) for key in one)


def official(path, sizes=SMALL, **changes):
    """A file with the keys, shapes and order of the published one, smaller."""
    n = int(np.prod(sizes))
    grid = np.stack(np.unravel_index(np.arange(n), sizes), axis=1)
    arrays = {
        "imgs": Dsprites(64, sizes=sizes).at(grid)[..., 0],
        "latents_classes": np.concatenate([np.zeros((n, 1), np.int64), grid], axis=1),
        "latents_values": np.concatenate([np.ones((n, 1)), grid / 10], axis=1),
        "metadata": np.array("left out"),
    } | changes
    np.savez_compressed(path, **{key: array for key, array in arrays.items() if array is not None})
    return str(path)


def test_the_official_file_gives_its_images_factors_and_values(tmp_path):
    source = official(tmp_path / "official.npz")
    read, drawn = collected(Dsprites(64, source, SMALL)), collected(Dsprites(64, sizes=SMALL))
    assert all(np.array_equal(read[key], drawn[key]) for key in drawn)
    values = Dsprites(64, source, SMALL).open(HALF).factors
    assert values["orientation"] == [k / 10 for k in range(12)]
    assert values["shape"] == ["square", "ellipse", "heart"]
    small = unpack(collected(Dsprites(32, source, SMALL))["image"], (32, 32))
    big = unpack(read["image"], (64, 64)).reshape(-1, 32, 2, 32, 2).sum((2, 4))
    np.testing.assert_array_equal(small, big >= 2)
    with pytest.raises(DataError, match="official file is not rendered"):
        Dsprites(64, source, SMALL).at([[0, 0, 0, 0, 0]])


def test_a_file_that_is_not_the_official_one_is_refused(tmp_path):
    n = int(np.prod(SMALL))
    grey = np.full((n, 64, 64), 7, np.uint8)
    shuffled = np.zeros((n, 6), np.int64)
    for changes, message in (
        ({"imgs": None}, "it has no imgs"),
        ({"imgs": np.zeros((n, 32, 32), np.uint8)}, "imgs has shape"),
        ({"latents_classes": shuffled}, "not every combination"),
        ({"imgs": grey}, "imgs holds 7"),
    ):
        with pytest.raises(DataError, match=message):
            collected(Dsprites(64, official(tmp_path / "o.npz", **changes), SMALL))
    with pytest.raises(DataError, match="does not exist"):
        Dsprites(64, str(tmp_path / "none.npz")).open(HALF)
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 and then nothing")
    with pytest.raises(DataError, match=r"not a whole \.npz"):
        Dsprites(64, str(tmp_path / "broken.npz")).open(HALF)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"resolution": 4}, "at least 8"),
        ({"sizes": (4, 1, 1, 1, 1)}, "at most 3 shapes"),
        ({"resolution": 48, "source": "x"}, "64 or 32"),
    ],
)
def test_impossible_arguments_are_named(arguments, message):
    with pytest.raises(DataError, match=message):
        Dsprites(**arguments)
    with pytest.raises(DataError, match="must lie below"):
        Dsprites(32).at([[3, 0, 0, 0, 0]])
