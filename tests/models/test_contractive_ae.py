import pytest
import torch
import zoo
from torch.autograd.functional import jacobian

from latent_atlas.building import instantiate
from latent_atlas.data.spec import DataSpec, Field
from latent_atlas.models.ae import AE
from latent_atlas.models.contractive_ae import contraction, squared_jacobian

SPEC = DataSpec("drawn", "x", {"x": Field("vector", (6,))}, {"train": 64, "val": 0, "test": 0})


def build(penalty=None, **changes):
    torch.manual_seed(0)
    net = {key: instantiate(value) for key, value in zoo.small_vae(**changes).items() if key != "_target_"}
    return AE(spec=SPEC, penalty=penalty, **net)


def items(n=16):
    return torch.randn(n, 6, generator=torch.Generator().manual_seed(0))


def known(model, x):
    return torch.stack([jacobian(lambda a: model.encode(a[None]).mode, row).square().sum() for row in x])


def test_it_is_the_frobenius_norm_of_the_jacobian():
    model, x = build(), items()
    found = squared_jacobian(lambda a: model.encode(a).mode, x)
    torch.testing.assert_close(found.detach(), known(model, x))


@pytest.mark.parametrize("probes", [1, 2])
def test_fewer_directions_are_right_on_average(probes):
    model, x = build(), items(4)
    torch.manual_seed(0)
    draws = torch.stack([squared_jacobian(lambda a: model.encode(a).mode, x, probes).detach() for _ in range(600)])
    torch.testing.assert_close(draws.mean(0), known(model, x), rtol=0.1, atol=0)
    assert (draws.std(0) > 0).all()


@pytest.mark.parametrize("probes", [3, 50])
def test_all_directions_are_exact(probes):
    model, x = build(), items()
    torch.testing.assert_close(squared_jacobian(lambda a: model.encode(a).mode, x, probes).detach(), known(model, x))


def test_a_linear_code_has_the_norm_of_its_matrix_and_its_gradient():
    matrix = torch.randn(6, 3, generator=torch.Generator().manual_seed(1)).requires_grad_()
    found = squared_jacobian(lambda a: a @ matrix, items(5))
    torch.testing.assert_close(found, matrix.square().sum().expand(5))
    found.mean().backward()
    torch.testing.assert_close(matrix.grad, 2 * matrix.detach())


def test_the_loss_is_the_autoencoders_and_its_weight_times_the_norm():
    model, x = build(lambda *given: contraction(*given, weight=0.4)), items()
    found, plain = model.loss({"x": x}, "model"), build().loss({"x": x}, "model")
    torch.testing.assert_close(found.total, plain.total + 0.4 * known(model, x).mean())
    torch.testing.assert_close(found.parts["contraction"], known(model, x).mean())
    with torch.no_grad():
        assert model.loss({"x": x}, "model").total == found.total


def test_training_contracts():
    norms = {}
    for weight in (0.0, 1.0):
        model, x = build(lambda *given, w=weight: contraction(*given, weight=w)), items(64)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
        for _ in range(50):
            optimizer.zero_grad()
            model.loss({"x": x}, "model").total.backward()
            optimizer.step()
        norms[weight] = known(model, x).mean().item()
    assert norms[1.0] < 0.5 * norms[0.0]
