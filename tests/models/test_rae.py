import pytest
import torch
import zoo
from torch.autograd.functional import jacobian

from latent_atlas.building import instantiate
from latent_atlas.data.spec import DataSpec, Field
from latent_atlas.models.ae import AE
from latent_atlas.models.rae import RAE, squared_jacobian

SPEC = DataSpec("drawn", "x", {"x": Field("image", (1, 4, 4))}, {"train": 64, "val": 0, "test": 0})


def build(cls=RAE, **changes):
    torch.manual_seed(0)
    net = {key: instantiate(value) for key, value in zoo.small_vae().items() if key != "_target_"}
    return cls(spec=SPEC, **net, **changes)


def batch(n=16):
    return {"x": torch.rand(n, 1, 4, 4, generator=torch.Generator().manual_seed(0))}


def loss(model):
    torch.manual_seed(1)
    return model.loss(batch(), "model")


def test_the_gradient_penalty_is_the_squared_jacobian_on_average():
    model = build()
    z = model.encode(batch(3)["x"]).mode.detach()
    known = torch.stack([jacobian(lambda a: model.decode(a[None]).mean, row).square().sum() for row in z])
    torch.manual_seed(0)
    found = squared_jacobian(model.decode, z.repeat(3000, 1)).reshape(3000, 3).mean(0)
    torch.testing.assert_close(found.detach(), known, rtol=0.05, atol=0)


def test_one_output_needs_no_average():
    """With J a row the random sign squares away."""

    class Decoded:
        def __init__(self, z):
            self.mean = z.pow(3).sum(1, keepdim=True)

    z = torch.tensor([[1.0, 2.0], [0.5, -1.0]])
    torch.testing.assert_close(squared_jacobian(Decoded, z).detach(), (9 * z**4).sum(1))


def test_the_parts_make_up_the_total():
    plain = loss(build(AE)).total
    for regularizer in ("l2", "gradient"):
        model = build(regularizer=regularizer, code_weight=0.3, decoder_weight=2.0)
        found = loss(model)
        length = 0.5 * model.encode(batch()["x"]).mode.square().sum(1).mean()
        torch.testing.assert_close(found.parts["code_length"], length.detach())
        torch.testing.assert_close(found.total, plain + 0.3 * length + 2 * found.parts[f"decoder_{regularizer}"])
    squares = sum(parameter.square().sum() for parameter in build().decoder.parameters())
    torch.testing.assert_close(loss(build(regularizer="l2")).parts["decoder_l2"], squares.detach())


def test_without_weights_it_is_the_autoencoder():
    assert loss(build(regularizer="none", code_weight=0.0)).total == loss(build(AE)).total
    assert loss(build(code_weight=0.0, decoder_weight=0.0)).total == loss(build(AE)).total


def test_layers_of_a_spectral_decoder_stretch_by_no_more_than_1():
    model = build(regularizer="spectral")
    with torch.no_grad():
        for parameter in model.decoder.parameters():
            parameter.mul_(10)
        for _ in range(50):
            model.decoder(torch.randn(4, 3))  # each pass in training improves the estimate of the norm
    model.eval()
    found = [torch.linalg.matrix_norm(layer.weight, 2).item() for layer in model.decoder.body if hasattr(layer, "weight")]
    assert found == pytest.approx([1.0, 1.0], abs=0.02)
    assert len(model.encoder.state_dict()) == len(build(AE).encoder.state_dict())


def test_training_makes_the_decoder_smooth():
    slopes = {}
    for weight in (0.0, 10.0):
        model = build(decoder_weight=weight)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
        for _ in range(60):
            optimizer.zero_grad()
            loss(model).total.backward()
            optimizer.step()
        slopes[weight] = loss(model).parts["decoder_gradient"].item()
    assert slopes[10.0] < 0.5 * slopes[0.0]


def test_a_held_out_loss_needs_no_gradient():
    model = build().eval()
    with torch.no_grad():
        found = loss(model)
    torch.testing.assert_close(found.parts["decoder_gradient"], loss(model).parts["decoder_gradient"])


def test_an_unknown_regularizer_is_named():
    with pytest.raises(ValueError, match="'l1'; it is one of none, l2, gradient, spectral"):
        build(regularizer="l1")
