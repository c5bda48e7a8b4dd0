import math

import numpy as np
import pytest
import torch
from scipy import integrate, special, stats
from torch import distributions as D

from latent_atlas.models.bessel import bessel_ratio, log_bessel
from latent_atlas.models.spherical import PowerSpherical, PowerSphericalHead, VonMisesFisher, VonMisesFisherHead, speed_of_angle
from latent_atlas.spaces.sphere import Sphere, unit

LAWS = [PowerSpherical, VonMisesFisher]
double = torch.float64


def law(kind, ambient, kappa, n=1, seed=0):
    mode = unit(torch.randn(n, ambient, generator=torch.Generator().manual_seed(seed), dtype=double))
    return kind(mode, torch.full((n,), float(kappa), dtype=double))


def over_t(q, function):
    """∫ f(t) q over the sphere, by quadrature in the angle to the mean: no draws and none of the module's integrals."""
    d = q.ambient
    ring = math.exp(math.log(2) + (d - 1) / 2 * math.log(math.pi) - math.lgamma((d - 1) / 2))

    def integrand(theta):
        t = torch.tensor([math.cos(theta)], dtype=double)
        return function(math.cos(theta)) * math.exp(float(q.log_density(t))) * math.sin(theta) ** (d - 2) * ring

    peak = min(3.0, math.sqrt(max(d - 1, 1) / float(q.kappa)))
    return integrate.quad(integrand, 0, math.pi, points=[peak, min(3.1, 6 * peak)], limit=200)[0]


@pytest.mark.parametrize("kind", LAWS)
@pytest.mark.parametrize(("ambient", "kappa"), [(2, 1), (2, 300), (3, 1), (3, 1e4), (6, 20), (11, 1), (41, 50)])
def test_densities_integrate_to_one_and_have_their_entropy(kind, ambient, kappa):
    q = law(kind, ambient, kappa)
    assert over_t(q, lambda t: 1.0) == pytest.approx(1, abs=1e-4)
    entropy = over_t(q, lambda t: -float(q.log_density(torch.tensor([t], dtype=double))))
    assert float(q.entropies()) == pytest.approx(entropy, abs=2e-3)
    area = -float(Sphere(ambient - 1).log_prob(torch.ones(1, ambient)))
    assert float(q.kl(Sphere(ambient - 1))) == pytest.approx(area - entropy, abs=2e-3)


def test_von_mises_fisher_is_scipys_and_on_the_circle_torchs():
    for ambient, kappa in ((3, 2.0), (5, 30.0), (20, 400.0)):
        q = law(VonMisesFisher, ambient, kappa)
        theirs = stats.vonmises_fisher(q.mean[0].numpy(), kappa)
        z = q.sample(torch.Generator().manual_seed(0))
        assert float(q.log_prob(z)) == pytest.approx(theirs.logpdf(z[0].double().numpy()), abs=2e-5 * kappa)
        assert float(q.entropy()) == pytest.approx(theirs.entropy(), abs=1e-5)
    q = law(VonMisesFisher, 2, 7.0)
    circle = D.VonMises(torch.atan2(q.mode[:, 1], q.mode[:, 0]), torch.tensor([7.0]))
    z = q.sample(torch.Generator().manual_seed(0))
    torch.testing.assert_close(q.log_prob(z), circle.log_prob(torch.atan2(z[:, 1], z[:, 0])), atol=1e-5, rtol=1e-5)


def test_power_spherical_is_its_beta_law():
    """On S^2 the cosine has the density of the Beta law over 2, and the ring about μ the length 2π: nothing else is left."""
    q = law(PowerSpherical, 3, 9.0)
    t = torch.tensor([0.3], dtype=double)
    beta = stats.beta(10.0, 1.0)
    assert float(q.log_density(t)) == pytest.approx(math.log(beta.pdf(0.65) / 2 / (2 * math.pi)), abs=1e-12)
    assert float(q.log_density(torch.tensor([-1.0], dtype=double))) < -100


@pytest.mark.parametrize("kind", LAWS)
def test_a_law_of_no_concentration_is_the_uniform_one(kind):
    for ambient in (2, 3, 12):
        assert float(law(kind, ambient, 1e-6).kl(Sphere(ambient - 1))) == pytest.approx(0, abs=1e-6)


def analytic_mean(kind, ambient, kappa):
    """E[μ·x]: κ / (D - 1 + κ) of the Beta law, I_(D/2) / I_(D/2-1) of von Mises and Fisher's."""
    if kind is PowerSpherical:
        return kappa / (ambient - 1 + kappa)
    return special.ive(ambient / 2, kappa) / special.ive(ambient / 2 - 1, kappa)


@pytest.mark.parametrize("kind", LAWS)
@pytest.mark.parametrize(("ambient", "kappa"), [(2, 1), (2, 50), (3, 1), (3, 1e4), (4, 5), (6, 20), (11, 1), (11, 300), (41, 50)])
def test_draws_and_their_gradient_are_unbiased_in_every_dimension(kind, ambient, kappa):
    """E[μᵀx] and its derivatives in κ and μ against the analytic values: a sampler that is corrected for d = 3 only fails here."""
    n = 20_000
    kappas = torch.full((n,), float(kappa), dtype=double, requires_grad=True)
    mode = unit(torch.arange(1.0, ambient + 1, dtype=double)).requires_grad_()
    q = kind(mode.expand(n, -1), kappas)
    torch.manual_seed(0)
    z = q.sample(torch.Generator().manual_seed(1)).double()
    torch.testing.assert_close(z.norm(dim=1), torch.ones(n, dtype=double), atol=1e-6, rtol=0)
    t = z @ mode.detach()
    t.sum().backward()

    def close(draws, exact):
        assert float(draws.mean()) == pytest.approx(exact, abs=4.5 * float(draws.std()) / math.sqrt(n) + 1e-6)

    close(t.detach(), analytic_mean(kind, ambient, kappa))
    step = 1e-4 * kappa
    slope = (analytic_mean(kind, ambient, kappa + step) - analytic_mean(kind, ambient, kappa - step)) / (2 * step)
    close(kappas.grad, slope)
    # A turn of μ moves a fixed direction's mean by the mean length: d/dμ E[wᵀx] = A w for tangents w.
    w = unit(
        torch.linspace(1, -1, ambient, dtype=double)
        - (torch.linspace(1, -1, ambient, dtype=double) @ mode.detach()) * mode.detach()
    )
    turned = kind(unit(mode).expand(n, -1), kappas.detach())
    z = turned.sample(torch.Generator().manual_seed(2)).double()
    (found,) = torch.autograd.grad((z @ w).mean(), mode)
    assert float(found @ w) == pytest.approx(analytic_mean(kind, ambient, kappa), abs=0.02)


@pytest.mark.parametrize("kind", LAWS)
@pytest.mark.parametrize("ambient", [2, 3, 8])
def test_the_second_moment_and_the_whole_law_of_the_cosine(kind, ambient):
    q = law(kind, ambient, 12.0)
    many = kind(q.mean.expand(20_000, -1), q.kappa.expand(20_000))
    t = (many.sample(torch.Generator().manual_seed(0)).double() * many.mean).sum(1).numpy()
    edges = np.quantile(t, [0.1, 0.3, 0.5, 0.7, 0.9])
    for edge, share in zip(edges, (0.1, 0.3, 0.5, 0.7, 0.9), strict=True):
        assert over_t(q, lambda s, edge=edge: float(s <= edge)) == pytest.approx(share, abs=0.015)


@pytest.mark.parametrize(("ambient", "kappa"), [(2, 3.0), (3, 0.7), (3, 900.0), (7, 30.0), (41, 50.0)])
def test_the_implicit_derivative_is_that_of_the_quantile(ambient, kappa):
    """dθ/dκ along a fixed quantile, from SciPy's quadrature and root at κ ± h."""

    def distribution(theta, kappa):
        weight = lambda phi: math.exp(kappa * (math.cos(phi) - 1)) * math.sin(phi) ** (ambient - 2)  # noqa: E731
        peak = min(3.0, math.sqrt(max(ambient - 1, 1) / kappa))
        whole = integrate.quad(weight, 0, math.pi, points=[peak, min(3.1, 6 * peak)], epsabs=0, epsrel=1e-12, limit=400)[0]
        return integrate.quad(weight, 0, theta, epsabs=0, epsrel=1e-12, limit=400)[0] / whole

    from scipy.optimize import brentq

    middle = math.acos(analytic_mean(VonMisesFisher, ambient, kappa))
    for theta in (0.6 * middle, 0.95 * middle, 1.3 * middle):
        share, h = distribution(theta, kappa), 1e-3 * kappa
        ends = [
            brentq(lambda x, k=k, share=share: distribution(x, k) - share, 0.5 * theta, min(1.5 * theta, 3.1), xtol=1e-13)
            for k in (kappa - h, kappa + h)
        ]
        found = speed_of_angle(torch.tensor([theta], dtype=double), torch.tensor([kappa], dtype=double), ambient)
        assert float(found) == pytest.approx((ends[1] - ends[0]) / (2 * h), rel=2e-5)


@pytest.mark.parametrize("v", [0.0, 0.5, 4.0, 49.5, 80.0, 500.0])
def test_bessel_functions_and_their_derivatives(v):
    x = torch.tensor([1.0, 10.0, 200.0, 1e4], dtype=double, requires_grad=True)
    with np.errstate(divide="ignore"):
        exact = np.log(special.ive(v, x.detach().numpy()))
    usable = np.isfinite(exact)
    assert usable.sum() >= 2
    torch.testing.assert_close(log_bessel(v, x)[usable], torch.as_tensor(exact)[usable], atol=1e-8, rtol=1e-9)
    assert torch.autograd.gradcheck(lambda x: log_bessel(v, x), (x,), eps=1e-5, atol=1e-6)
    assert torch.autograd.gradcheck(lambda x: bessel_ratio(v, x), (x,), eps=1e-5, atol=1e-6)
    # a ratio obeys I_(v-1) = I_(v+1) + 2 v/x I_v
    inverse = 1 / bessel_ratio(v, x)
    torch.testing.assert_close(inverse, bessel_ratio(v + 1, x) + 2 * (v + 1) / x, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("kind", LAWS)
def test_every_mean_has_draws_and_gradients_also_at_the_poles(kind):
    for sign in (1.0, -1.0):
        mode = torch.zeros(4, 5, dtype=double)
        mode[:, 0] = sign
        mode[1:, 1] = torch.tensor([1e-8, 1e-4, 1e-2])
        mode = unit(mode).requires_grad_()
        kappa = torch.tensor([1.0, 30, 1e3, 1e4], dtype=double, requires_grad=True)
        q = kind(mode, kappa)
        z = q.sample(torch.Generator().manual_seed(0))
        assert bool((z[3] @ q.mode[3] > 0.99).all())
        (z.sum() + q.log_prob(z).sum() + q.kl(Sphere(4)).sum()).backward()
        assert bool(mode.grad.isfinite().all())
        assert bool(kappa.grad.isfinite().all())
        assert float(mode.grad.norm(dim=1).max()) < 1e6


@pytest.mark.parametrize("head", [PowerSphericalHead, VonMisesFisherHead])
def test_a_head_makes_unit_means_and_bounded_concentrations(head):
    space = Sphere(3)
    head = head(space)
    assert head.outputs == 5
    raw = torch.randn(6, 5) * torch.tensor([1.0, 1, 1, 1, 1e6])
    q = head(torch.cat((raw, torch.zeros(1, 5))))
    torch.testing.assert_close(q.mode.norm(dim=1), torch.ones(7))
    assert float(q.kappa.min()) >= 1
    assert float(q.kappa.max()) == 1e4
    assert bool(q.kl(space).isfinite().all())
    assert torch.equal(q.sample(torch.Generator().manual_seed(3)), q.sample(torch.Generator().manual_seed(3)))


@pytest.mark.parametrize("kind", LAWS)
def test_a_prior_that_is_not_uniform_has_a_sampled_kl(kind):
    class Other(Sphere):
        uniform = False

    q = law(kind, 3, 15.0)
    many = kind(q.mean.expand(20_000, -1), q.kappa.expand(20_000))
    assert float(many.kl(Other(2), torch.Generator().manual_seed(0)).mean()) == pytest.approx(float(q.kl(Sphere(2))), abs=0.03)
