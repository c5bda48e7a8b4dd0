import math

import pytest
import torch
import zoo
from torch import Generator

from latent_atlas.building import instantiate
from latent_atlas.metrics.aggregate import energy_distance
from latent_atlas.metrics.result import NotApplicable
from latent_atlas.operations.samplers import SAMPLERS, Gaussian, Mixture, decoded, fit

N = 800
NOISE = 0.05


def seeded(seed=0):
    return Generator().manual_seed(seed)


def ring(seed=0):
    generator = seeded(seed)
    angle = 2 * math.pi * torch.rand(N, generator=generator)
    return torch.stack([angle.cos(), angle.sin()], 1) + NOISE * torch.randn(N, 2, generator=generator)


def clusters(seed=0):
    generator = seeded(seed)
    centres = torch.tensor([[-3.0, 0, 0], [3, 0, 0], [0, 4, 1], [0, -4, 2]])
    return centres[torch.randint(4, (N,), generator=generator)] + 0.3 * torch.randn(N, 3, generator=generator)


def fitted(name, codes, **options):
    return fit(name, codes, variances=torch.full_like(codes, NOISE**2), **options)


# A flow is continuous and needs more steps to tear; Riemannian draws follow the volume, which is not the density of codes.
@pytest.mark.parametrize(
    ("name", "cloud"), [*((name, ring) for name in SAMPLERS if name != "gaussian"), ("mixture", clusters), ("knn", clusters)]
)
def test_each_recovers_what_one_gaussian_cannot(name, cloud):
    codes, fresh = cloud(0), cloud(1)
    options = {"steps": 100, "transforms": 2, "hidden": 32} if name == "flow" else {}

    def distance(sampler):
        return energy_distance(sampler.sample(N, seeded()), fresh, limit=N, permutations=1).value

    assert distance(fitted(name, codes, **options)) < 0.5 * distance(fit("gaussian", codes))


def test_the_gaussian_has_the_moments_of_the_codes():
    turn = torch.tensor([[1.0, 0.0, 0.0], [0.8, 0.2, 0.0], [0.0, -0.5, 3.0]])
    codes = torch.randn(2000, 3, generator=seeded()) @ turn.T + torch.tensor([10.0, 0, -5])
    drawn = Gaussian(codes).sample(200_000, seeded(1))
    assert torch.allclose(drawn.mean(0), codes.mean(0), atol=0.03)
    assert torch.allclose(torch.cov(drawn.T), torch.cov(codes.T), atol=0.1)


def test_a_mixture_of_one_is_the_gaussian():
    one, gaussian = Mixture(clusters(), components=1), Gaussian(clusters())
    assert torch.allclose(one.sample(100, seeded()), gaussian.sample(100, seeded()), atol=1e-5)


def test_a_mixture_finds_the_clusters():
    found = Mixture(clusters(), components=4)
    assert torch.allclose(found.weights, torch.full((4,), 0.25, dtype=torch.float64), atol=0.05)
    covariances = found.roots @ found.roots.mT
    assert torch.allclose(covariances, 0.09 * torch.eye(3, dtype=torch.float64).expand(4, 3, 3), atol=0.03)


def test_points_between_neighbours_never_leave_the_segments_of_a_line():
    codes = torch.cat([torch.linspace(0, 1, 50), torch.linspace(5, 6, 50)])[:, None]
    drawn = fit("knn", codes).sample(2000, seeded())
    assert bool(((drawn >= 0) & (drawn <= 1) | (drawn >= 5) & (drawn <= 6)).all())
    assert len(drawn.unique()) > 1900


def test_riemannian_draws_have_the_density_of_the_volume():
    """Of a metric on a line, against the integral of the volume on a grid."""
    codes = torch.cat([0.1 * torch.randn(50, 1, generator=seeded()), 1 + 0.2 * torch.randn(50, 1, generator=seeded(1))])
    variances = torch.cat([torch.full((50, 1), 0.02), torch.full((50, 1), 0.08)])
    sampler = fit("riemannian", codes, variances=variances, floor=1e-8, steps=40)
    grid = torch.linspace(-3, 4, 4001, dtype=torch.float64)[:, None]
    log_volume, slope = sampler.log_volume(grid / sampler.unit)
    by_hand = 0.5 * (torch.exp(-((grid - codes.T) ** 2) / variances.T / sampler.rho**2) / variances.T).sum(1).log()
    inner = by_hand > by_hand.max() - 3
    assert torch.allclose((log_volume - by_hand)[inner], (log_volume - by_hand)[inner].mean(), atol=1e-4)
    rise = torch.gradient(log_volume, spacing=((grid / sampler.unit)[:, 0],))[0]
    assert torch.allclose(rise[1:-1], slope[1:-1, 0], atol=1e-2)
    density = (log_volume - log_volume.max()).exp()
    drawn = sampler.sample(1000, seeded()).double()
    cumulated = density.cumsum(0) / density.sum()
    empirical = (drawn <= grid.T).double().mean(0)
    assert float((cumulated - empirical).abs().max()) < 1.95 / math.sqrt(1000)  # Kolmogorov-Smirnov at 0.1 %
    assert sampler.accepted > 0.8


def test_riemannian_draws_do_not_fall_into_the_middle_of_a_ring():
    drawn, gaussian = (fitted(name, ring()).sample(1000, seeded()).norm(dim=1) for name in ("riemannian", "gaussian"))
    assert float((drawn < 0.6).double().mean()) < 0.01 < 0.2 < float((gaussian < 0.6).double().mean())


@pytest.mark.parametrize("name", SAMPLERS)
def test_draws_and_fits_repeat_by_seed_and_leave_the_global_noise_alone(name):
    state = torch.get_rng_state()
    options = {"steps": 5} if name in ("flow", "riemannian") else {}
    first, again = (fitted(name, ring(), seed=3, **options) for _ in range(2))
    assert torch.equal(first.sample(20, seeded(1)), again.sample(20, seeded(1)))
    assert not torch.equal(first.sample(20, seeded(1)), first.sample(20, seeded(2)))
    assert torch.equal(torch.get_rng_state(), state)
    drawn = first.sample(7, seeded())
    assert drawn.shape == (7, 2)
    assert drawn.dtype == torch.float32


@pytest.mark.parametrize("name", SAMPLERS)
def test_dead_dimensions_and_equal_codes_give_finite_draws(name):
    options = {"steps": 5} if name in ("flow", "riemannian") else {}
    for codes in (torch.cat([ring(), torch.full((N, 1), 7.0)], 1), torch.ones(12, 2)):
        drawn = fitted(name, codes, **options).sample(50, seeded())
        assert bool(drawn.isfinite().all())
        assert float((drawn[:, -1] - codes[:, -1].mean()).abs().max()) < 0.5


@pytest.mark.parametrize(
    ("name", "codes", "reason"),
    [
        ("mixture", torch.randn(100, 200), "200 dimensions"),
        ("riemannian", torch.randn(100, 17), "17 dimensions"),
        ("riemannian", torch.randn(100, 2), "no variances"),
        ("gaussian", torch.randn(3, 2), "3 training codes"),
        ("knn", torch.full((30, 2), torch.nan), "not finite"),
    ],
)
def test_what_cannot_be_fitted_says_why(name, codes, reason):
    with pytest.raises(NotApplicable, match=reason):
        fit(name, codes)


def test_any_model_that_encodes_and_decodes_gives_items():
    from latent_atlas.data.spec import DataSpec, Field

    spec = DataSpec("made", "x", {"x": Field("vector", (5,))}, {"train": 100, "val": 0, "test": 0})
    model = instantiate(zoo.CONF["small_vae"]["net"], spec=spec).eval()
    codes = model.space.coordinates(model.encode(torch.randn(100, 5)).mode.detach())
    assert decoded(model, fit("mixture", codes), 30, seeded(), batch_size=16).shape == (30, 5)
