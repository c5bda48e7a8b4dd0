import pytest
import torch
from torch.distributions import Normal, kl_divergence
from zoo import small_vae

from latent_atlas.building import instantiate
from latent_atlas.data.spec import DataSpec, Field
from latent_atlas.models.ada_gvae import divergence, pooled
from latent_atlas.models.posteriors import DiagonalNormal

SPEC = DataSpec("drawn", "x", {"x": Field("image", (1, 4, 4), size=2)}, {"train": 64, "val": 0, "test": 0})


def build(target="ada_gvae.AdaGVAE", **changes):
    torch.manual_seed(0)
    return instantiate(small_vae(_target_=f"latent_atlas.models.{target}", **changes), spec=SPEC)


def images(seed):
    return (torch.rand(32, 1, 4, 4, generator=torch.Generator().manual_seed(seed)) > 0.5).float()


def normals(b=5, d=4):
    generator = torch.Generator().manual_seed(0)
    return DiagonalNormal(torch.randn(2 * b, d, generator=generator), torch.randn(2 * b, d, generator=generator))


def test_divergence_is_the_mean_of_both_kls():
    q = normals()
    a, b = (Normal(*halves) for halves in zip(q.mode.chunk(2), q.scale.chunk(2), strict=True))
    expected = (kl_divergence(a, b) + kl_divergence(b, a)) / 2
    torch.testing.assert_close(divergence(q.mode.unflatten(0, (2, 5)), q.log_var.unflatten(0, (2, 5))), expected)


def test_pooled_item_by_item():
    q = normals()
    found, shared = pooled(q)
    assert 0 < shared.sum() < shared.numel()
    for item in range(5):
        pair = [Normal(q.mode[k], q.scale[k]) for k in (item, item + 5)]
        delta = (kl_divergence(*pair) + kl_divergence(*reversed(pair))) / 2
        for j in range(4):
            same = bool(delta[j] < (delta.max() + delta.min()) / 2)
            assert bool(shared[item, j]) == same
            for k in (item, item + 5):
                mean = (pair[0].mean + pair[1].mean)[j] / 2 if same else q.mode[k, j]
                variance = (pair[0].variance + pair[1].variance)[j] / 2 if same else q.scale[k, j] ** 2
                torch.testing.assert_close(found.mode[k, j], mean)
                torch.testing.assert_close(found.scale[k, j] ** 2, variance)


@pytest.mark.parametrize("beta", [1.0, 4.0])
def test_where_nothing_can_be_shared_it_is_a_vae_of_both_items(beta):
    """With one dimension the least divergence is the largest."""
    a, b = images(0), images(1)
    paired, plain = (build(target, latent_size=1, beta=beta) for target in ("ada_gvae.AdaGVAE", "vae.VAE"))
    torch.manual_seed(1)
    found = paired.loss({"x": a, "pair": b}, "model")
    torch.manual_seed(1)
    expected = plain.loss({"x": torch.cat((a, b))}, "model")
    torch.testing.assert_close(found.total, expected.total)
    assert found.parts["shared"] == 0


def test_the_order_of_a_pair_does_not_matter():
    q = normals()
    swapped = DiagonalNormal(q.mode.roll(5, 0), q.log_var.roll(5, 0))
    (one, where), (other, there) = pooled(q), pooled(swapped)
    assert torch.equal(where, there)
    torch.testing.assert_close(one.mode, other.mode.roll(5, 0))


def mixing(target):
    """Learns items of two bits, whose partner has one of them flipped: the largest correlation of a latent with the other's bit."""
    torch.manual_seed(0)
    generator, halves = torch.Generator().manual_seed(0), torch.zeros(2, 1, 4, 8)
    halves[0, ..., :4], halves[1, ..., 4:] = 1, 1
    spec = DataSpec("bits", "x", {"x": Field("image", (1, 4, 8), size=2)}, {"train": 64, "val": 0, "test": 0})
    model = instantiate(small_vae(_target_=f"latent_atlas.models.{target}", latent_size=2), spec=spec)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(400):
        bits = torch.randint(2, (64, 2), generator=generator)
        flipped = bits.clone()
        flipped[torch.arange(64), torch.randint(2, (64,), generator=generator)] ^= 1
        x, pair = (torch.einsum("bk,kchw->bchw", each.float(), halves) for each in (bits, flipped))
        optimizer.zero_grad()
        model.loss({"x": x, "pair": pair}, "model").total.backward()
        optimizer.step()
    correlation = torch.corrcoef(torch.cat((model.encode(x).mode.detach(), bits.float()), 1).T)[:2, 2:].abs()
    own, other = sorted((correlation.diagonal(), correlation.flip(1).diagonal()), key=torch.sum, reverse=True)
    assert own.min() > 0.6
    return other.max()


def test_pairs_turn_the_axes_to_what_changes_alone():
    assert mixing("ada_gvae.AdaGVAE") < 0.2 < 0.5 < mixing("vae.VAE")
