import pytest
import torch

from latent_atlas.metrics.frechet import frechet
from latent_atlas.metrics.result import NotApplicable, TooFewSamples
from latent_atlas.metrics.sampled import fid_sampler
from latent_atlas.operations import samplers
from latent_atlas.spaces.euclidean import Euclidean

CENTRES = torch.tensor([[-4.0, 0], [4, 0], [0, 6]])


def items(n):
    """From the noise that each test starts with (tests/conftest.py)."""
    return CENTRES[torch.randint(3, (n,))] + 0.4 * torch.randn(n, 2)


def decode(codes):
    return 2 * codes


def extract(x):
    """Features that see more than two moments."""
    return torch.cat([x, (x**2).abs().sqrt(), x.sum(1, keepdim=True).sin()], 1)


def score(**changes):
    real, other, train = (2 * items(600) for _ in range(3))
    given = {"features_real": extract(real), "codes_train": train / 2, "features_other": extract(other), "x_train": train}
    return fid_sampler(**{**given, "decode": decode, "extract": extract, "space": Euclidean(2), **changes})


def test_a_mixture_comes_near_other_real_items_and_a_gaussian_does_not():
    mixture, gaussian = score(), score(sampler="gaussian")
    assert mixture.value < 0.2 * gaussian.value
    assert mixture.ceiling < mixture.value + 0.1
    assert gaussian.value < gaussian.floor
    assert mixture.provenance == {"n": 600, "dimensions": 5, "sampler": "mixture", "n_train": 600}


def test_it_is_the_distance_of_the_decoded_draws():
    real, codes = extract(2 * items(300)), items(300)
    found = score(features_real=real, codes_train=codes, sampler="knn", seed=4)
    drawn = samplers.fit("knn", codes, seed=4).sample(300, torch.Generator().manual_seed(4))
    assert found.value == pytest.approx(frechet(real, extract(decode(drawn))), rel=1e-6)
    assert score(features_real=real, codes_train=codes, sampler="knn", most=100).provenance["n"] == 100


def test_draws_are_brought_onto_the_space():
    class Square(Euclidean):
        def project(self, z):
            return z.clamp(-1, 1)

    seen = []
    score(space=Square(2), decode=lambda codes: seen.append(codes) or codes)
    assert max(float(codes.abs().max()) for codes in seen) == 1


def test_what_cannot_be_had_is_said():
    with pytest.raises(TooFewSamples, match="9 samples are below"):
        score(most=9)
    with pytest.raises(NotApplicable, match="no variances"):
        score(sampler="riemannian")
