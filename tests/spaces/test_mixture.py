import pytest
import torch
from torch import distributions as D

from latent_atlas.data.spec import Field
from latent_atlas.models.posteriors import DiagonalNormal
from latent_atlas.spaces.euclidean import Euclidean
from latent_atlas.spaces.mixture import Mixture, Vamp


def moved(shape=(3,), components=4):
    torch.manual_seed(0)
    prior = Mixture(shape, components)
    with torch.no_grad():
        prior.logits.normal_()
        prior.log_scales.normal_(std=0.5)
    return prior


def reference(prior):
    parts = D.Independent(D.Normal(prior.means, prior.log_scales.exp()), prior.means.dim() - 1)
    return D.MixtureSameFamily(D.Categorical(logits=prior.logits), parts)


@pytest.mark.parametrize("shape", [(3,), (2, 2)])
def test_the_density_is_that_of_torch_distributions(shape):
    prior = moved(shape)
    z = torch.randn(20, *shape)
    torch.testing.assert_close(prior.log_prob(z), reference(prior).log_prob(z))


def test_responsibilities_are_bayes_rule():
    prior, z = moved(), torch.randn(20, 3)
    each = D.Independent(D.Normal(prior.means, prior.log_scales.exp()), 1).log_prob(z.unsqueeze(1))
    expected = torch.softmax(each + prior.logits, 1)
    torch.testing.assert_close(prior.responsibilities(z), expected)
    torch.testing.assert_close(prior.responsibilities(z).sum(1), torch.ones(20))


def test_draws_have_the_moments_and_repeat():
    prior = moved()
    z = prior.sample(40_000, torch.Generator().manual_seed(0))
    torch.testing.assert_close(z.mean(0), reference(prior).mean, atol=0.03, rtol=0)
    torch.testing.assert_close(z.var(0), reference(prior).variance, atol=0.05, rtol=0.03)
    assert torch.equal(z, prior.sample(40_000, torch.Generator().manual_seed(0)))


def test_one_standard_component_is_the_standard_normal():
    prior, z = Mixture((3,), components=1, spread=0.0), torch.randn(9, 3)
    torch.testing.assert_close(prior.log_prob(z), Euclidean(3).log_prob(z))


def linear_encoder(x):
    """q(z | x) of two dimensions, from the first two entries of x and the next two."""
    flat = x.flatten(1)
    return DiagonalNormal(flat[:, :2], flat[:, 2:4])


def attached(kind, shape=(1, 2, 2), components=5):
    torch.manual_seed(0)
    prior = Vamp((2,), components)
    prior.attach(Field(kind, shape), linear_encoder)
    return prior


def test_one_pseudo_input_gives_its_posterior():
    prior, z = attached("image", components=1), torch.randn(9, 2)
    q = linear_encoder(prior.inputs)
    expected = D.Independent(D.Normal(q.mode, q.scale), 1)
    torch.testing.assert_close(prior.log_prob(z), expected.log_prob(z))
    drawn = prior.sample(20_000, torch.Generator().manual_seed(0))
    torch.testing.assert_close(drawn.mean(0), q.mode[0], atol=0.05, rtol=0)
    torch.testing.assert_close(drawn.std(0), q.scale[0], atol=0.05, rtol=0)


def test_the_prior_is_the_mean_of_the_posteriors_of_its_inputs():
    prior, z = attached("vector"), torch.randn(9, 2)
    q = linear_encoder(prior.inputs)
    densities = torch.stack([D.Independent(D.Normal(q.mode[k], q.scale[k]), 1).log_prob(z).exp() for k in range(5)])
    torch.testing.assert_close(prior.log_prob(z).exp(), densities.mean(0))


@pytest.mark.parametrize(("kind", "low", "high"), [("image", 0.0, 1.0), ("counts", 0.0, 50.0), ("vector", -5.0, 5.0)])
def test_pseudo_inputs_start_at_training_items_and_keep_to_their_units(kind, low, high):
    prior = attached(kind, components=7)
    x = low + (high - low) * torch.rand(4, 1, 2, 2)
    prior.start(iter([x[:3], x[3:]]))
    torch.testing.assert_close(prior.inputs, x[torch.arange(7) % 4], atol=0.06, rtol=0)
    assert not torch.equal(prior.inputs[0], prior.inputs[4]), "the same item twice must part"
    with torch.no_grad():
        prior.free_inputs.normal_(std=100.0)
    if kind != "vector":
        assert prior.inputs.min() >= low
    if kind == "image":
        assert prior.inputs.max() <= high


def test_what_a_vamp_prior_cannot_do_is_said():
    with pytest.raises(ValueError, match="this field is tokens"):
        Vamp((2,)).attach(Field("tokens", (4,), "int64", 7), linear_encoder)
    with pytest.raises(ValueError, match="needs the encoder"):
        Vamp((2,)).sample(3)
