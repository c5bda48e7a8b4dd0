import numpy as np
import pytest
import torch
import zoo
from drawn import write_data

from latent_atlas.building import instantiate
from latent_atlas.data.datamodule import DataModule
from latent_atlas.evaluation.pictures import CELL, FRAMES, GAP, MARGIN, draw, grid, pixels, save


def built(data, name="small_vae"):
    torch.manual_seed(0)
    return instantiate(zoo.CONF[name]["net"], spec=data.spec).eval()


@pytest.fixture
def data(tmp_path):
    return DataModule(write_data(tmp_path, kind="image", n=200))


@torch.no_grad()
def test_walks_end_at_the_reconstructions_and_traversals_leave_the_other_dimensions(data):
    model, witnesses = built(data), data.witnesses()
    codes = model.encode(data.take(data.rows("test"))["image"]).mode
    found = draw(model, witnesses, codes, [2, 0], seed=0)
    shape = (16, 16, 1)
    assert found["witnesses"].shape == found["reconstructions"].shape == found["samples"].shape == (8, *shape)
    assert found["interpolations"].shape == (4, FRAMES, *shape)
    assert found["traversals"].shape == (2, FRAMES, *shape)
    # Geodesics end where they should up to float rounding, which may move one grey level.
    ends = found["reconstructions"].astype(int)
    assert np.abs(found["interpolations"][:, 0] - ends[0::2]).max() <= 1
    assert np.abs(found["interpolations"][:, -1] - ends[1::2]).max() <= 1
    low, high = np.percentile(codes[:, 2].numpy(), [2, 98])
    np.testing.assert_allclose(found["traversal_values"][0], np.linspace(low, high, FRAMES), atol=1e-5)
    z = model.encode(witnesses["image"]).mode[:1].repeat(FRAMES, 1)
    z[:, 2] = torch.from_numpy(found["traversal_values"][0])
    np.testing.assert_array_equal(found["traversals"][0], pixels(model.decode(z).mean))


@torch.no_grad()
def test_draws_of_the_prior_depend_on_the_seed_alone(data):
    model = built(data)
    first, again, other = (draw(model, data.witnesses(), None, [], seed=s)["samples"] for s in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@torch.no_grad()
def test_a_model_without_an_encoder_shows_its_samples_alone(data):
    assert set(draw(built(data, "two_players"), data.witnesses(), None, [], seed=0)) == {"witnesses", "samples"}


def test_images_grow_by_whole_pixels_and_keep_their_place():
    images = np.random.default_rng(0).integers(0, 256, (3, 10, 8, 1)).astype(np.uint8)
    canvas = np.asarray(grid([images, images[:2]]))
    scale = CELL // 10
    assert canvas.shape == (2 * MARGIN + 20 * scale + GAP, 2 * MARGIN + 24 * scale + 2 * GAP, 3)
    cell = canvas[MARGIN : MARGIN + 10 * scale, MARGIN + 8 * scale + GAP :][:, : 8 * scale, 0]
    np.testing.assert_array_equal(cell, images[1, :, :, 0].repeat(scale, 0).repeat(scale, 1))
    assert (canvas[:MARGIN] == 255).all()
    assert (canvas[-MARGIN - 1, -MARGIN - 1] == 255).all()  # the third place of the second row is empty


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_any_number_of_channels_is_shown_and_large_images_are_not_shrunk(channels):
    canvas = grid([np.zeros((1, 100, 90, channels), np.uint8)])
    assert canvas.size == (2 * MARGIN + 90, 2 * MARGIN + 100)


def test_only_pictures_that_exist_are_written(tmp_path):
    images = np.zeros((2, 4, 4, 1), np.uint8)
    written = save({"witnesses": images, "samples": images}, tmp_path)
    assert [path.name for path in written] == ["samples.png"]
    assert set(np.load(tmp_path / "pictures.npz").files) == {"witnesses", "samples"}
