"""Normalizing flows as priors: z = T⁻¹(u) with u ~ N(0, I)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Generator, Tensor, nn

from latent_atlas.spaces.priors import Prior

# (features, context) -> a flow of zuko (zuko.flows.NSF, MAF, RealNVP ...); only its transform is used, the base is N(0, I)
FlowFactory = Callable[[int, int], Any]


def near_identity(flow: Any, factor: float = 0.01) -> Any:
    """Shrinks the last layer of each of a flow's networks: it starts close to z = u (at it, no layer below learns)."""
    for module in flow.modules():
        network = getattr(module, "hyper", None)
        if isinstance(network, nn.Sequential):
            layers = [layer for layer in network if list(layer.parameters())]
            with torch.no_grad():
                for parameter in layers[-1].parameters():
                    parameter.mul_(factor)
    return flow


def standard_log_prob(u: Tensor) -> Tensor:
    """log N(u; 0, I) in nats over the last dimension."""
    return -0.5 * (u.square().sum(-1) + u.shape[-1] * math.log(2 * math.pi))


class FlowPrior(Prior):
    """log p(z) = log N(T(z); 0, I) + log |det ∂T/∂z| (Chen et al. 2017, arXiv 1611.02731).

    A density takes one pass of T and a draw its inverse: an autoregressive flow (MAF, NSF) inverts in d passes, a coupling flow
    (RealNVP, NSF with ``passes: 2``) in one or two. A spline flow is the identity outside of [-5, 5].

    Args:
        shape: of one point.
        flow: factory (features, context) -> flow of zuko.
    """

    def __init__(self, shape: tuple[int, ...], flow: FlowFactory) -> None:
        super().__init__(shape)
        self.features = math.prod(self.shape)
        self.flow = near_identity(flow(self.features, 0))

    def sample(self, n: int, generator: Generator | None = None) -> Tensor:
        device = next(self.flow.parameters()).device
        noise = torch.empty(n, self.features, device=device).normal_(generator=generator)
        z: Tensor = self.flow.transform(None).inv(noise)
        return z.reshape(n, *self.shape)

    def log_prob(self, z: Tensor) -> Tensor:
        u, log_det = self.flow.transform(None).call_and_ladj(z.flatten(1))
        return standard_log_prob(u) + log_det
