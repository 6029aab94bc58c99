r"""ReLU network <-> TTFS network, exactly (B1 model).

.. math:: w = W / B, \qquad b = -\theta / B + (t_{max} - t_{min}) / \tau_c

With B = 1 the weights are the same numbers; only windows and thresholds are added. In relative time
the ideal B1 network *is* the ReLU network: a theorem, not a result.

Source: Stanojevic et al., Nat. Commun. 2024, eqs. 2 and 9; windows with a margin zeta: Stanojevic
et al., "An exact mapping from ReLU networks to spiking neural networks", Neural Networks 2023.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from circuits.errors import InputError
from circuits.technology import Technology
from ttfs_analog.datasets import inputs_of
from ttfs_analog.layers import TTFSLinear
from ttfs_analog.network import TTFSNetwork
from ttfs_analog.preprocessing import fuse_after, fuse_before

PASS_THROUGH = (nn.Flatten, nn.Dropout, nn.Identity)
"""Layers that do nothing at inference on vectors."""


def linear_layers(model: nn.Module) -> list[nn.Linear]:
    """The Linear layers of a chain Linear-ReLU-...-Linear, batch normalization fused into them.

    Raises
    ------
    InputError
        Naming the layer that cannot be mapped, and what to do.
    """
    if not isinstance(model, nn.Sequential):
        raise InputError(
            f"{type(model).__name__} cannot be converted: give an nn.Sequential of Linear, ReLU and "
            "BatchNorm1d layers (Flatten, Dropout and Identity are allowed)"
        )
    chain: list[nn.Linear] = []
    waiting: list[nn.BatchNorm1d] = []  # normalizations that the next Linear has to take in
    want_relu = False
    for where, child in _leaves(model, ""):
        if isinstance(child, nn.Linear):
            if want_relu:
                raise InputError(f"{where} follows a Linear without ReLU; merge the two, or add one")
            for norm in reversed(waiting):
                _same_size(where, norm.num_features, child.in_features)
                child = fuse_after(norm, child)
            waiting, want_relu = [], True
            chain.append(child)
        elif isinstance(child, nn.BatchNorm1d):
            if want_relu:
                _same_size(where, child.num_features, chain[-1].out_features)
                chain[-1] = fuse_before(chain[-1], child)
            else:
                waiting.append(child)
        elif isinstance(child, nn.ReLU):
            if not want_relu:
                raise InputError(f"{where} does not follow a Linear layer; remove it")
            want_relu = False
        elif not isinstance(child, PASS_THROUGH):
            raise InputError(
                f"{where} is not supported; use Linear, ReLU and BatchNorm1d, or fuse it into a Linear layer"
            )
    if not chain or not want_relu:
        raise InputError("the model must end with a Linear layer without ReLU: it is the read-out")
    return chain


def _leaves(module: nn.Sequential, prefix: str) -> Iterator[tuple[str, nn.Module]]:
    """Layers in order with their names; a layer that is used twice comes twice."""
    for key, child in module._modules.items():
        if isinstance(child, nn.Sequential):
            yield from _leaves(child, f"{prefix}{key}.")
        elif child is not None:
            yield f"layer {prefix}{key} ({type(child).__name__})", child


def _same_size(where: str, features: int, size: int) -> None:
    if features != size:
        raise InputError(f"{where}: a normalization of {features} features meets a layer of {size}")


@torch.no_grad()
def choose_windows(
    model: nn.Module, x: Tensor, *, zeta: float = 0.5, percentile: float | None = None
) -> list[float]:
    """Firing windows of the hidden layers from calibration inputs.

    Parameters
    ----------
    x : Tensor, shape (image, in)
    zeta : float
        T = (1 + zeta) * largest activation: nothing seen so far is clipped.
    percentile : float, optional
        T = this percentile of the non-zero activations instead: shorter, clips the rest at t_min.

    Source: percentiles, Stanojevic et al. 2024, Methods (ii) and (iv).
    """
    if not -1 < zeta < math.inf:
        raise InputError(f"zeta must be > -1, got {zeta}")
    if percentile is not None and not 0 < percentile <= 100:
        raise InputError(f"percentile must lie in (0, 100], got {percentile}")
    windows = []
    for layer in linear_layers(model)[:-1]:
        x = torch.relu(layer(x))
        if percentile is None:
            window = (1.0 + zeta) * float(x.max())
        else:
            fired = x[x > 0]
            window = float(torch.quantile(fired[:1_000_000], percentile / 100)) if len(fired) else 0.0
        windows.append(window if window > 0 else 1.0)  # a layer that never fires needs some window
    return windows


def convert(
    model: nn.Module,
    calibration: Any,
    *,
    zeta: float = 0.5,
    percentile: float | None = None,
    technology: Technology | None = None,
    metadata: dict[str, Any] | None = None,
) -> TTFSNetwork:
    """Map a ReLU network to the TTFS network with the same function.

    Parameters
    ----------
    model : nn.Module
        nn.Sequential of Linear, ReLU and BatchNorm1d; left untouched.
    calibration : loader, tensor, or (x, y)
        Inputs in [0, 1] that set windows.
    zeta, percentile
        See `choose_windows`.
    technology : Technology, optional
        Where the operating points of the layers are taken from; default "ideal".

    Raises
    ------
    InputError
        If a layer is not supported, a weight is not finite, or inputs leave [0, 1].
    """
    chain = linear_layers(model)
    for name, value in model.state_dict().items():
        if not torch.isfinite(value).all():
            raise InputError(f"{name} holds values that are not finite (NaN or inf)")
    x = inputs_of(calibration).to(chain[0].weight)
    if len(x) == 0:
        raise InputError("the calibration data hold no inputs")
    if x.shape[1] != chain[0].in_features:
        raise InputError(
            f"the model takes {chain[0].in_features} inputs, the calibration data have {x.shape[1]}"
        )
    if not (float(x.min()) >= 0 and float(x.max()) <= 1):  # NaN is caught here too
        raise InputError(
            f"inputs must lie in [0, 1], found {float(x.min()):.3g}..{float(x.max()):.3g}; scale them"
        )
    windows = [1.0, *choose_windows(model, x, zeta=zeta, percentile=percentile)]
    layers = []
    for n, linear in enumerate(chain):
        last = n == len(chain) - 1
        bias = linear.bias if linear.bias is not None else linear.weight.new_zeros(linear.out_features)
        layers.append(
            TTFSLinear(
                linear.weight,
                bias,
                input_window=windows[n],
                window=0.0 if last else windows[n + 1],
                spiking=not last,
            )
        )
    net = TTFSNetwork(layers, metadata)
    net.choose_points(x, (technology or Technology.load("ideal")).operating_point)
    return net


def to_relu(net: TTFSNetwork) -> nn.Sequential:
    """The ReLU network with the same function: the reverse map, eq. 2."""
    modules: list[nn.Module] = []
    for layer in net.layers:
        linear = nn.Linear(layer.weight.shape[1], layer.weight.shape[0], dtype=layer.weight.dtype)
        with torch.no_grad():
            slope = layer.slope if layer.spiking else torch.ones_like(layer.slope)
            linear.weight.copy_(layer.weight / slope[:, None])
            linear.bias.copy_(layer.bias)
        modules += [linear, nn.ReLU()] if layer.spiking else [linear]
    return nn.Sequential(*modules)


@torch.no_grad()
def agreement(net: nn.Module, model: nn.Module, x: Tensor) -> tuple[float, float]:
    """Share of inputs with the same class, and the largest relative difference of the logits."""
    a, b = net(x), model(x)
    same = float((a.argmax(-1) == b.argmax(-1)).double().mean())
    scale = float(b.abs().max()) or math.inf
    return same, float((a - b).abs().max()) / scale
