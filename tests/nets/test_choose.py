import pytest

from latent_atlas.data.spec import Field
from latent_atlas.nets.choose import decoder, encoder
from latent_atlas.nets.conv import ConvDecoder, ConvEncoder
from latent_atlas.nets.mlp import MLPDecoder, MLPEncoder


@pytest.mark.parametrize(
    ("shape", "kind", "expected"),
    [
        ((1, 64, 64), "auto", (ConvEncoder, ConvDecoder)),
        ((1, 28, 28), "auto", (ConvEncoder, ConvDecoder)),
        ((1, 8, 8), "auto", (MLPEncoder, MLPDecoder)),
        ((3, 30, 50), "auto", (MLPEncoder, MLPDecoder)),
        ((1, 64, 64), "mlp", (MLPEncoder, MLPDecoder)),
    ],
)
def test_convolutions_where_they_fit(shape, kind, expected):
    field = Field("image", shape)
    assert (type(encoder(field, 4, kind)), type(decoder(2, shape, kind))) == expected


def test_what_is_not_an_image_gets_a_fully_connected_encoder():
    assert isinstance(encoder(Field("points", (3, 32, 32)), 4), MLPEncoder)


def test_an_unknown_kind_is_named():
    with pytest.raises(ValueError, match="'transformer'; it is one of auto, conv, mlp"):
        encoder(Field("vector", (3,)), 4, "transformer")
