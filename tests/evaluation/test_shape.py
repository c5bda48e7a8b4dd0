import json

import numpy as np
import pytest
import torch
from drawn import write_data

from latent_atlas.data.prepare import prepare
from latent_atlas.evaluation.shape import advice, shape_of, shape_of_data
from latent_atlas.report.datacard import seen as shown


def dots(n, angles):
    """Small images, side by side: in each a dot on a circle."""
    turn, (y, x) = 2 * np.pi * np.random.default_rng(0).random((angles, n, 1, 1)), np.mgrid[:8, :8] - 3.5
    parts = [np.exp(-((x - 2 * np.cos(a)) ** 2 + (y - 2 * np.sin(a)) ** 2) / 2).reshape(n, -1) for a in turn]
    return torch.from_numpy(np.concatenate(parts, 1)).float()


def test_a_ring_and_a_torus_are_known_and_advised():
    ring, torus = shape_of(dots(1300, 1)), shape_of(dots(1300, 2))
    assert ring["advice"] == "About 1 dimension, one loop: try torus_vae with one circle."
    assert torus["advice"] == "About 2 dimensions, two loops: try torus_vae, a product of circles."
    assert torus["h1_noise"] < 0.7 * torus["h1_longest"][1]


def test_noise_has_no_loop_and_clusters_are_pieces():
    assert shape_of(torch.randn(500, 5, generator=torch.Generator().manual_seed(0)))["loops"] == 0
    rng = np.random.default_rng(0)
    far = torch.from_numpy(np.concatenate([rng.normal(size=(150, 3)) + place for place in ([0, 0, 0], [20, 0, 0])]))
    assert shape_of(far)["pieces"] == 2
    assert "2 separate pieces: try gm_vae" in shape_of(far)["advice"]


@pytest.mark.parametrize("x", [torch.zeros(50, 3), torch.randn(4, 3), torch.full((50, 2), torch.nan), torch.eye(3).repeat(20, 1)])
def test_where_nothing_can_be_seen_the_card_says_so_without_a_nan(x):
    found = shape_of(x)
    assert found["advice"].startswith("No shape can be seen")
    json.dumps(found, allow_nan=False)
    assert shown(found)[-1] == ("shape", found["advice"])


def test_the_card_carries_it_and_repeats(tmp_path):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(300, 4)))
    reader = {"_target_": "latent_atlas.data.arrays.Arrays", "path": str(tmp_path / "x.npy")}
    section = {"name": "own", "data": {"reader": reader, "split": {"val": 0.1, "test": 0.2}, "reference_size": 10}}
    cards = [prepare(section, tmp_path / out, describe=shape_of_data) for out in ("1", "2")]
    assert (tmp_path / "1/card.json").read_bytes() == (tmp_path / "2/card.json").read_bytes()
    assert json.loads((tmp_path / "1/card.json").read_text())["shape"] == cards[0]["shape"]
    assert 3 < cards[0]["shape"]["two_nn"] < 5
    assert [name for name, _ in shown(cards[0]["shape"])] == ["intrinsic dimension", "loops", "pieces", "shape"]


def test_tokens_have_no_shape(tmp_path):
    assert shape_of_data(write_data(tmp_path, kind="tokens", n=60)) is None


def test_advice_names_more_than_one_loop():
    assert advice({"loops": 3, "pieces": 1, "two_nn": 2.6}).startswith("About 3 dimensions, 3 loops: try torus_vae")
