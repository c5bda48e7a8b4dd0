import pytest
import torch
import zoo
from torch.distributions import Bernoulli, kl_divergence

from latent_atlas.building import instantiate
from latent_atlas.data.spec import DataSpec, Field
from latent_atlas.models.sparse_ae import KINDS, SparseAE, rate_kl, top

SPEC = DataSpec("drawn", "x", {"x": Field("vector", (5,))}, {"train": 64, "val": 0, "test": 0})


def build(sparsity="topk", **changes):
    torch.manual_seed(0)
    net = {key: instantiate(value) for key, value in zoo.small_vae().items() if key != "_target_"}
    return SparseAE(spec=SPEC, **{**net, "latent_size": 12, "k": 3, "sparsity": sparsity, **changes})


def batch(n=32):
    return {"x": torch.randn(n, 5, generator=torch.Generator().manual_seed(0))}


def killed(model, units):
    """Units that no item reaches: their bias is far below the others."""
    last = model.encoder.body[-1]
    with torch.no_grad():
        last.bias[units] = -2.0
        last.weight[units] *= 0.1
    return model


def test_the_largest_stay_and_only_where_positive():
    raw = torch.tensor([[3.0, -1.0, 2.0, 1.0], [-1.0, -2.0, 0.5, -3.0]])
    assert top(raw, 2).tolist() == [[3, 0, 2, 0], [0, 0, 0.5, 0]]
    assert torch.equal(top(raw, 9), raw.relu())


def test_the_rate_term_is_a_kl_of_bernoullis():
    rate = torch.tensor([0.01, 0.05, 0.3, 0.9])
    known = kl_divergence(Bernoulli(torch.tensor(0.05)), Bernoulli(rate)).sum()
    torch.testing.assert_close(rate_kl(rate, 0.05), known)
    assert rate_kl(torch.full((4,), 0.05), 0.05).item() == pytest.approx(0, abs=1e-6)
    assert rate_kl(torch.tensor([0.0, 1.0]), 0.05).isfinite()


@pytest.mark.parametrize("sparsity", KINDS)
def test_the_parts_make_up_the_total(sparsity):
    model, x = build(sparsity, weight=0.7), batch()["x"]
    found = model.loss({"x": x}, "model")
    z = model.encode(x).mode
    pressure = {"topk": torch.tensor(0.0), "l1": z.abs().sum(1).mean(), "kl": rate_kl(z.mean(0), 0.05)}[sparsity]
    torch.testing.assert_close(found.total, -model.decode(z).log_prob(x).mean() + 0.7 * pressure)
    threshold = 0.5 if sparsity == "kl" else 0.0
    assert found.parts["active"].item() == pytest.approx((z > threshold).float().mean().item())
    assert found.parts["dead"] == 0


def test_top_k_of_all_is_l1_without_weight():
    x = batch()
    assert build("topk", k=12).loss(x, "model").total == build("l1", weight=0.0).loss(x, "model").total


@pytest.mark.parametrize("sparsity", KINDS)
def test_every_parameter_takes_part(sparsity):
    model = build(sparsity)
    model.loss(batch(), "model").total.backward()
    assert all(parameter.grad.any() for parameter in model.parameters())


@pytest.mark.parametrize("sparsity", KINDS)
def test_a_dead_unit_fires_on_the_item_where_it_lacked_least(sparsity):
    model, x = killed(build(sparsity, patience=3), [4, 7]), batch()["x"]
    raw = model.encoder(x)
    for _ in range(3):
        before = model.encode(x).mode
        found = model.loss({"x": x}, "model")
    threshold = raw.topk(3).values[:, -1:].relu() if sparsity == "topk" else torch.zeros(len(x), 1)
    least = (threshold - raw).argmin(0)
    active = model.encode(x).mode > (0.5 if sparsity == "kl" else 0.0)
    assert found.parts["dead"].item() >= 2 / 12
    for unit in (4, 7):
        assert not (before[:, unit] > (0.5 if sparsity == "kl" else 0.0)).any()
        above = (raw + model.offset - threshold)[:, unit]
        assert above.argmax() == least[unit]
        assert above.max().item() == pytest.approx(model.MARGIN, abs=1e-5)
    assert active[:, [4, 7]].any()
    assert active[:, [4, 7]].sum() <= 2
    assert (model.offset[model.idle == 0] == 0).all()
    model.loss({"x": x}, "model")
    assert (model.idle[[4, 7]] == 0).any()


def test_revived_units_stay_in_use_and_without_patience_they_stay_dead():
    alive = {}
    for patience in (0, 5):
        model = killed(build(patience=patience), [4, 7])
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        for _ in range(80):
            optimizer.zero_grad()
            model.loss(batch(), "model").total.backward()
            optimizer.step()
        alive[patience] = int((model.encode(batch()["x"]).mode[:, [4, 7]] > 0).any(0).sum())
    assert alive == {0: 0, 5: 2}


def test_only_training_counts_idle_batches():
    model = killed(build(), [4])
    for _ in range(3):
        model.loss(batch(), "model")
    model.eval().loss(batch(), "model")
    assert model.idle[4] == 3
    assert model.idle.max() < 4
    assert "idle" in model.state_dict()


def test_pressure_makes_codes_sparse():
    shares = {}
    for sparsity, weight in (("l1", 0.0), ("l1", 3.0), ("kl", 0.0), ("kl", 3.0)):
        model = build(sparsity, weight=weight)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
        for _ in range(80):
            optimizer.zero_grad()
            found = model.loss(batch(), "model")
            found.total.backward()
            optimizer.step()
        z = model.encode(batch()["x"]).mode
        shares[sparsity, weight] = z.mean().item() if sparsity == "kl" else found.parts["active"].item()
    assert shares["l1", 3.0] < 0.6 * shares["l1", 0.0]
    assert shares["kl", 3.0] == pytest.approx(0.05, abs=0.03)
    assert shares["kl", 0.0] > 0.2


@pytest.mark.parametrize(("changes", "message"), [({"sparsity": "l0"}, "'l0'; it is one of"), ({"k": 0}, "at least 1")])
def test_what_makes_no_sense_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        build(**changes)
