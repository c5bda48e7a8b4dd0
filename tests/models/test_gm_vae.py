import pytest
import torch
import zoo

from latent_atlas.building import instantiate
from latent_atlas.data.spec import DataSpec, Field
from latent_atlas.models.gm_vae import use
from latent_atlas.models.posteriors import DiagonalNormal
from latent_atlas.spaces.euclidean import Euclidean

SPEC = DataSpec("drawn", "x", {"x": Field("image", (1, 4, 4), size=2)}, {"train": 64, "val": 0, "test": 0})
X = (torch.rand(32, 1, 4, 4, generator=torch.Generator().manual_seed(0)) > 0.5).float()


def space(target, **more):
    return zoo.partial(
        "latent_atlas.spaces.euclidean.Euclidean", prior=zoo.partial(f"latent_atlas.spaces.mixture.{target}", **more)
    )


def build(prior=None, regularizer="gm_vae.kl_and_use"):
    torch.manual_seed(0)
    changes = {"space": prior} if prior else {}
    return instantiate(zoo.small_vae(**changes, regularizer=zoo.partial(f"latent_atlas.models.{regularizer}")), spec=SPEC)


def test_the_use_of_components_counts_them():
    sure = torch.eye(4)[torch.tensor([0, 1, 1, 0])]
    found = use(sure)
    assert found["clusters"].item() == pytest.approx(2.0)
    assert found["cluster_entropy"].item() == 0.0
    found = use(torch.full((3, 4), 0.25))
    assert found["clusters"].item() == pytest.approx(4.0)
    assert found["cluster_entropy"].item() == pytest.approx(torch.tensor(4.0).log().item())


def test_one_standard_component_gives_the_plain_vae_on_average():
    plain, mixed = build(regularizer="vae.kl"), build(space("Mixture", components=1, spread=0.0))
    mixed.load_state_dict(plain.state_dict(), strict=False)
    rates = torch.stack([mixed.loss({"x": X}, "model").parts["rate"] for _ in range(500)])
    expected = plain.encode(X).kl(plain.space).mean()
    assert (rates.mean() - expected).abs() < 4 * rates.std() / 500**0.5
    assert mixed.loss({"x": X}, "model").parts["clusters"].item() == pytest.approx(1.0)


def test_the_estimated_kl_to_a_mixture_is_that_of_quadrature():
    torch.manual_seed(0)
    flat = Euclidean(1, instantiate(zoo.partial("latent_atlas.spaces.mixture.Mixture", components=3)))
    q = DiagonalNormal(torch.tensor([[0.3]]).expand(20_000, 1), torch.tensor([[-0.5]]).expand(20_000, 1))
    grid = torch.linspace(-9, 9, 4001)[:, None]
    one = DiagonalNormal(q.mode[:1], q.log_var[:1])
    log_q = one.log_prob_per_dimension(grid).sum(1)
    expected = torch.trapezoid(log_q.exp() * (log_q - flat.log_prob(grid)), grid[:, 0])
    found = q.kl(flat, torch.Generator().manual_seed(0))
    assert (found.mean() - expected).abs() < 4 * found.std() / 20_000**0.5


def test_without_components_there_are_no_clusters():
    with pytest.raises(ValueError, match="this space has StandardNormal"):
        build().loss({"x": X}, "model")


def test_a_vamp_prior_registers_the_encoder_once():
    model = build(space("Vamp", components=6))
    names = list(model.state_dict())
    assert [name for name in names if "prior" in name] == ["spaces.z.prior.free_inputs"]
    assert sum(name.startswith("encoder.") for name in names) == len(list(model.encoder.parameters()))
    model.prepare([{"x": X}])
    model.loss({"x": X}, "model").total.backward()
    assert model.space.prior.free_inputs.grad.any()


def test_a_copy_of_a_model_with_a_vamp_prior_has_its_own_encoder():
    import copy

    model = build(space("Vamp", components=6))
    other = copy.deepcopy(model)
    z = torch.randn(5, 3)
    before = model.space.log_prob(z)
    with torch.no_grad():
        for parameter in other.encoder.parameters():
            parameter.add_(0.5)
    assert torch.equal(model.space.log_prob(z), before)
    assert not torch.equal(other.space.log_prob(z), before)
