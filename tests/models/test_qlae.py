import torch
from zoo import partial, small_vae

from latent_atlas.building import instantiate
from latent_atlas.data.spec import DataSpec, Field
from latent_atlas.metrics.collapse import codebook_use
from latent_atlas.models.likelihoods import Bernoulli

SPEC = DataSpec("drawn", "x", {"x": Field("image", (1, 4, 4), size=2)}, {"train": 64, "val": 0, "test": 0})


def build(**changes):
    torch.manual_seed(0)
    net = {
        **small_vae(optimizer=partial("torch.optim.AdamW", lr=1e-3, fused=False)),
        "_target_": "latent_atlas.models.qlae.QLAE",
        "space": partial("latent_atlas.spaces.grid.Grid", levels=6),
        "posterior": partial("latent_atlas.models.qlae.CodesHead"),
        **changes,
    }
    return instantiate(net, spec=SPEC)


def batch(n=32):
    return {"x": (torch.rand(n, 1, 4, 4, generator=torch.Generator().manual_seed(0)) > 0.5).float()}


def gradients(model):
    """Of the encoder, the decoder and the code values."""
    model.zero_grad()
    model.loss(batch(), "model").total.backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


def test_the_loss_is_the_sum_of_its_three_parts():
    model, x = build(quantization=3.0, commitment=5.0), batch()["x"]
    c = model.encoder(x)
    values = model.space.values.detach()
    z = torch.stack([values[j][(c[:, j : j + 1] - values[j]).abs().argmin(1)] for j in range(3)], 1)
    distortion = -torch.distributions.Bernoulli(logits=model.decoder(z)).log_prob(x).sum((1, 2, 3)).mean()
    found = model.loss(batch(), "model")
    torch.testing.assert_close(found.total, distortion + 8 * (c - z).square().sum(1).mean())
    torch.testing.assert_close(found.parts["quantization_error"], (c - z).square().sum(1).mean().detach())


def test_the_gradient_passes_straight_through():
    """The decoder's gradient at the value is the encoder's at its output, and the value is exact."""
    model, x = build(quantization=0.0, commitment=0.0), batch()["x"]
    q = model.encode(x)
    assert torch.equal(q.mode, model.space.project(q.raw))
    at_value = q.values.detach().requires_grad_()
    Bernoulli(model.decoder(at_value)).log_prob(x).sum().backward()
    (through,) = torch.autograd.grad(model.decode(q.mode).log_prob(x).sum(), q.raw)
    torch.testing.assert_close(through, at_value.grad)
    assert not gradients(model)["spaces.z.values"].any()


def test_each_weight_moves_one_side():
    plain, committed, quantized = (gradients(build(quantization=q, commitment=r)) for q, r in ((0.0, 0.0), (0.0, 2.0), (2.0, 0.0)))
    for name, gradient in plain.items():
        encoder, values = name.startswith("encoder"), name == "spaces.z.values"
        assert torch.equal(committed[name], gradient) != encoder, f"commitment: {name}"
        assert torch.equal(quantized[name], gradient) != values, f"quantization: {name}"
    # ∂|v - c|² / ∂v = 2 (v - c), summed over the items at each value
    model = build()
    q = model.encode(batch()["x"])
    values = torch.zeros(3, 6)
    for item, entries in enumerate(q.indices):
        for j, entry in enumerate(entries.tolist()):
            values[j, entry - 6 * j] += 2 * 2.0 * float((q.values - q.raw)[item, j].detach()) / 32
    torch.testing.assert_close(quantized["spaces.z.values"], values)


def test_entries_name_the_value_of_each_dimension():
    model = build()
    q = model.encode(batch()["x"])
    assert model.codebook_size == 18
    flat = model.space.values.detach().reshape(-1)
    assert torch.equal(flat[q.indices], q.mode.detach())
    assert q.indices.dtype == torch.int64
    assert codebook_use(q.indices, model.codebook_size).parts["used"] == len(q.indices.unique())


def test_only_matrices_of_encoder_and_decoder_decay():
    model = build(decay=0.25)
    player = model.players()["model"]
    optimizer = player.optimizer(player.parameters())
    decays = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    for name, parameter in model.named_parameters():
        assert decays[id(parameter)] == (0.25 if name.endswith("weight") else 0.0), name
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.detach(), before[name] * (1 - 1e-3 * decays[id(parameter)]))
