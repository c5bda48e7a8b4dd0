import pytest
import torch
import zoo

from latent_atlas.building import instantiate
from latent_atlas.data.spec import DataSpec, Field
from latent_atlas.metrics.aggregate import mmd
from latent_atlas.models.ae import AE
from latent_atlas.models.wae import squared_mmd, to_prior
from latent_atlas.spaces.kernels import imq


def normal(n, d, seed, scale=1.0, shift=0.0):
    return shift + scale * torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def kernel(a, b):
    """The published sum of inverse multiquadratics, here their mean, of one pair."""
    scales, square = (0.1, 0.2, 0.5, 1, 2, 5, 10), float((a - b).square().sum())
    return sum(2 * len(a) * s / (2 * len(a) * s + square) for s in scales) / 7


def test_it_is_the_definition_pair_by_pair():
    z, p = normal(6, 3, 0, 0.5), normal(6, 3, 1)
    known = sum(kernel(z[i], z[j]) + kernel(p[i], p[j]) for i in range(6) for j in range(6) if i != j) / 30
    known -= 2 * sum(kernel(a, b) for a in z for b in p) / 36
    assert squared_mmd(z, p).item() == pytest.approx(known, abs=1e-12)


@pytest.mark.parametrize("name", ["imq", "rbf"])
def test_it_trains_what_the_metric_measures(name):
    z, p = normal(800, 4, 0, 0.5), normal(800, 4, 1)
    found = squared_mmd(z, p, name).item()
    assert found == pytest.approx(mmd(z, p, name, permutations=2).value, abs=2e-3)
    assert found > 0.01


def test_equal_clouds_are_at_0_on_average():
    found = torch.stack([squared_mmd(normal(32, 4, 2 * seed), normal(32, 4, 2 * seed + 1)) for seed in range(300)])
    assert found.mean().item() == pytest.approx(0, abs=4 * found.std().item() / 300**0.5)
    assert (found < 0).any()


@pytest.mark.parametrize("name", ["imq", "rbf"])
def test_its_gradient_is_right_and_finite_where_codes_meet(name):
    z, p = normal(5, 3, 0).requires_grad_(), normal(5, 3, 1)
    assert torch.autograd.gradcheck(lambda z: squared_mmd(z, p, name), z)
    same = torch.zeros(5, 3, requires_grad=True)
    squared_mmd(same, p.float(), name).backward()
    assert same.grad.isfinite().all()


def test_codes_move_to_the_prior_by_it_alone():
    z = normal(128, 3, 0, 0.3, 1.0).requires_grad_()
    optimizer = torch.optim.Adam([z], lr=0.05)
    for seed in range(200):
        optimizer.zero_grad()
        squared_mmd(z, normal(128, 3, 1 + seed)).backward()
        optimizer.step()
    assert z.mean(0).abs().max().item() < 0.25
    assert z.std(0).detach() == pytest.approx(torch.ones(3).double(), abs=0.25)


def test_a_single_code_is_drawn_to_the_prior():
    z = torch.full((1, 3), 2.0, requires_grad=True)
    squared_mmd(z, torch.zeros(1, 3)).backward()
    assert (z.grad > 0).all()


def test_a_kernel_without_a_gradient_is_refused():
    with pytest.raises(ValueError, match="'energy'; it is one of imq, rbf"):
        squared_mmd(normal(4, 2, 0), normal(4, 2, 1), "energy")


def test_a_far_pair_counts_little():
    assert imq(torch.tensor([0.0, 1e9]), 3.0) == pytest.approx(torch.tensor([1.0, 0.0]), abs=1e-5)


def test_the_loss_is_the_autoencoders_and_its_weight_times_the_distance():
    spec = DataSpec("drawn", "x", {"x": Field("vector", (5,))}, {"train": 64, "val": 0, "test": 0})
    torch.manual_seed(0)
    net = {key: instantiate(value) for key, value in zoo.small_vae().items() if key != "_target_"}
    model, x = AE(spec, **net), torch.randn(16, 5, generator=torch.Generator().manual_seed(0))
    plain = model.loss({"x": x}, "model").total
    model.penalty = lambda *given: to_prior(*given, weight=7.0)
    torch.manual_seed(1)
    found = model.loss({"x": x}, "model")
    torch.manual_seed(1)
    known = squared_mmd(model.encode(x).mode, model.space.sample(16))
    torch.testing.assert_close(found.parts["mmd"], known.detach())
    torch.testing.assert_close(found.total, plain + 7 * known)
