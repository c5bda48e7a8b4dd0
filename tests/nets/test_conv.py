import pytest
import torch
from torch import nn
from torch.nn import functional as F

from latent_atlas.nets.conv import ConvDecoder, ConvEncoder, ImageDeconv, halvings, widths


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def published_encoder(channels: int, latents: int) -> int:
    """Parameters of Locatello et al. 2019, table 1, left: four convolutions, FC 256, FC 2 x latents."""
    convolutions = (16 * channels * 32 + 32) + (16 * 32 * 32 + 32) + (4 * 32 * 64 + 64) + (4 * 64 * 64 + 64)
    return convolutions + (1024 * 256 + 256) + (256 * 2 * latents + 2 * latents)


def published_decoder(channels: int, latents: int) -> int:
    """The same table, right: FC 256, FC 4 x 4 x 64, four transposed 4 x 4 convolutions."""
    full = (latents * 256 + 256) + (256 * 1024 + 1024)
    return full + (16 * 64 * 64 + 64) + (16 * 64 * 32 + 32) + (16 * 32 * 32 + 32) + (16 * 32 * channels + channels)


@pytest.mark.parametrize("channels", [1, 3])
def test_64_pixels_is_the_published_network(channels):
    encoder, decoder = ConvEncoder((channels, 64, 64), 20), ConvDecoder(10, (channels, 64, 64))
    assert count(encoder) == published_encoder(channels, 10)
    assert count(decoder) == published_decoder(channels, 10)
    layers = [layer for layer in encoder.features if isinstance(layer, nn.Conv2d)]
    assert [(layer.kernel_size[0], layer.stride[0], layer.out_channels) for layer in layers] == [
        (4, 2, 32), (4, 2, 32), (2, 2, 64), (2, 2, 64),
    ]  # fmt: skip


@pytest.mark.parametrize("shape", [(1, 16, 16), (1, 28, 28), (3, 32, 32), (1, 64, 64), (3, 32, 64), (1, 128, 128), (2, 24, 20)])
def test_shapes_and_layout(shape):
    encoder, decoder = ConvEncoder(shape, 7), ConvDecoder(5, shape)
    x = torch.rand(3, *shape).contiguous(memory_format=torch.channels_last)
    assert encoder(x).shape == (3, 7)
    drawn = decoder(torch.randn(3, 5))
    assert drawn.shape == (3, *shape)
    assert encoder.features(x).is_contiguous(memory_format=torch.channels_last)
    assert drawn.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("outer", [1, 3])
@pytest.mark.parametrize("sides", [(4, 4), (7, 5)])
def test_the_last_layer_is_the_transposed_convolution_and_so_are_its_gradients(sides, outer):
    layer, x = ImageDeconv(6, outer).double(), torch.randn(2, 6, *sides, dtype=torch.float64, requires_grad=True)
    found, expected = layer(x), F.conv_transpose2d(x, layer.weight, layer.bias, 2, 1)
    torch.testing.assert_close(found, expected)
    weight = torch.randn_like(expected)
    leaves = (x, layer.weight, layer.bias)
    for mine, theirs in zip(
        torch.autograd.grad((found * weight).sum(), leaves), torch.autograd.grad((expected * weight).sum(), leaves), strict=True
    ):
        torch.testing.assert_close(mine, theirs)


def test_layout_of_the_input_does_not_change_the_result():
    encoder, x = ConvEncoder((3, 32, 32), 4), torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(encoder(x), encoder(x.contiguous(memory_format=torch.channels_last)))


@pytest.mark.parametrize("side", [28, 32, 64])
def test_every_pixel_is_seen_and_drawn(side):
    encoder, decoder = ConvEncoder((1, side, side), 3), ConvDecoder(3, (1, side, side))
    x = torch.rand(1, 1, side, side, requires_grad=True)
    encoder.features(x).sum().backward()
    assert bool((x.grad != 0).all()), "a pixel outside every receptive field"
    z = torch.randn(8, 3)
    assert bool((decoder(z).std(0) > 0).all()), "a pixel that z cannot change"


@pytest.mark.parametrize(
    ("shape", "n"), [((1, 8, 8), 0), ((1, 30, 30), 0), ((1, 28, 28), 2), ((1, 32, 32), 3), ((3, 64, 64), 4), ((5,), 0)]
)
def test_which_sizes_have_a_member(shape, n):
    assert halvings(shape) == n


def test_widths_are_32_then_64():
    assert [widths(n) for n in (2, 3, 4)] == [[32, 64], [32, 32, 64], [32, 32, 64, 64]]


def test_a_size_without_a_member_is_named():
    with pytest.raises(ValueError, match=r"shape \(1, 30, 30\).*kind=mlp"):
        ConvEncoder((1, 30, 30), 2)


def test_under_autocast_nets_give_float32():
    encoder, decoder = ConvEncoder((1, 32, 32), 4), ConvDecoder(4, (1, 32, 32))
    with torch.autocast("cpu", torch.bfloat16):
        code = encoder(torch.rand(2, 1, 32, 32))
        assert code.dtype == decoder(code).dtype == torch.float32
        assert encoder.features(torch.rand(2, 1, 32, 32)).dtype == torch.bfloat16, "autocast had no effect"
