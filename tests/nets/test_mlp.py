import pytest
import torch

from latent_atlas.data.spec import Field
from latent_atlas.nets.mlp import Flatten, MLPDecoder, MLPEncoder

FIELDS = {
    "image": (Field("image", (1, 8, 8)), torch.rand(3, 1, 8, 8)),
    "vector": (Field("vector", (5,)), torch.randn(3, 5)),
    "counts": (Field("counts", (6,)), torch.poisson(torch.full((3, 6), 4.0))),
    "tokens": (Field("tokens", (4,), "int64", 7), torch.randint(7, (3, 4))),
}


@pytest.mark.parametrize("kind", FIELDS)
def test_encodes_every_kind(kind):
    field, x = FIELDS[kind]
    assert MLPEncoder(field, 2, [8])(x).shape == (3, 2)


def test_channels_last_is_flattened_in_channel_order():
    x = torch.rand(2, 3, 4, 4)
    flat = Flatten(Field("image", (3, 4, 4)))(x.contiguous(memory_format=torch.channels_last))
    assert torch.equal(flat, x.reshape(2, -1))


def test_counts_are_compressed_and_tokens_embedded():
    counts = torch.tensor([[0.0, 1.0, 1000.0]])
    torch.testing.assert_close(Flatten(Field("counts", (3,)))(counts), torch.log1p(counts))
    embed = Flatten(Field("tokens", (2,), "int64", 100))
    assert embed.outputs == 2 * 32
    rows = embed(torch.tensor([[5, 9], [9, 5]])).reshape(2, 2, 32)
    assert torch.equal(rows[0, 0], rows[1, 1])
    assert not torch.equal(rows[0, 0], rows[0, 1])


def test_tokens_without_a_vocabulary_are_refused():
    with pytest.raises(ValueError, match="vocabulary"):
        Flatten(Field("tokens", (2,), "int64"))


def test_decodes_to_any_shape_and_counts_its_parameters():
    decoder = MLPDecoder(3, (4, 7), [8])
    assert decoder(torch.randn(2, 3)).shape == (2, 4, 7)
    assert sum(p.numel() for p in decoder.parameters()) == (3 * 8 + 8) + (8 * 28 + 28)


def test_norm_makes_hidden_layers_blind_to_scale_and_offset():
    torch.manual_seed(0)
    for norm in (False, True):
        first, *_, last = body = MLPDecoder(3, (5,), [8], norm).body
        z = torch.randn(2, 3)
        assert isinstance(first, torch.nn.Linear)
        assert isinstance(last, torch.nn.Linear)
        before = body(z)
        with torch.no_grad():
            first.weight.mul_(3.0)
            first.bias.mul_(3.0).add_(2.0)
        assert torch.allclose(before, body(z), atol=1e-4) is norm
