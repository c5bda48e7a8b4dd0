"""The penalty of the contractive autoencoder: how far a code moves with its item."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from latent_atlas.models.ae import AE


def squared_jacobian(encode: Callable[[Tensor], Tensor], x: Tensor, probes: int | None = None) -> Tensor:
    """|∂ encode / ∂x|² (Frobenius) of each item, (B,), differentiable also in the encoder's parameters.

    (d / k) Σ |vᵀJ|² over k orthonormal directions v in the space of codes, turned at random: unbiased for each k, and exact for
    k = d whichever way they point. Each costs one backward pass.

    Args:
        encode: x -> codes (B, d), item by item.
        x: (B, *shape), not integers.
        probes: k, at most d; d by default.
    """
    with torch.enable_grad():  # also where a held-out loss is taken without one
        seen = x.detach().requires_grad_()
        codes = encode(seen)
        d = codes.shape[1]
        k = d if probes is None else min(probes, d)
        turned = torch.eye(d, device=x.device) if k == d else torch.linalg.qr(torch.randn(d, k)).Q.to(x.device).T
        slopes = [torch.autograd.grad((codes * v).sum(), seen, create_graph=True)[0] for v in turned]
    return d / k * torch.stack([slope.flatten(1).square().sum(1) for slope in slopes]).sum(0)


def contraction(
    model: AE, x: Tensor, z: Tensor, weight: float = 0.1, probes: int | None = None
) -> tuple[Tensor, Mapping[str, Tensor]]:
    """λ |∂E/∂x|², its mean over the batch (Rifai et al. 2011, ICML, "Contractive auto-encoders").

    Codes follow only those changes of an item that its reconstruction needs. The paper ties the decoder's weights to the encoder's;
    without that, small codes and a large decoder lower the penalty as well.

    Args:
        model: with the encoder.
        x: what it saw.
        z: its codes; they are encoded anew, for x takes no gradient there.
        weight: λ in nats.
        probes: as in ``squared_jacobian``; the default is exact.
    """
    squares = squared_jacobian(lambda seen: model.space.coordinates(model.encode(seen).mode), x, probes).mean()
    return weight * squares, {"contraction": squares}
