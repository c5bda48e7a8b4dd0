import math

import pytest
import torch

from latent_atlas.data.spec import Field
from latent_atlas.models.likelihoods import GaussianHead
from latent_atlas.models.sigma_vae import OptimalGaussianHead

FIELD = Field("vector", (5,))


def made(n=40, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, 5, generator=generator), 0.3 * torch.randn(n, 5, generator=generator)


def test_in_training_the_scale_is_the_best_of_the_batch():
    x, raw = made()
    found = OptimalGaussianHead(FIELD)(raw).log_prob(x)
    sigma = (x - raw).square().mean().sqrt()
    torch.testing.assert_close(found, torch.distributions.Normal(raw, sigma).log_prob(x).sum(1))
    for other in (0.9, 1.1):
        assert torch.distributions.Normal(raw, other * sigma).log_prob(x).sum(1).mean() < found.mean()


def test_its_mean_is_d_log_sigma_and_the_gradient_is_that_of_it():
    x, raw = made()
    raw.requires_grad_()
    loss = -OptimalGaussianHead(FIELD)(raw).log_prob(x).mean()
    (found,) = torch.autograd.grad(loss, raw)
    known = 0.5 * 5 * ((x - raw).square().mean().log() + 1 + math.log(2 * math.pi))
    torch.testing.assert_close(loss, known)
    torch.testing.assert_close(found, torch.autograd.grad(known, raw)[0])


def test_in_eval_mode_it_is_the_mean_of_training_and_a_density_of_one_item():
    head = OptimalGaussianHead(FIELD)
    squares = []
    for seed in range(30):
        x, raw = made(seed=seed)
        head(raw).log_prob(x)
        squares.append((x - raw).square().mean())
    head.eval()
    sigma = torch.stack(squares).mean().sqrt()
    x, raw = made(seed=99)
    torch.testing.assert_close(head(raw).log_prob(x), torch.distributions.Normal(raw, sigma).log_prob(x).sum(1))
    torch.testing.assert_close(head(raw[:1]).log_prob(x[:1]), head(raw).log_prob(x)[:1])
    assert head.batches == 30


def test_later_the_last_batches_count():
    head = OptimalGaussianHead(FIELD)
    for size in [100.0] * 200 + [1.0] * 1000:
        head.follow(torch.tensor(size))
    assert head.variance.item() == pytest.approx(1.0, abs=0.02)


def test_it_survives_saving():
    head, other = OptimalGaussianHead(FIELD), OptimalGaussianHead(FIELD)
    x, raw = made()
    head(raw).log_prob(x)
    other.load_state_dict(head.state_dict())
    assert torch.equal(head.eval()(raw).log_prob(x), other.eval()(raw).log_prob(x))


def test_a_perfect_fit_stays_finite():
    x, _ = made()
    x = x.requires_grad_()
    found = OptimalGaussianHead(FIELD)(x).log_prob(x.detach())
    assert bool(found.isfinite().all())
    found.sum().backward()
    assert bool(x.grad.isfinite().all())


def test_a_learned_scale_of_the_same_size_is_the_same_density():
    x, raw = made()
    sigma = (x - raw).square().mean().sqrt().item()
    torch.testing.assert_close(
        GaussianHead(FIELD, scale=sigma)(raw).log_prob(x), OptimalGaussianHead(FIELD)(raw).log_prob(x), atol=1e-4, rtol=1e-4
    )


def test_images_stay_in_range():
    raw = torch.tensor([-50.0, 0, 1, 50]).reshape(1, 1, 2, 2)
    mean = OptimalGaussianHead(Field("image", (1, 2, 2), size=256))(raw).mean
    assert mean.flatten().tolist() == pytest.approx([0, 0.5, 0.731, 1], abs=1e-3)
