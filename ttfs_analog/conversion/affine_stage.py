"""One layer of the ReLU twin while it is being prepared: weights, place-dependent bias, geometry."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from circuits.errors import InputError
from ttfs_analog.neuron.pooling import Pool


@dataclass
class Stage:
    """One layer of the ReLU twin: what comes before it, synapses, and a ReLU unless it is the last."""

    where: str
    before: list[nn.Module]  #: Pool and Flatten modules
    weight: Tensor  #: (out, in) or (channel, in / groups, height, width)
    bias: Tensor  #: (out,) or (channel,)
    border: Tensor | None = None  #: (channel, height, width), added to the bias
    geometry: dict[str, Any] | None = None  #: stride, padding, dilation, groups of a convolution
    inside: tuple[int, ...] = ()  #: (height, width) of a convolution's output
    relu: bool = False
    after: list[nn.Module] = field(default_factory=list)  #: Pool and Flatten before the next stage

    def drive(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """The affine part: W x + bias.

        Parameters
        ----------
        x : Tensor, shape (image, in) or (image, channel, height, width)
        bias : Tensor, shape (out,) or (channel,), or None
        """
        if self.geometry is None:
            return F.linear(x, self.weight, bias)
        return F.conv2d(x, self.weight, bias, **self.geometry)

    def scale_outputs(self, factor: Tensor) -> None:
        """Multiply the outputs of all channels by a factor, shape (out,)."""
        self.weight = self.weight * factor.reshape(-1, *[1] * (self.weight.dim() - 1))
        self.bias = self.bias * factor
        if self.border is not None:
            self.border = self.border * factor[:, None, None]

    def scale_inputs(self, factor: Tensor) -> None:
        """Multiply the weights of all input channels by a factor, shape (in,)."""
        if self.geometry is None:
            self.weight = self.weight * factor
            return
        groups = self.geometry["groups"]
        by_group = factor.reshape(groups, 1, -1, 1, 1)
        self.weight = (self.weight.unflatten(0, (groups, -1)) * by_group).flatten(0, 1)


@dataclass
class Affine:
    """x -> kappa x + shift, not yet absorbed by a layer."""

    kappa: Tensor  #: (channel,)
    shift: Tensor  #: of one image: (channel, height, width) or (feature,)

    def constant(self) -> bool:
        """Whether the shift is the same at all places of a channel."""
        return bool((self.shift == self.shift.flatten(1)[:, 0][:, None, None]).all())


def scale_and_shift(norm: nn.BatchNorm1d | nn.BatchNorm2d, where: str = "") -> tuple[Tensor, Tensor]:
    """kappa and beta - kappa mu of a trained normalization, shape (feature,).

    Parameters
    ----------
    norm : BatchNorm1d or BatchNorm2d
    where : str
        Its name in messages; default: that of its class.

    Raises
    ------
    InputError
        If it has no running statistics: it then has no fixed function; or if a variance is negative.

    Source: thesis of A. Stanojevic, EPFL 2023, eqs. 2.7-2.9.
    """
    if norm.running_mean is None or norm.running_var is None:
        name = where or type(norm).__name__
        raise InputError(f"{name} without running statistics cannot be fused; train it with them")
    if bool((norm.running_var < 0).any()):
        name, i = where or type(norm).__name__, int(norm.running_var.argmin())
        raise InputError(
            f"{name}: running_var of feature {i} is {float(norm.running_var[i]):.4g}; a variance is >= 0: "
            "the file or the training is damaged"
        )
    kappa = torch.rsqrt(norm.running_var + norm.eps)
    beta = torch.zeros_like(kappa)
    if norm.affine:
        kappa, beta = kappa * norm.weight, norm.bias
    return kappa.detach(), (beta - kappa * norm.running_mean).detach()


def turned(pool: Pool, negative: Tensor) -> Pool:
    """The pooling whose marked channels change between first and last arrival.

    Parameters
    ----------
    pool : Pool
    negative : Tensor of bool, shape (channel,)
        Channels that a factor kappa < 0 turns.
    """
    last = negative if pool.last is None else pool.last.to(negative.device) ^ negative
    mask = last if bool(last.any()) else None
    return Pool(pool.kernel, ceil=pool.ceil, last=mask, **pool.geometry)


def geometry_of(where: str, module: nn.Conv2d) -> dict[str, Any]:
    """Stride, padding, dilation (row, column) and groups of a convolution.

    Parameters
    ----------
    where : str
        Its name in messages.
    module : Conv2d

    Raises
    ------
    InputError
        If it pads with anything but zeros, or unevenly.
    """
    if module.padding_mode != "zeros":
        raise InputError(f"{where} pads with {module.padding_mode!r}; only zeros (silence) can be mapped")
    size, dilation = pair(module.kernel_size), pair(module.dilation)
    if module.padding == "valid":
        padding: tuple[int, ...] = (0, 0)
    elif module.padding == "same":
        reach = [d * (k - 1) for k, d in zip(size, dilation, strict=True)]
        if any(r % 2 for r in reach):
            raise InputError(f"{where} pads unevenly (padding='same', even kernel); use an odd kernel")
        padding = tuple(r // 2 for r in reach)
    else:
        padding = pair(module.padding)
    return {
        "stride": pair(module.stride),
        "padding": padding,
        "dilation": dilation,
        "groups": module.groups,
    }


def pair(value: Any) -> tuple[Any, ...]:
    """Rows and columns of a size that torch writes as one number or as two."""
    return tuple(value) if isinstance(value, tuple | list) else (value, value)
