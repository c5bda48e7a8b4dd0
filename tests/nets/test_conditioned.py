import math

import pytest
import torch

from latent_atlas.data.spec import DataSpec, Field
from latent_atlas.nets.conditioned import Conditions, Joined
from latent_atlas.nets.mlp import MLPEncoder

FIELDS = {
    "x": Field("vector", (5,)),
    "labels": Field("class", (), "int64", 3),
    "factors": Field("factors", (3,), "float32", (2, 4, 0)),
    "place": Field("vector", (2,)),
    "words": Field("tokens", (4,), "int64", 7),
}
SPEC = DataSpec("drawn", "x", FIELDS)
BATCH = {
    "labels": torch.tensor([0, 2]),
    "factors": torch.tensor([[1, 3, 0.25], [0, 1, -2.0]]),
    "place": torch.tensor([[0.5, -1], [2, 3]]),
}
BESIDE = torch.zeros(2, 5)


def test_classes_and_factors_are_one_hot_and_numbers_stay():
    seen = Conditions(SPEC, ["labels", "factors", "place"])
    assert seen.width == 3 + (2 + 4 + 1) + 2
    known = [[1, 0, 0, 0, 1, 0, 0, 0, 1, 0.25, 0.5, -1], [0, 0, 1, 1, 0, 0, 1, 0, 0, -2, 2, 3]]
    assert torch.equal(seen(BATCH, BESIDE), torch.tensor(known))


def test_factors_can_be_scaled():
    seen = Conditions(SPEC, ["factors"], scaled=True)
    assert seen.width == 3
    torch.testing.assert_close(seen(BATCH, BESIDE), torch.tensor([[1, 1, 0.25], [0, 1 / 3, -2]]))


def test_nothing_told_is_zeros():
    seen = Conditions(SPEC, ["labels", "factors", "place"])
    assert not seen(None, BESIDE).any()
    gone = seen.hidden(BATCH, 1.0)
    assert all(value.isnan().all() for value in gone.values())
    assert not seen(gone, BESIDE).any()
    assert torch.equal(seen(seen.hidden(BATCH, 0.0), BESIDE), seen(BATCH, BESIDE))


def test_an_item_hides_all_its_conditions_or_none():
    many = {name: value.repeat_interleave(1000, 0) for name, value in BATCH.items()}
    torch.manual_seed(0)
    gone = Conditions.hidden(many, 0.3)
    hides = gone["labels"].isnan()
    assert torch.equal(hides, gone["factors"].isnan().all(1))
    assert torch.equal(hides, gone["place"].isnan().any(1))
    assert hides.float().mean().item() == pytest.approx(0.3, abs=0.04)


def test_what_cannot_be_a_condition_is_named():
    with pytest.raises(ValueError, match="has no field sex for a condition; it has x, labels"):
        Conditions(SPEC, ["sex"])
    with pytest.raises(ValueError, match="words is of kind tokens"):
        Conditions(SPEC, ["words"])


def test_the_joined_encoder_sees_both():
    torch.manual_seed(0)
    net = Joined(MLPEncoder, FIELDS["x"], 3, 4)
    x, seen = torch.randn(6, 5), torch.eye(3).repeat(2, 1)
    assert net(x, seen).shape == (6, 4)
    assert not torch.allclose(net(x, seen), net(x, seen.roll(1, 0)))
    assert not torch.allclose(net(x, seen), net(x.roll(1, 0), seen))
    assert math.prod(net.join[0].weight.shape) == 128 * (128 + 3)
