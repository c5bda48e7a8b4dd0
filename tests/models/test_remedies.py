"""What keeps a posterior from collapsing: floors of the KL, against closed forms, and updates of the encoder alone."""

import pytest
import torch
import zoo
from scipy.special import lambertw

from latent_atlas.building import instantiate
from latent_atlas.data.spec import DataSpec, Field
from latent_atlas.models.remedies import BatchNormHead, FloorHead, largest_variance
from latent_atlas.spaces.euclidean import Euclidean
from latent_atlas.training.module import Fit

SPEC = DataSpec("drawn", "x", {"x": Field("image", (1, 4, 4), size=2)}, {"train": 64, "val": 0, "test": 0})
DIM = 3


def raw(n=64, scale=3.0):
    return scale * torch.randn(n, 2 * DIM, generator=torch.Generator().manual_seed(0)) + 1


def test_batch_normed_means_have_their_moments():
    head = BatchNormHead(Euclidean(DIM), gamma=0.7)
    with torch.no_grad():
        head.shift.copy_(torch.tensor([0.0, 1.0, -2.0]))
    q = head(raw())
    torch.testing.assert_close(q.mode.mean(0), head.shift.detach(), atol=1e-5, rtol=0)
    torch.testing.assert_close(q.mode.std(0, correction=0), torch.full((DIM,), 0.7), atol=1e-4, rtol=0)


@pytest.mark.parametrize("scale", [0.01, 1.0, 100.0])
def test_the_kl_of_batch_normed_means_has_its_floor(scale):
    head = BatchNormHead(Euclidean(DIM), gamma=0.7)
    assert head(raw(scale=scale)).kl(Euclidean(DIM)).mean() >= 0.5 * DIM * 0.7**2 - 1e-3
    flat = torch.cat((raw(scale=scale)[:, :DIM], torch.zeros(64, DIM)), 1)  # variances of the prior: the floor is reached
    assert head(flat).kl(Euclidean(DIM)).mean().item() == pytest.approx(0.5 * DIM * 0.7**2, rel=1e-3)


def test_in_eval_mode_an_item_does_not_see_its_neighbours():
    head = BatchNormHead(Euclidean(DIM))
    for _ in range(200):
        head(raw())
    trained = head(raw()).mode
    head.eval()
    torch.testing.assert_close(head(raw()).mode, trained, atol=0.02, rtol=0)
    torch.testing.assert_close(head(raw()[:1]).mode[0], head(raw()).mode[0])


@pytest.mark.parametrize("nats", [1e-3, 0.1, 1.0, 20.0])
def test_the_largest_variance_is_lamberts(nats):
    known = -lambertw(-torch.exp(torch.tensor(-1 - 2 * nats, dtype=torch.float64)).item()).real
    assert largest_variance(nats) == pytest.approx(known, rel=1e-6)


@pytest.mark.parametrize("delta", [0.3, 5.0])
def test_the_floor_holds_for_any_output_and_is_reached(delta):
    head, space = FloorHead(Euclidean(DIM), delta), Euclidean(DIM)
    for scale in (0.1, 10.0, 1000.0):
        assert head(raw(256, scale)).kl(space).min() >= delta * (1 - 1e-4)
    lowest = torch.cat((torch.zeros(1, DIM), torch.full((1, DIM), -50.0)), 1)
    assert head(lowest).kl(space).item() == pytest.approx(delta, rel=1e-3)


def build(**changes):
    torch.manual_seed(0)
    return instantiate(zoo.small_vae(**changes), spec=SPEC)


def batch():
    return {"x": (torch.rand(32, 1, 4, 4, generator=torch.Generator().manual_seed(0)) > 0.5).float(), "index": torch.arange(32)}


def test_aggressive_training_updates_the_encoder_first_and_more_often():
    players = build(encoder_updates=4).players()
    assert [(name, player.repeat) for name, player in players.items()] == [("encoder", 4), ("decoder", 1)]
    model = build(encoder_updates=4)
    own = {name: {id(p) for p in player.parameters()} for name, player in model.players().items()}
    assert own["encoder"] == {id(p) for p in model.encoder.parameters()}
    assert own["encoder"] | own["decoder"] == {id(p) for p in model.parameters()}
    assert not own["encoder"] & own["decoder"]


def test_one_update_is_the_plain_model():
    assert list(build(encoder_updates=1).players()) == ["model"]


def test_both_players_minimize_the_same_loss():
    model = build(encoder_updates=2)
    totals = []
    for player in model.players():
        torch.manual_seed(1)
        totals.append(model.loss(batch(), player).total)
    assert totals[0] == totals[1]


def test_cycles_reach_the_weight():
    model = build(beta=2.0, warmup=10, cycles=2)
    for step, weight in ((0, 0.0), (10, 2.0), (20, 0.0), (25, 1.0), (40, 2.0)):
        model.step.fill_(step)
        assert model.weight() == pytest.approx(weight)


@pytest.mark.parametrize(
    "changes",
    [
        {"posterior": zoo.partial("latent_atlas.models.remedies.BatchNormHead", gamma=0.5)},
        {"posterior": zoo.partial("latent_atlas.models.remedies.FloorHead", delta=0.375)},
        {"regularizer": zoo.partial("latent_atlas.models.vae.kl", free=0.125)},
    ],
    ids=["batch norm", "floor", "free bits"],
)
def test_a_weight_that_collapses_the_plain_vae_leaves_the_rate_at_the_floor(changes):
    """β = 20 on noise: all three floors are set to 0.375 nats over 3 dimensions."""
    rates = []
    for more in ({}, changes):
        model = build(beta=20.0, optimizer=zoo.adam(1e-2), **more)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        for step in range(150):
            torch.manual_seed(step)
            optimizer.zero_grad()
            found = model.loss(batch(), "model")
            found.total.backward()
            optimizer.step()
        rates.append(found.parts["rate"].item())
    assert rates[0] < 0.05
    assert rates[1] == pytest.approx(0.375, abs=0.1)


def test_a_fit_plays_both():
    model = build(encoder_updates=2)
    assert list(Fit(model, seed=0).players) == ["encoder", "decoder"]
