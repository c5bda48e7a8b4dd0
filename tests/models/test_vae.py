import pytest
import torch
import zoo

from latent_atlas.building import instantiate
from latent_atlas.data.spec import DataSpec, Field

SPEC = DataSpec("drawn", "x", {"x": Field("image", (1, 4, 4), size=2)}, {"train": 64, "val": 0, "test": 0})


def build(**changes):
    torch.manual_seed(0)
    return instantiate(zoo.small_vae(**changes), spec=SPEC)


def batch():
    return {"x": (torch.rand(32, 1, 4, 4, generator=torch.Generator().manual_seed(0)) > 0.5).float()}


def loss(model):
    torch.manual_seed(1)
    return model.loss(batch(), "model")


def test_the_parts_are_the_bound_in_nats_per_sample():
    model, x = build(beta=3.0), batch()["x"]
    found = loss(model)
    q = model.encode(x)
    torch.manual_seed(1)
    log_prob = torch.distributions.Bernoulli(logits=model.decoder(q.sample())).log_prob(x).sum((1, 2, 3))
    normal = torch.distributions.Normal
    rate = torch.distributions.kl_divergence(normal(q.mode, q.scale), normal(0.0, 1.0)).sum(1).mean()
    torch.testing.assert_close(found.parts["distortion"], -log_prob.mean().detach())
    torch.testing.assert_close(found.parts["rate"], rate.detach())
    torch.testing.assert_close(found.parts["nelbo"], (rate - log_prob.mean()).detach())
    torch.testing.assert_close(found.total, 3 * rate - log_prob.mean())


def test_the_bound_does_not_depend_on_beta():
    assert loss(build(beta=1.0)).parts["nelbo"] == loss(build(beta=9.0)).parts["nelbo"] == loss(build(beta=1.0)).total


@pytest.mark.parametrize(("step", "weight"), [(0, 1.0), (5, 3.0), (10, 5.0), (1000, 5.0)])
def test_warm_up_reads_the_step_of_the_model(step, weight):
    model = build(beta=5.0, beta_start=1.0, warmup=10)
    model.step.fill_(step)
    assert model.weight() == pytest.approx(weight)
    found = loss(model)
    torch.testing.assert_close(found.total.detach(), found.parts["distortion"] + weight * found.parts["rate"])


def test_without_warm_up_beta_holds_from_the_start():
    assert build(beta=5.0, beta_start=1.0).weight() == 5.0


@pytest.mark.parametrize("name", ["token_model", "count_model"])
def test_the_same_class_finds_the_structure_of_tokens_and_counts(name):
    """Items of two prototypes: only a code that tells them apart beats independent entries with the true marginals."""
    generator = torch.Generator().manual_seed(0)
    which = torch.randint(2, (64, 1), generator=generator)
    tokens = torch.where(which == 0, torch.tensor([0, 1, 2, 3, 4, 0]), torch.tensor([1, 2, 3, 4, 0, 4]))
    counts = torch.poisson(
        torch.where(which == 0, torch.tensor([1.0, 9, 1, 9, 1, 9]), torch.tensor([9.0, 1, 9, 1, 9, 1])), generator
    )
    entropy = -sum((share * share.log()).sum() for share in (which.float().mean(), 1 - which.float().mean()))
    marginals = torch.distributions.Poisson(counts.mean(0))
    kind, x, field, independent = {
        "token_model": ("tokens", tokens, Field("tokens", (6,), "int64", 5), 6 * entropy),
        "count_model": ("counts", counts, Field("counts", (6,)), -marginals.log_prob(counts).sum(1).mean()),
    }[name]
    torch.manual_seed(0)
    model = instantiate(zoo.CONF[name]["net"], spec=DataSpec(kind, kind, {kind: field}, {"train": 64, "val": 0, "test": 0}))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(200):
        optimizer.zero_grad()
        found = model.loss({kind: x}, "model")
        found.total.backward()
        optimizer.step()
    assert found.parts["nelbo"] < independent - 1.5
    assert model.sample(3).shape == ((3, 6, 5) if kind == "tokens" else (3, 6))


def test_under_autocast_the_losses_are_float32():
    model = build()
    with torch.autocast("cpu", torch.bfloat16):
        found = loss(model)
    assert found.total.dtype == torch.float32
    assert found.total.item() == pytest.approx(loss(model).total.item(), rel=0.02)
