import itertools
import math

import pytest
import torch
import zoo
from torch import distributions as D

from latent_atlas.building import instantiate
from latent_atlas.data.spec import DataSpec, Field
from latent_atlas.models.categorical_vae import OneHot, OneHotHead
from latent_atlas.spaces.categorical import Categorical
from latent_atlas.spaces.euclidean import Euclidean

SPEC = DataSpec("drawn", "x", {"x": Field("image", (1, 4, 4), size=2)}, {"train": 64, "val": 0, "test": 0})
X = (torch.rand(16, 1, 4, 4, generator=torch.Generator().manual_seed(0)) > 0.5).float()
LOGITS = 2 * torch.randn(6, 2, 3, generator=torch.Generator().manual_seed(0))


def build(**changes):
    torch.manual_seed(0)
    net = {
        **zoo.small_vae(
            space=zoo.partial("latent_atlas.spaces.categorical.Categorical", classes=4),
            posterior=zoo.partial("latent_atlas.models.categorical_vae.OneHotHead"),
        ),
        "_target_": "latent_atlas.models.categorical_vae.CategoricalVAE",
        **changes,
    }
    return instantiate(net, spec=SPEC)


def test_kl_is_that_of_torch_distributions_and_of_the_sum_over_all_codes():
    q, space = OneHot(LOGITS), Categorical(2, 3)
    expected = D.kl_divergence(D.Categorical(logits=LOGITS), D.Categorical(logits=torch.zeros(6, 2, 3))).sum(1)
    torch.testing.assert_close(q.kl(space), expected)
    each = D.kl_divergence(D.Categorical(logits=LOGITS), D.Categorical(logits=torch.zeros(6, 2, 3)))
    torch.testing.assert_close(q.kl_of_parts(space), each)
    codes = space.corners(torch.tensor(list(itertools.product(range(3), repeat=2))))
    log_q = torch.stack([q.log_prob(code.expand(6, 2, 3)) for code in codes])
    torch.testing.assert_close(log_q.exp().sum(0), torch.ones(6))
    torch.testing.assert_close((log_q.exp() * (log_q - space.log_prob(codes)[:, None])).sum(0), expected)


@pytest.mark.parametrize(("temperature", "straight_through"), [(None, False), (0.7, True)])
def test_one_hot_draws_have_the_probabilities(temperature, straight_through):
    q = OneHot(LOGITS[:1].expand(20_000, 2, 3), temperature, straight_through)
    z = q.sample(torch.Generator().manual_seed(0))
    torch.testing.assert_close(z.max(2).values, torch.ones(20_000, 2))
    torch.testing.assert_close(z.mean(0), torch.softmax(LOGITS[0], -1), atol=0.02, rtol=0)


def test_relaxed_draws_lie_in_the_simplex_and_tend_to_one_hot_ones():
    def draw(temperature):
        return OneHot(LOGITS, temperature).sample(torch.Generator().manual_seed(1))

    torch.testing.assert_close(draw(1.0).sum(2), torch.ones(6, 2))
    assert draw(1.0).max() < 1
    torch.testing.assert_close(draw(1e-3), draw(None), atol=1e-3, rtol=0)
    assert torch.equal(draw(1.0).argmax(2), draw(None).argmax(2))


def test_straight_through_has_the_gradient_of_the_relaxed_draw():
    direction, found = torch.randn(6, 2, 3), {}
    for straight_through in (False, True):
        logits = LOGITS.clone().requires_grad_()
        z = OneHot(logits, 0.7, straight_through).sample(torch.Generator().manual_seed(1))
        (z * direction).sum().backward()
        found[straight_through] = logits.grad
    torch.testing.assert_close(found[True], found[False])
    assert found[True].any()


def test_the_mode_is_the_likeliest_corner():
    q = OneHot(LOGITS, 0.7)
    assert torch.equal(q.mode, torch.nn.functional.one_hot(LOGITS.argmax(2), 3).float())
    assert torch.equal(q.classes, LOGITS.argmax(2))


def test_draws_are_relaxed_in_training_and_one_hot_in_eval():
    model = build()
    assert model.encode(X).sample().max(2).values.min() < 0.99
    model.eval()
    z = model.encode(X).sample()
    assert set(z.unique().tolist()) == {0.0, 1.0}


@pytest.mark.parametrize(("step", "expected"), [(0, 2.0), (5, 1.0), (10, 0.5), (99, 0.5)])
def test_the_temperature_falls_exponentially_with_the_step(step, expected):
    model = build(temperature=2.0, temperature_end=0.5, anneal=10)
    model.step.fill_(step)
    model.loss({"x": X}, "model")
    assert model.posterior.temperature == pytest.approx(expected)


def test_without_annealing_the_last_temperature_holds():
    assert build(anneal=0).temperature() == 0.5


def test_the_rate_of_uniform_logits_is_zero_and_of_certain_ones_log_k_a_variable():
    space = Categorical(2, 3)
    assert OneHot(torch.zeros(1, 2, 3)).kl(space).item() == pytest.approx(0.0, abs=1e-6)
    assert OneHot(1000 * torch.eye(3)[None, :2]).kl(space).item() == pytest.approx(2 * math.log(3))


def test_one_hot_codes_need_their_space():
    with pytest.raises(ValueError, match="not in Euclidean"):
        OneHotHead(Euclidean(3))
