import math

import pytest
import torch
import zoo

from latent_atlas.building import instantiate
from latent_atlas.data.spec import DataSpec, Field
from latent_atlas.metrics.collapse import latent_information
from latent_atlas.metrics.likelihood import nll
from latent_atlas.spaces.flow import FlowPrior

SIZES = {"train": 64, "val": 0, "test": 0}


def build(field, moved=0.2, **more):
    torch.manual_seed(0)
    flow = zoo.partial("zuko.flows.RealNVP", transforms=4, hidden_features=[16], randmask=True)
    net = {"_target_": "latent_atlas.models.flow.Flow", "flow": flow, "optimizer": zoo.adam(), **more}
    model = instantiate(net, spec=DataSpec("drawn", "x", {"x": field}, SIZES))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(moved * torch.randn_like(parameter))
    return model


def images(levels, shape=(1, 3, 2), n=32):
    return torch.randint(levels, (n, *shape), generator=torch.Generator().manual_seed(1)) / (levels - 1)


@pytest.mark.parametrize("levels", [2, 17, 256])
def test_decoding_an_encoded_image_gives_it_back_bit_for_bit(levels):
    model, x = build(Field("image", (1, 3, 2), size=levels)), images(levels)
    model.prepare([{"x": x}])
    q = model.encode(x)
    assert torch.equal(model.decode(q.mode).mean, x)
    assert torch.equal(model.decode(q.sample()).mean, x)
    assert model.decode(q.sample()).log_prob(x).tolist() == [0.0] * len(x)
    other = x.clone()
    other[0, 0, 0, 0] = 1 - other[0, 0, 0, 0]
    assert model.decode(q.mode).log_prob(other)[0] == -math.inf


def test_fewer_levels_than_the_field_holds_come_back_as_they_are_stored():
    x = torch.round(images(17) * 255) / 255
    model = build(Field("image", (1, 3, 2), size=256), levels=17)
    model.prepare([{"x": x}])
    assert torch.equal(model.decode(model.encode(x).sample()).mean, x)


def test_vectors_come_back_within_rounding():
    model, x = build(Field("vector", (5,))), 3 + 20 * torch.randn(32, 5)
    model.prepare([{"x": x}])
    torch.testing.assert_close(model.decode(model.encode(x).mode).mean, x, atol=1e-2, rtol=1e-3)
    assert torch.equal(model.encode(x).mode, model.encode(x).sample()), "a continuous item has one code"
    assert model.decode(model.encode(x).mode).log_prob(x).tolist() == [0.0] * len(x)
    assert model.decode(model.encode(x).mode).log_prob(x + 10).max() == -math.inf


@pytest.mark.parametrize("kind", ["image", "vector"])
def test_the_density_has_the_log_determinant_of_autograd(kind):
    field = Field("image", (1, 3, 2), size=17) if kind == "image" else Field("vector", (6,))
    model = build(field)
    x = images(17, n=8) if kind == "image" else torch.randn(8, 6)
    model.prepare([{"x": x}])
    model = model.double()
    v = model.data.levels(x).double() + (torch.rand(8, 6).double() if kind == "image" else 0)
    z, log_det = model.inward(v)
    for row, found in zip(v, log_det, strict=True):
        jacobian = torch.autograd.functional.jacobian(lambda point: model.inward(point[None])[0][0], row)
        torch.testing.assert_close(found, torch.linalg.slogdet(jacobian)[1])
    torch.testing.assert_close(model.outward(z), v)


def test_an_unmoved_flow_is_a_normal_with_the_measured_moments():
    model = build(Field("vector", (5,)), moved=0.0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    x = 3 + 2 * torch.randn(200, 5)
    model.prepare([{"x": x}])
    expected = torch.distributions.Normal(x.mean(0), x.std(0, correction=0)).log_prob(x).sum(1).mean()
    found = model.loss({"x": x}, "model")
    torch.testing.assert_close(found.total, -expected)
    torch.testing.assert_close(found.parts["bits_per_dimension"], -expected / 5 / math.log(2))


def weights(model, x, draws):
    """log p(x | z) + log p(z) - log q(z | x), as evaluation computes them."""
    several = x.repeat_interleave(draws, 0)
    q = model.encode(several)
    z = q.sample(torch.Generator().manual_seed(0))
    found = model.decode(z).log_prob(several) + model.space.log_prob(z) - q.log_prob(z)
    return found.detach().reshape(-1, draws)


def test_the_importance_weights_of_a_vector_are_its_density():
    model, x = build(Field("vector", (3,))), torch.randn(8, 3)
    prior = FlowPrior((3,), lambda features, context: model.flow)
    with torch.no_grad():
        # the same flow as a prior on vectors; making it one shrank the last layers, of both
        expected = prior.log_prob(x)
        assert torch.allclose(weights(model, x, 4), expected[:, None].expand(-1, 4), atol=1e-5)


@pytest.mark.parametrize("kind", ["image", "vector"])
def test_a_code_tells_its_item_from_every_other(kind):
    """q(z_i | x_j) is 0 for any other item, so that the code of N different ones holds log N nats."""
    field = Field("image", (1, 3, 2), size=17) if kind == "image" else Field("vector", (6,))
    model, x = build(field), images(17) if kind == "image" else torch.randn(32, 6)
    model.prepare([{"x": x}])
    q = model.encode(x)
    z = q.sample()
    torch.testing.assert_close(q.log_prob(z.clone()), q.log_prob(z), atol=1e-3, rtol=1e-4)
    assert q.log_prob(z.roll(1, 0)).max() == -math.inf
    density = torch.stack([model.encode(x[j : j + 1].expand_as(x)).log_prob(z) for j in range(32)], 1)
    assert latent_information(density.detach()).value == pytest.approx(math.log(32))


def test_the_probabilities_of_all_discrete_items_sum_to_one():
    """Two binary pixels and their four images: nll over many draws of u is -log P(x). The logit's margin holds the little else."""
    model = build(Field("image", (1, 1, 2), size=2), alpha=1e-4)
    x = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]).reshape(4, 1, 1, 2)
    model.prepare([{"x": x}])
    total = sum(math.exp(-nll(weights(model, item[None], 40_000)).value) for item in x)
    assert total == pytest.approx(1.0, abs=0.03)


def test_it_learns_that_two_entries_are_one():
    """log p of correlated normals tends to the true one, far above that of independent entries."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(512, 2, generator=generator)
    x = noise @ torch.tensor([[1.0, 0.95], [0.0, (1 - 0.95**2) ** 0.5]])
    model = build(Field("vector", (2,)), moved=0.0)
    model.prepare([{"x": x}])
    before = model.loss({"x": x}, "model").total.item()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(150):
        optimizer.zero_grad()
        total = model.loss({"x": x}, "model").total
        total.backward()
        optimizer.step()
    gain = -0.5 * math.log(1 - 0.95**2)  # the mutual information of the entries, 1.16 nats
    assert before - total.item() == pytest.approx(gain, abs=0.15)
