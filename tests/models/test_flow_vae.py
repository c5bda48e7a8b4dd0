import pytest
import torch
import zoo

from latent_atlas.building import instantiate
from latent_atlas.data.spec import DataSpec, Field
from latent_atlas.models.flow_vae import FlowHead
from latent_atlas.spaces.euclidean import Euclidean

SPEC = DataSpec("drawn", "x", {"x": Field("image", (1, 4, 4), size=2)}, {"train": 64, "val": 0, "test": 0})
X = (torch.rand(16, 1, 4, 4, generator=torch.Generator().manual_seed(0)) > 0.5).float()


def flow(name):
    return zoo.partial(f"zuko.flows.{name}", transforms=2, hidden_features=[16])


def head(name="RealNVP", d=3):
    torch.manual_seed(0)
    made = FlowHead(Euclidean(d), instantiate(flow(name)), context=4)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return made


@pytest.mark.parametrize("name", ["RealNVP", "MAF"])
def test_the_density_has_the_log_determinant_of_autograd(name):
    made = head(name).double()
    raw = torch.randn(1, made.outputs, dtype=torch.float64)
    q = made(raw)
    u = q.base.sample().double()
    z = q.transform(u)
    jacobian = torch.autograd.functional.jacobian(lambda row: made.flow.transform(raw[0, 6:].float())(row), u[0])
    base = torch.distributions.Normal(q.base.mode, q.base.scale).log_prob(u).sum()
    torch.testing.assert_close(q.log_prob(z)[0], base - torch.linalg.slogdet(jacobian)[1], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["RealNVP", "MAF"])
def test_the_density_of_a_draw_is_that_of_the_point(name):
    made = head(name)
    q = made(torch.randn(50, made.outputs))
    z = q.sample()
    torch.testing.assert_close(q.log_prob(z), q.log_prob(z.clone()), atol=1e-3, rtol=1e-3)
    assert torch.equal(q.mode, q.mode)


def test_the_density_integrates_to_one():
    made = head(d=2)
    line = torch.linspace(-12, 12, 601)
    points = torch.cartesian_prod(line, line)
    with torch.no_grad():
        q = made(torch.randn(1, made.outputs).expand(len(points), -1))
        density = q.log_prob(points).exp().reshape(601, 601)
    assert torch.trapezoid(torch.trapezoid(density, line), line).item() == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("part", ["prior", "posterior", "both"])
def test_identity_flows_give_the_plain_vae(part):
    changes = {}
    if part != "posterior":
        prior = zoo.partial("latent_atlas.spaces.flow.FlowPrior", flow=flow("NSF"))
        changes["space"] = zoo.partial("latent_atlas.spaces.euclidean.Euclidean", prior=prior)
    if part != "prior":
        changes["posterior"] = zoo.partial("latent_atlas.models.flow_vae.FlowHead", flow=flow("MAF"), context=2)
    plain, flowing = instantiate(zoo.small_vae(), spec=SPEC), instantiate(zoo.small_vae(**changes), spec=SPEC)
    state = {name: value for name, value in plain.state_dict().items() if not name.startswith("encoder.body.2")}
    flowing.load_state_dict(state, strict=False)
    with torch.no_grad():
        for a, b in zip(plain.encoder.body[2].parameters(), flowing.encoder.body[2].parameters(), strict=True):
            b[: len(a)] = a
        for name, parameter in flowing.named_parameters():
            if "flow." in name:
                parameter.zero_()
    torch.manual_seed(1)
    expected = plain.loss({"x": X}, "model")
    torch.manual_seed(1)
    found = flowing.loss({"x": X}, "model")
    torch.testing.assert_close(found.parts["distortion"], expected.parts["distortion"])
    # the same draws, but the KL is estimated from them
    q = plain.encode(X)
    torch.manual_seed(1)
    z = q.sample()
    torch.testing.assert_close(found.parts["rate"], (q.log_prob(z) - plain.space.log_prob(z)).mean().detach(), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(flowing.encode(X).mode, q.mode, atol=1e-5, rtol=1e-5)


def test_a_flow_without_context_is_refused():
    with pytest.raises(ValueError, match="context is 0"):
        FlowHead(Euclidean(2), instantiate(flow("MAF")), context=0)
