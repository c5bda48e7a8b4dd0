"""Each regularizer against closed forms and against the VAE that it contains."""

import math

import pytest
import torch

from latent_atlas.models.posteriors import DiagonalNormal
from latent_atlas.models.regularizers import capacity, covariance, dip, discrepancy, information
from latent_atlas.models.vae import kl
from latent_atlas.spaces.euclidean import Euclidean

N, DIM = 32, 3
PRIOR = Euclidean(DIM)


@pytest.fixture
def q():
    generator = torch.Generator().manual_seed(0)
    return DiagonalNormal(torch.randn(N, DIM, generator=generator), 0.5 * torch.randn(N, DIM, generator=generator) - 1)


def penalty(regularizer, q, beta=1.0, z=None, **more):
    z = q.sample(torch.Generator().manual_seed(1)) if z is None else z
    return regularizer(q, z, q.kl(PRIOR), PRIOR, 100, beta, **more)


@pytest.mark.parametrize("level", [0.5, 50.0])
def test_capacity_is_the_distance_of_the_kl_from_its_target(q, level):
    rate = q.kl(PRIOR).mean()
    found, parts = penalty(capacity, q, beta=level, gamma=10.0)
    torch.testing.assert_close(found, 10 * (rate - level).abs())
    assert parts["capacity"] == level


def test_capacity_pulls_a_kl_below_its_target_up(q):
    q.log_var.requires_grad_()
    penalty(capacity, q, beta=50.0)[0].backward()
    assert bool((q.log_var.grad[q.log_var < 0] > 0).all())  # descent narrows: the KL grows


def test_capacity_of_zero_is_a_beta_vae(q):
    torch.testing.assert_close(penalty(capacity, q, beta=0.0, gamma=7.0)[0], penalty(kl, q, beta=7.0)[0])


def gaussian_mmd(mean, scale, width, d):
    """MMD² of N(mean, scale² I) and N(0, I): E k of two normals whose difference has variance v is (w² / (w² + v))^(d/2) · ..."""

    def expected(variance, shift):
        return (width**2 / (width**2 + variance)) ** (d / 2) * math.exp(-0.5 * d * shift**2 / (width**2 + variance))

    return expected(2 * scale**2, 0) + expected(2, 0) - 2 * expected(1 + scale**2, mean)


@pytest.mark.parametrize(("mean", "scale"), [(0.0, 1.0), (0.5, 1.0), (0.0, 0.3)])
def test_the_discrepancy_of_two_gaussians_is_that_in_closed_form(mean, scale):
    generator = torch.Generator().manual_seed(0)
    found = []
    for _ in range(40):
        a = mean + scale * torch.randn(200, DIM, generator=generator, dtype=torch.float64)
        found.append(discrepancy(a, torch.randn(150, DIM, generator=generator, dtype=torch.float64), 1.3))
    assert torch.stack(found).mean().item() == pytest.approx(gaussian_mmd(mean, scale, 1.3, DIM), abs=3e-3)


def test_one_point_has_a_finite_discrepancy():
    found = discrepancy(torch.zeros(1, DIM), torch.ones(1, DIM), 1.0)
    assert found.item() == pytest.approx(-2 * math.exp(-DIM / 2))


def test_info_vae_holds_the_vae_and_the_mmd_vae(q):
    torch.testing.assert_close(penalty(information, q, alpha=0.0, weight=1.0)[0], penalty(kl, q)[0])
    torch.manual_seed(0)
    alone, parts = penalty(information, q, alpha=1.0, weight=5.0)
    torch.testing.assert_close(alone, 5 * parts["mmd"])


def test_info_vae_pushes_codes_to_the_prior():
    mode = torch.full((200, DIM), 0.5, requires_grad=True)
    q = DiagonalNormal(mode, torch.zeros(200, DIM))
    torch.manual_seed(0)
    penalty(information, q, alpha=1.0)[0].backward()
    assert mode.grad.sum() > 0  # descent moves them towards 0


def test_a_covariance_is_that_of_torch(q):
    torch.testing.assert_close(covariance(q.mode), torch.cov(q.mode.T, correction=0))
    assert not covariance(q.mode[:1]).any()


@pytest.mark.parametrize(("kind", "extra", "share"), [("i", 0.0, 10.0), ("ii", 1.0, 1.0)])
def test_dip_is_written_out(q, kind, extra, share):
    found, parts = penalty(dip, q, beta=2.0, kind=kind, off_diagonal=3.0)
    c = torch.cov(q.mode.T, correction=0) + extra * torch.diag(torch.exp(q.log_var).mean(0))
    off = sum(c[i, j] ** 2 for i in range(DIM) for j in range(DIM) if i != j)
    on = sum((c[i, i] - 1) ** 2 for i in range(DIM))
    torch.testing.assert_close(found, 2 * q.kl(PRIOR).mean() + 3 * off + 3 * share * on)
    torch.testing.assert_close(parts[f"off_diagonal_{kind}"], off)


def test_dip_ii_is_least_where_q_fills_the_prior():
    """Independent codes whose moments with the posterior's variance are those of N(0, I) cost nothing; i asks it of the means."""
    means = torch.cartesian_prod(torch.tensor([-0.6, 0.6]), torch.tensor([-0.6, 0.6]))
    q = DiagonalNormal(means, torch.full((4, 2), math.log(1 - 0.36)))
    prior = Euclidean(2)

    def found(kind):
        return dip(q, means, q.kl(prior), prior, 4, 0.0, kind=kind)[0].item()

    assert found("ii") == pytest.approx(0, abs=1e-5)
    assert found("i") > 1


def test_dip_with_weights_zero_is_the_vae(q):
    torch.testing.assert_close(penalty(dip, q, beta=4.0, off_diagonal=0.0)[0], penalty(kl, q, beta=4.0)[0])


def test_an_unknown_kind_is_named(q):
    with pytest.raises(ValueError, match="'iii'; it is i"):
        penalty(dip, q, kind="iii")


def test_free_bits_are_a_floor_per_dimension_on_the_mean_over_the_batch():
    mode = torch.tensor([[0.0, 2.0], [0.2, -2.0]], requires_grad=True)
    q = DiagonalNormal(mode, torch.zeros(2, 2))
    prior = Euclidean(2)
    found, _ = kl(q, mode, q.kl(prior), prior, 2, 3.0, free=0.1)
    assert found.item() == pytest.approx(3 * (0.1 + 2.0))  # KL_1 = 0.01 is below the floor, KL_2 = 2 is not
    found.backward()
    assert not mode.grad[:, 0].any()
    assert bool(mode.grad[:, 1].all())


def test_no_free_bits_or_few_are_the_kl(q):
    plain = penalty(kl, q, beta=2.0)[0]
    assert torch.equal(penalty(kl, q, beta=2.0, free=0.0)[0], plain)
    torch.testing.assert_close(penalty(kl, q, beta=2.0, free=1e-6)[0], plain)


def test_free_bits_of_a_kl_without_dimensions_are_a_floor_of_the_whole(q):
    class Other(Euclidean):
        standard_normal = False

    found, _ = kl(q, q.mode, torch.full((N,), 0.5), Other(DIM), N, 2.0, free=1.0)
    assert found.item() == 2 * DIM
