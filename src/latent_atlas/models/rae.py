"""Regularized autoencoder: a smooth decoder and short codes in place of noise."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from latent_atlas.models.ae import AE

REGULARIZERS = ("none", "l2", "gradient", "spectral")
WEIGHTS = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)  # the layers that a spectral norm bounds


def squared_jacobian(decode: Any, z: Tensor) -> Tensor:
    """An unbiased estimate of |∂ decode / ∂z|² (Frobenius) of each item, (B,), differentiable also in the decoder's parameters.

    |vᵀJ|² with one v of random signs per item (Hutchinson 1990), in one backward pass however many outputs there are.
    """
    with torch.enable_grad():  # also where a held-out loss is taken without one
        z = z if z.requires_grad else z.detach().requires_grad_()
        mean = decode(z).mean
        signs = torch.empty_like(mean).bernoulli_().mul_(2).sub_(1)
        (slope,) = torch.autograd.grad((mean * signs).sum(), z, create_graph=True)
    return slope.flatten(1).square().sum(1)


def smooth(
    model: AE, x: Tensor, z: Tensor, regularizer: str, code_weight: float, decoder_weight: float
) -> tuple[Tensor, Mapping[str, Tensor]]:
    """β / 2 |z|² + λ R, with R the squares of the decoder's weights (``l2``), |∂D/∂z|² (``gradient``), or nothing more."""
    length = 0.5 * model.space.coordinates(z).square().sum(1).mean()
    if regularizer == "gradient":
        decoder = squared_jacobian(model.decode, z).mean()
    elif regularizer == "l2":
        decoder = torch.stack([parameter.square().sum() for parameter in model.decoder.parameters()]).sum()
    else:
        return code_weight * length, {"code_length": length}
    return code_weight * length + decoder_weight * decoder, {"code_length": length, f"decoder_{regularizer}": decoder}


class RAE(AE):
    """-log p(x | z) + β / 2 |z|² + λ R(decoder), z = encoder(x) (Ghosh et al. 2020, arXiv 1903.12436).

    R is |θ|² of the decoder's parameters (``l2``), the mean over the batch of |∂D/∂z|², the Frobenius norm of the Jacobian of the
    decoder's mean (``gradient``), nothing beside layers of spectral norm 1 (``spectral``), or nothing (``none``). Samples of the
    prior say little: the paper fits a density to the codes.

    Args:
        regularizer: one of ``none``, ``l2``, ``gradient``, ``spectral``.
        code_weight: β in nats.
        decoder_weight: λ in nats; of ``l2`` and ``gradient``.
        more: as in ``AE``.
    """

    def __init__(
        self,
        *args: Any,
        regularizer: str = "gradient",
        code_weight: float = 0.1,
        decoder_weight: float = 1.0,
        **more: Any,
    ) -> None:
        if regularizer not in REGULARIZERS:
            raise ValueError(f"regularizer is {regularizer!r}; it is one of {', '.join(REGULARIZERS)}")
        super().__init__(*args, **more)
        self.penalty = partial(smooth, regularizer=regularizer, code_weight=code_weight, decoder_weight=decoder_weight)
        if regularizer == "spectral":
            for module in [module for module in self.decoder.modules() if isinstance(module, WEIGHTS)]:
                spectral_norm(module)
