r"""Batch normalization disappears into the neighboring Linear layers, exactly, before the map.

With \kappa = \gamma / \sqrt{\sigma^2 + \epsilon} of the trained statistics,

.. math:: \text{before ReLU:}\quad w \leftarrow \kappa w, \; b \leftarrow \kappa\,(b - \mu) + \beta

.. math:: \text{after ReLU, into the next layer:}\quad
    b_k \leftarrow b_k + \sum_i (\beta_i - \kappa_i \mu_i)\, w_{ki}, \; w_{ki} \leftarrow \kappa_i w_{ki}

Source: A. Stanojevic, thesis, EPFL 2023, eqs. 2.7-2.10.
Not modeled: convolutions, padding and pooling.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from circuits.errors import InputError


def scale_and_shift(norm: nn.BatchNorm1d) -> tuple[Tensor, Tensor]:
    """kappa and beta - kappa mu of a trained normalization, shape (feature,).

    Raises
    ------
    InputError
        If it keeps no running statistics: it then has no fixed function.
    """
    if norm.running_mean is None or norm.running_var is None:
        raise InputError("BatchNorm1d without running statistics cannot be fused; train it with them")
    kappa = torch.rsqrt(norm.running_var + norm.eps)
    beta = torch.zeros_like(kappa)
    if norm.affine:
        kappa, beta = kappa * norm.weight, norm.bias
    return kappa.detach(), (beta - kappa * norm.running_mean).detach()


@torch.no_grad()
def fuse_before(linear: nn.Linear, norm: nn.BatchNorm1d) -> nn.Linear:
    """Linear, then normalization, as one Linear."""
    kappa, shift = scale_and_shift(norm)
    bias = linear.bias if linear.bias is not None else torch.zeros_like(kappa)
    return _linear(kappa[:, None] * linear.weight, kappa * bias + shift)


@torch.no_grad()
def fuse_after(norm: nn.BatchNorm1d, linear: nn.Linear) -> nn.Linear:
    """Normalization, then Linear, as one Linear."""
    kappa, shift = scale_and_shift(norm)
    bias = linear.bias if linear.bias is not None else linear.weight.new_zeros(linear.out_features)
    return _linear(linear.weight * kappa, bias + linear.weight @ shift)


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    linear = nn.Linear(weight.shape[1], weight.shape[0], dtype=weight.dtype, device=weight.device)
    linear.weight.copy_(weight)
    linear.bias.copy_(bias)
    return linear
