import pytest
import torch
import zoo

from latent_atlas.building import instantiate
from latent_atlas.data.spec import DataSpec, Field
from latent_atlas.models.ladder_vae import LadderHead, merge
from latent_atlas.spaces.euclidean import Euclidean
from latent_atlas.spaces.hierarchy import Hierarchy

SPEC = DataSpec("drawn", "x", {"x": Field("image", (1, 4, 4), size=2)}, {"train": 64, "val": 0, "test": 0})
X = (torch.rand(16, 1, 4, 4, generator=torch.Generator().manual_seed(0)) > 0.5).float()


def drawn(d=5, top=2):
    """A space, its head, and raw outputs of an encoder for 6 items."""
    torch.manual_seed(0)
    space = Euclidean(d, lambda shape: Hierarchy(shape, top, hidden=16))
    with torch.no_grad():
        for parameter in space.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    head = LadderHead(space)
    return space.requires_grad_(False), head, torch.randn(6, head.outputs)


def test_the_merge_is_the_normalized_product():
    mean, log_var, other_mean, other_log_var = torch.randn(4, 1, 1)
    line = torch.linspace(-15, 15, 8001)
    normal = torch.distributions.Normal
    product = normal(mean[0], (0.5 * log_var[0]).exp()).log_prob(line) + normal(
        other_mean[0], (0.5 * other_log_var[0]).exp()
    ).log_prob(line)
    product = product - torch.log(torch.trapezoid(product.exp(), line))
    found = merge(mean, log_var, other_mean, other_log_var).log_prob_per_dimension(line[:, None])[:, 0]
    torch.testing.assert_close(found, product, atol=1e-3, rtol=1e-3)


def test_the_density_integrates_to_one():
    _, head, raw = drawn(2, 1)
    line = torch.linspace(-12, 12, 801)
    q = head(raw[:1].expand(801 * 801, -1))
    density = q.log_prob(torch.cartesian_prod(line, line)).exp().reshape(801, 801)
    assert torch.trapezoid(torch.trapezoid(density, line), line).item() == pytest.approx(1.0, abs=0.01)


def test_the_kl_is_that_of_draws_with_less_noise():
    space, head, raw = drawn()
    for item in raw[:3]:
        q, generator = head(item.expand(20_000, -1)), torch.Generator().manual_seed(0)
        z = q.sample(generator)
        simple, exact = q.log_prob(z) - space.log_prob(z), q.kl(space, z=z)
        assert (simple.mean() - exact.mean()).abs() < 4 * (simple - exact).std() / 20_000**0.5
        assert exact.std() < simple.std()
        assert exact.min() >= 0


def test_an_encoder_that_sees_nothing_of_the_lower_level_leaves_the_prior():
    space, head, raw = drawn()
    raw[:, :2] = raw[:, 2:4] = 0.0  # q(z2 | x) = N(0, I)
    raw[:, 7:] = 20.0  # no precision
    q = head(raw)
    z = q.sample(torch.Generator().manual_seed(0))
    torch.testing.assert_close(q.log_prob(z), space.log_prob(z), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(q.kl(space, z=z), torch.zeros(6), atol=1e-4, rtol=0)


def test_a_kl_to_another_prior_is_estimated_from_the_draw():
    _, head, raw = drawn()
    q, other = head(raw), Euclidean(5)
    z = q.sample()
    torch.testing.assert_close(q.kl(other, z=z), q.log_prob(z) - other.log_prob(z))


def test_the_networks_between_levels_are_registered_once_and_learn():
    prior = zoo.partial("latent_atlas.spaces.hierarchy.Hierarchy", top=1, hidden=8)
    space = zoo.partial("latent_atlas.spaces.euclidean.Euclidean", prior=prior)
    posterior = zoo.partial("latent_atlas.models.ladder_vae.LadderHead")
    model = instantiate(zoo.small_vae(space=space, posterior=posterior), spec=SPEC)
    assert not [name for name in model.state_dict() if name.startswith("posterior.")]
    model.loss({"x": X}, "model").total.backward()
    assert all(parameter.grad.any() for parameter in model.space.parameters())


def test_a_ladder_needs_its_prior():
    with pytest.raises(ValueError, match="this one's is StandardNormal"):
        LadderHead(Euclidean(3))
