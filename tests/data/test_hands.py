import numpy as np
import pytest

from latent_atlas.data.datamodule import DataModule
from latent_atlas.data.hands import HANDS, Hands
from latent_atlas.data.reader import DataError
from latent_atlas.data.splits import Split
from latent_atlas.data.store import write

HALF = Split(0.1, 0.2)


@pytest.mark.parametrize(("hands", "steps"), [(1, 60), (2, 9)])
def test_every_combination_once_and_at_gives_its_picture(tmp_path, hands, steps):
    reader = Hands(hands, steps, 20)
    write(reader.open(HALF), tmp_path / "d", name="d", split=HALF, reference_size=5)
    module = DataModule(tmp_path / "d")
    stored = module.take(range(len(module)))
    grid = np.stack(np.unravel_index(np.arange(steps**hands), (steps,) * hands), axis=1)
    np.testing.assert_array_equal(stored["factors"].numpy(), grid)
    np.testing.assert_array_equal(np.rint(255 * stored["image"].numpy()), reader.at(grid).transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(module.at(grid[:7])["image"].numpy(), stored["image"][:7].numpy())
    assert len(np.unique(reader.at(grid).reshape(len(grid), -1), axis=0)) == len(grid)  # no two combinations look alike


def test_a_hand_points_where_its_angle_says():
    """Centre of mass against the segment's own middle, and a quarter turn against the turned picture."""
    reader = Hands(1, 360, 64)
    images = reader.at(np.arange(0, 360, 7)[:, None])[..., 0] / 255.0
    centres = (np.arange(64) + 0.5) / 64 - 0.5
    mass = images.sum((1, 2))
    x, y = (images.sum(1) * centres).sum(1) / mass, (images.sum(2) * centres).sum(1) / mass
    angle = np.deg2rad(np.arange(0, 360, 7))
    np.testing.assert_allclose((np.arctan2(y, x) - angle + np.pi) % (2 * np.pi) - np.pi, 0, atol=0.01)
    length, half, _ = HANDS[0]
    np.testing.assert_allclose(np.hypot(x, y), (length - half) / 2, rtol=0.02)
    np.testing.assert_allclose(mass, (2 * half * (length - half) + np.pi * half**2) * 64**2, rtol=0.03)
    quarter, turned = reader.at([[17], [107]])[..., 0].astype(int)
    assert np.abs(np.rot90(quarter, -1) - turned).max() <= 1


def test_neighbouring_angles_are_neighbouring_pictures_all_the_way_round():
    contents = Hands(1, 256).open(HALF)
    (chunk,) = contents.chunks()
    flat = chunk["image"].reshape(256, -1).astype(float)
    steps = np.linalg.norm(flat - np.roll(flat, -1, 0), axis=1)
    assert steps.max() < 1.5 * np.median(steps)
    assert steps[-1] < 1.5 * np.median(steps)  # from the last to the first
    assert steps.min() > 0
    assert contents.factors["angle"][64] == pytest.approx(np.pi / 2)


def test_impossible_arguments_are_named():
    for arguments in ({"hands": 3}, {"steps": 2}, {"resolution": 4}):
        with pytest.raises(DataError, match="1 or 2"):
            Hands(**arguments)
