import math

import pytest
import torch
from torch import distributions as D

from latent_atlas.data.spec import Field
from latent_atlas.models import likelihoods
from latent_atlas.models.likelihoods import (
    Bernoulli,
    BernoulliHead,
    Categorical,
    CategoricalHead,
    Gaussian,
    GaussianHead,
    Implicit,
    Poisson,
    PoissonHead,
)

BINARY, GREY = Field("image", (1, 4, 4), size=2), Field("image", (1, 4, 4), size=256)


def summed(log_prob):
    return log_prob.flatten(1).sum(1)


def test_densities_are_those_of_torch_distributions():
    raw = torch.randn(5, 2, 3)
    binary, counts, tokens = (raw > 0).float(), torch.poisson(raw.exp() * 2), torch.randint(3, (5, 2))
    pairs = [
        (Bernoulli(raw).log_prob(binary), D.Bernoulli(logits=raw).log_prob(binary)),
        (Gaussian(raw, torch.tensor(-0.7)).log_prob(binary), D.Normal(raw, math.exp(-0.7)).log_prob(binary)),
        (Poisson(raw).log_prob(counts), D.Poisson(raw.exp()).log_prob(counts)),
        (Categorical(raw).log_prob(tokens), D.Categorical(logits=raw).log_prob(tokens)),
    ]
    for ours, reference in pairs:
        assert ours.shape == (5,)
        torch.testing.assert_close(ours, summed(reference))


def test_means_are_in_units_of_the_observation():
    raw = torch.randn(5, 2, 3)
    torch.testing.assert_close(Bernoulli(raw).mean, D.Bernoulli(logits=raw).mean)
    torch.testing.assert_close(Poisson(raw).mean, raw.exp())
    torch.testing.assert_close(Categorical(raw).mean.sum(-1), torch.ones(5, 2))
    assert torch.equal(Gaussian(raw, torch.tensor(0.0), (0.0, 1.0)).mean, raw.clamp(0, 1))
    assert torch.equal(Gaussian(raw, torch.tensor(0.0)).mean, raw)


@pytest.mark.parametrize(
    ("field", "head"),
    [
        (BINARY, BernoulliHead),
        (GREY, GaussianHead),
        (Field("image", (3, 4, 4)), GaussianHead),
        (Field("vector", (4,)), GaussianHead),
        (Field("vector", (4,), size=2), BernoulliHead),
        (Field("counts", (4,)), PoissonHead),
        (Field("tokens", (4,), "int64", 9), CategoricalHead),
        (Field("tokens", (4,), "int64", 2), CategoricalHead),
    ],
)
def test_the_default_follows_the_field(field, head):
    assert type(likelihoods.default(field)) is head


def test_what_has_no_likelihood_is_named():
    with pytest.raises(ValueError, match="kind 'class'"):
        likelihoods.default(Field("class", (), "int64", 3))


def test_grey_pixels_have_no_bernoulli_likelihood():
    with pytest.raises(ValueError, match="binary data"):
        BernoulliHead(GREY)


def test_tokens_tell_the_decoder_their_vocabulary():
    head = CategoricalHead(Field("tokens", (4,), "int64", 9))
    assert head.shape == (4, 9)
    assert head(torch.randn(2, 4, 9)).log_prob(torch.randint(9, (2, 4))).shape == (2,)


def test_images_stay_in_range_and_vectors_are_free():
    raw = 50 * torch.randn(8, 1, 4, 4)
    assert bool((GaussianHead(GREY)(raw).mean >= 0).all())
    assert bool((GaussianHead(GREY)(raw).mean <= 1).all())
    assert torch.equal(GaussianHead(Field("vector", (4,)))(raw[:, 0, 0]).mean, raw[:, 0, 0])


@pytest.mark.parametrize("scale", [0.003, 0.05, 1.0, 3.0])
def test_a_scale_starts_where_it_was_asked_to_be(scale):
    assert GaussianHead(GREY, scale=scale).log_scale.exp().item() == pytest.approx(scale, rel=1e-3)
    fixed = GaussianHead(GREY, scale=scale, learned=False)
    assert fixed.log_scale.exp().item() == pytest.approx(scale, rel=1e-5)
    assert list(fixed.parameters()) == []


def test_the_learned_scale_finds_the_residual_within_a_short_run():
    head = GaussianHead(Field("vector", (64,)))
    x = 0.1 * torch.randn(256, 64, generator=torch.Generator().manual_seed(0))
    optimizer = torch.optim.Adam(head.parameters(), lr=1e-3)
    for _ in range(600):
        optimizer.zero_grad()
        (-head(torch.zeros_like(x)).log_prob(x).mean()).backward()
        optimizer.step()
    assert head.log_scale.exp().item() == pytest.approx(0.1, rel=0.02)


def test_a_perfect_reconstruction_does_not_drive_the_scale_to_zero():
    head = GaussianHead(GREY)
    with torch.no_grad():
        head.raw_log_scale.fill_(-100.0)
    assert head.log_scale.item() == pytest.approx(head.FLOOR)
    assert math.isfinite(head(torch.zeros(2, 1, 4, 4)).log_prob(torch.rand(2, 1, 4, 4)).sum().item())


def test_densities_are_float32_whatever_the_networks_run_in():
    raw, x = torch.randn(2, 16).bfloat16(), torch.rand(2, 16)
    with torch.autocast("cpu", torch.bfloat16):
        for found in (Bernoulli(raw), Gaussian(raw, torch.tensor(0.0)), Poisson(raw)):
            assert found.log_prob(x).dtype == torch.float32


def test_a_generator_without_a_density_says_so():
    assert not hasattr(Implicit(torch.rand(2, 3)), "log_prob")
