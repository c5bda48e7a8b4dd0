import functools

import pytest
import torch
import zoo

from latent_atlas.building import instantiate
from latent_atlas.data.spec import DataSpec, Field
from latent_atlas.models.ae import AE
from latent_atlas.models.denoising_ae import DenoisingAE, gaussian, masking, salt_and_pepper

IMAGE, VECTOR = Field("image", (1, 8, 8)), Field("vector", (5,))


def drawn(field, n=400):
    generator = torch.Generator().manual_seed(0)
    return torch.rand(n, *field.shape, generator=generator) * 0.5 + 0.25 + 1.0 * (field.kind == "vector")


def build(cls, spec, **changes):
    torch.manual_seed(0)
    net = {key: instantiate(value) for key, value in zoo.small_vae(**changes).items() if key != "_target_"}
    return cls(spec=spec, **net)


@pytest.mark.parametrize("field", [IMAGE, VECTOR])
def test_gaussian_noise_has_the_scale_asked_for(field):
    x = drawn(field)
    torch.manual_seed(0)
    moved = gaussian(x, field, 0.1) - x
    assert moved.std().item() == pytest.approx(0.1, rel=0.05)
    wide = gaussian(x, field, 2.0)
    assert ((wide >= 0) & (wide <= 1)).all() == (field.kind == "image")


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_shares_of_entries_are_replaced(share):
    torch.manual_seed(0)
    for field in (IMAGE, VECTOR):
        x = drawn(field)
        masked = masking(x, field, share)
        assert (masked == 0).float().mean().item() == pytest.approx(share, abs=0.03)
        assert ((masked == 0) | (masked == x)).all()
        salted = salt_and_pepper(x, field, share)
        low, high = (0 * x[:1], 0 * x[:1] + 1) if field.kind == "image" else (x.amin(0), x.amax(0))
        assert ((salted == low) | (salted == high) | (salted == x)).all()
        for extreme in (low, high):
            assert (salted == extreme).float().mean().item() == pytest.approx(share / 2, abs=0.03)


def test_without_corruption_it_is_the_autoencoder():
    spec = DataSpec("drawn", "x", {"x": VECTOR}, {"train": 64, "val": 0, "test": 0})
    plain, quiet = build(AE, spec), build(DenoisingAE, spec, corruption=functools.partial(gaussian, scale=0.0))
    noisy = build(DenoisingAE, spec)
    batch = {"x": drawn(VECTOR)}
    assert plain.loss(batch, "model").total == quiet.loss(batch, "model").total != noisy.loss(batch, "model").total


def test_the_clean_item_is_the_target():
    """Entries that are copies of one number: from one noisy item the mean of its entries is the best guess of the clean one."""
    spec = DataSpec("drawn", "x", {"x": VECTOR}, {"train": 512, "val": 0, "test": 0})
    x = torch.randn(512, 1, generator=torch.Generator().manual_seed(0)).expand(512, 5).contiguous()
    errors = {}
    for cls, scale in ((AE, 0.0), (DenoisingAE, 1.0)):
        more = {"corruption": functools.partial(gaussian, scale=scale)} if scale else {}
        model = build(cls, spec, latent_size=5, **more)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        for _ in range(300):
            optimizer.zero_grad()
            model.loss({"x": x}, "model").total.backward()
            optimizer.step()
        torch.manual_seed(1)
        with torch.no_grad():
            errors[cls] = (model.decode(model.encode(gaussian(x, VECTOR, 1.0)).mode).mean - x).square().mean().item()
    best = 0.2 / 1.2  # of x ~ N(0, 1) seen five times through noise of variance 1
    assert errors[DenoisingAE] == pytest.approx(best, rel=0.25)
    assert errors[AE] > errors[DenoisingAE]
