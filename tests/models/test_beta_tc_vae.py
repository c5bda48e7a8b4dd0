"""The estimates of q(z) against their exact values on a set that is small enough to enumerate."""

import contextlib
import math

import pytest
import torch

from latent_atlas.models import pairwise
from latent_atlas.models.beta_tc_vae import aggregate, decomposed, mss_log_weights, mws_log_weights
from latent_atlas.models.posteriors import DiagonalNormal
from latent_atlas.spaces.euclidean import Euclidean

N, DIM = 12, 3


@pytest.fixture(scope="module")
def everything():
    """The posteriors of all N items and one draw of each."""
    generator = torch.Generator().manual_seed(0)
    q = DiagonalNormal(1.5 * torch.randn(N, DIM, generator=generator), 0.5 * torch.randn(N, DIM, generator=generator) - 1)
    return q, q.sample(generator)


def exact(q, z):
    """log q(z) and log q(z_j) of the uniform mixture over all items, by torch.distributions."""
    members = torch.distributions.Normal(q.mode, q.scale).log_prob(z[:, None])  # (draw, item, dimension)
    return members.sum(2).logsumexp(1) - math.log(N), members.logsumexp(1) - math.log(N)


def part(q, rows):
    return DiagonalNormal(q.mode[rows], q.log_var[rows])


def test_mss_over_the_whole_set_is_exact(everything):
    q, z = everything
    for found, known in zip(aggregate(q, z, N, "mss"), exact(q, z), strict=True):
        torch.testing.assert_close(found, known)


def test_mws_over_the_whole_set_is_low_by_log_n(everything):
    q, z = everything
    for found, known in zip(aggregate(q, z, N, "mws"), exact(q, z), strict=True):
        torch.testing.assert_close(found + math.log(N), known)


@pytest.mark.parametrize(("estimator", "biased"), [("mss", False), ("mws", True)])
@pytest.mark.parametrize("batch", [2, 4, 8])
def test_mean_over_batches(everything, batch, estimator, biased):
    """Over random batches with item 0: mss has the mean q(z_0), mws stays below it."""
    q, z = everything
    generator = torch.Generator().manual_seed(1)
    estimates = []
    for _ in range(800):
        rows = torch.cat((torch.tensor([0]), 1 + torch.randperm(N - 1, generator=generator)[: batch - 1]))
        estimates.append(aggregate(part(q, rows), z[rows], N, estimator)[0][0].exp())
    mean, known = torch.stack(estimates).mean().item(), exact(q, z)[0][0].exp().item()
    if biased:
        assert mean < 0.8 * known
    else:
        assert mean == pytest.approx(known, rel=0.1)


def test_mss_tends_to_the_exact_value_as_the_batch_grows(everything):
    q, z = everything
    known = exact(q, z)[0][0]
    generator = torch.Generator().manual_seed(2)
    errors = []
    for batch in (2, 4, 8, 12):
        rows = [torch.cat((torch.tensor([0]), 1 + torch.randperm(N - 1, generator=generator)[: batch - 1])) for _ in range(100)]
        found = torch.stack([aggregate(part(q, row), z[row], N, "mss")[0][0] for row in rows])
        errors.append((found - known).abs().mean().item())
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-5


@pytest.mark.parametrize(("batch", "items"), [(5, 100), (2, 3), (64, 737_280)])
def test_mss_weighs_the_own_item_with_1_over_n(batch, items):
    own, other = (math.exp(weight) for weight in mss_log_weights(batch, items))
    assert own == pytest.approx(1 / items)
    assert own + (batch - 1) * other == pytest.approx(1)
    # the mean over which of the M = B - 1 others has the stratum's weight (N - M)/(N M), the rest having 1/M
    m = batch - 1
    assert other == pytest.approx(((m - 1) / m + (items - m) / (items * m)) / m)


@pytest.mark.parametrize("estimator", ["mws", "mss"])
def test_the_own_item_is_the_diagonal(everything, estimator):
    """The weighted sum written out item by item."""
    q, z = everything
    rows, items = torch.arange(5), 100
    own, other = {"mws": (1 / 500, 1 / 500), "mss": (1 / 100, 99 / 400)}[estimator]
    joint, marginals = aggregate(part(q, rows), z[rows], items, estimator)
    for i in range(5):
        densities = torch.distributions.Normal(q.mode[rows], q.scale[rows]).log_prob(z[i]).double().exp()
        weights = torch.full((5, 1), other, dtype=torch.float64)
        weights[i] = own
        assert joint[i].item() == pytest.approx((weights[:, 0] * densities.prod(1)).sum().log().item(), abs=1e-4)
        torch.testing.assert_close(marginals[i].double(), (weights * densities).sum(0).log(), atol=1e-4, rtol=1e-4)


def test_mws_weights():
    assert mws_log_weights(5, 100) == pytest.approx((math.log(1 / 500), math.log(1 / 500)))


@pytest.mark.parametrize("items", [1, 50])
@pytest.mark.parametrize("estimator", ["mws", "mss"])
def test_a_batch_of_one_and_a_set_smaller_than_the_batch(estimator, items):
    for size in (1, 4):
        q = DiagonalNormal(torch.randn(size, DIM), torch.randn(size, DIM))
        penalty, parts = decomposed(q, q.sample(), q.kl(Euclidean(DIM)), Euclidean(DIM), items, 6.0, estimator=estimator)
        assert math.isfinite(penalty)
        assert all(math.isfinite(value) for value in parts.values())


@pytest.mark.parametrize("estimator", ["mws", "mss"])
def test_with_all_weights_one_it_is_the_kl_from_draws(everything, estimator):
    """α = β = γ = 1: every estimate of q(z) cancels, draw by draw, and the mean over draws is the VAE's KL."""
    q, _ = everything
    prior, generator = Euclidean(DIM), torch.Generator().manual_seed(3)
    found = []
    for _ in range(500):
        z = q.sample(generator)
        penalty, _parts = decomposed(q, z, q.kl(prior), prior, 1000, 1.0, estimator=estimator)
        torch.testing.assert_close(penalty, (q.log_prob(z) - prior.log_prob(z)).mean(), atol=1e-3, rtol=1e-4)
        found.append(penalty)
    assert torch.stack(found).mean().item() == pytest.approx(q.kl(prior).mean().item(), abs=0.1)


def test_total_correlation_is_found_where_it_is():
    """A set whose two latents repeat each other has the total correlation log N by mss; independent ones have almost none."""
    n = 64
    line = torch.linspace(-8, 8, n)
    repeated = DiagonalNormal(torch.stack((line, line), 1), torch.full((n, 2), -9.0))
    grid = torch.cartesian_prod(line[::8], line[::8])
    independent = DiagonalNormal(grid, torch.full((n, 2), -9.0))
    generator = torch.Generator().manual_seed(4)
    for q, known in ((repeated, math.log(n)), (independent, 0.0)):
        _, parts = decomposed(q, q.sample(generator), q.kl(Euclidean(2)), Euclidean(2), n, 1.0, estimator="mss")
        assert parts["total_correlation_mss"].item() == pytest.approx(known, abs=0.05)
        assert parts["mutual_information_mss"].item() == pytest.approx(math.log(n), abs=0.05)


def test_beta_weighs_the_total_correlation_only(everything):
    q, z = everything
    prior = Euclidean(DIM)
    low, parts = decomposed(q, z, q.kl(prior), prior, N, 1.0)
    high, _ = decomposed(q, z, q.kl(prior), prior, N, 6.0)
    torch.testing.assert_close(high - low, 5 * parts["total_correlation_mws"])


def test_an_unknown_estimator_is_named(everything):
    q, z = everything
    with pytest.raises(ValueError, match="'exact'; it is one of mws, mss"):
        aggregate(q, z, N, "exact")


@pytest.mark.parametrize("own", [0.0, 0.7])
@pytest.mark.parametrize("cached", [1, 2**16])  # a dimension at a time, and all at once
def test_gradients_of_the_pairs_are_right(own, cached, monkeypatch):
    monkeypatch.setattr(pairwise, "CACHED", cached)
    generator = torch.Generator().manual_seed(5)
    z, mean, width, height = (torch.rand(2, 4, generator=generator, dtype=torch.float64) + 0.5 for _ in range(4))
    arguments = [entry.requires_grad_() for entry in (z, mean, width, height)]
    assert torch.autograd.gradcheck(lambda *parts: pairwise.PairwiseLogSums.apply(*parts, own), arguments)


@pytest.mark.parametrize("estimator", ["mws", "mss"])
def test_gradients_do_not_change_under_autocast(estimator):
    def gradient(context):
        mean, log_var = (torch.randn(16, DIM, generator=torch.Generator().manual_seed(s)).requires_grad_() for s in (0, 1))
        with context:
            q = DiagonalNormal(mean, log_var)
            z = q.sample(torch.Generator().manual_seed(2))
            decomposed(q, z, q.kl(Euclidean(DIM)), Euclidean(DIM), 100, 6.0, estimator=estimator)[0].backward()
        return torch.cat((mean.grad, log_var.grad))

    torch.testing.assert_close(gradient(torch.autocast("cpu", torch.bfloat16)), gradient(contextlib.nullcontext()))
