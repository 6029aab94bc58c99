r"""A layer of one chip's devices as one product, fully connected or convolutional.

.. math:: z_i = g_i \sum_j W_{ij} (1+e_{ij}) x_j + h_i D_i + o_i, \qquad x_i = \mathrm{clip}(z_i, 0, T)

with W rounded to whole multiples of a unit current, and g, h, o from `functional.fold`: few operations
without a chip dimension. `ttfs_analog.products` computes the same by compiled kernels.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import hardtanh, linear

hardtanh_backward = torch.ops.aten.hardtanh_backward.default  # its name alone is searched for anew


class Grid(NamedTuple):
    """Weights are whole multiples of `unit` in [-top, top - 1]."""

    unit: float
    top: int

    @property
    def ends(self) -> tuple[float, float]:
        """The smallest and the largest weight."""
        return -self.top * self.unit, (self.top - 1) * self.unit

    @property
    def numbers(self) -> tuple[float, float, float, float]:
        """1 / unit, unit, lowest and highest multiple, as the kernels take them."""
        return 1.0 / self.unit, self.unit, float(-self.top), float(self.top - 1)


class _Rounded(torch.autograd.Function):
    """Weights on a grid; the derivative is that of the clipping alone."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, grid: Grid) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.grid = grid
        return (weight * (1.0 / grid.unit)).round_().clamp_(-grid.top, grid.top - 1).mul_(grid.unit)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (weight,) = ctx.saved_tensors
        return hardtanh_backward(grad, weight, *ctx.grid.ends), None  # its own backward: one pass


def rounded(weight: Tensor, grid: Grid) -> Tensor:
    """Weights on their grid; gradients pass where they are not clipped."""
    return _Rounded.apply(weight, grid)


class Numbers(NamedTuple):
    """`Devices` as the kernels take them; None: not there."""

    gain: Any
    shift: Any  #: (h, o)
    low: float
    high: float
    synapse_gain: Any
    grid: Any  #: `Grid.numbers`


@dataclass(frozen=True, eq=False)
class Devices:
    """What the devices of one chip make of a layer; nothing here depends on the weights."""

    window: float | None  #: T; None: a read-out
    grid: Grid | None = None
    gain: Tensor | None = None  #: g, shape (out,)
    shift_gain: Tensor | None = None  #: h, shape (out,)
    offset: Tensor | None = None  #: o, shape (out,); together with h
    synapse_gain: Tensor | None = None  #: g (1 + e), shape (out, in); instead of g

    @functools.cached_property
    def numbers(self) -> Numbers:
        """On the CPU, in arrays that share memory with the tensors."""
        shift = None
        if self.shift_gain is not None and self.offset is not None:
            shift = self.shift_gain.numpy(), self.offset.numpy()
        grid = None if self.grid is None else self.grid.numbers
        gain, synapse_gain = (None if v is None else v.numpy() for v in (self.gain, self.synapse_gain))
        low, high = (-math.inf, math.inf) if self.window is None else (0.0, self.window)
        return Numbers(gain, shift, low, high, synapse_gain, grid)

    def threshold(self, bias: Tensor) -> Tensor:
        """h D + o."""
        if self.offset is None or self.shift_gain is None:
            return bias
        return torch.addcmul(self.offset, bias, self.shift_gain)


def respond(x: Tensor, weight: Tensor, bias: Tensor, devices: Devices) -> Tensor:
    """Activations of the layer.

    Parameters
    ----------
    x : Tensor, shape (..., in)
    weight, bias : Tensor
        W and D, shapes (out, in) and (out,).
    """
    weight = weight if devices.grid is None else rounded(weight, devices.grid)
    if devices.gain is not None:
        return fired(x @ weight.t(), bias, devices)
    weight = weight if devices.synapse_gain is None else weight * devices.synapse_gain
    z = linear(x, weight, devices.threshold(bias))
    return z if devices.window is None else hardtanh(z, 0.0, devices.window)


def fired(q: Tensor, bias: Tensor, devices: Devices) -> Tensor:
    """Activations of neurons with charge q, shape (..., neuron), D of shape (neuron,) and gains g."""
    assert devices.gain is not None
    z = torch.addcmul(devices.threshold(bias), q, devices.gain)
    return z if devices.window is None else hardtanh(z, 0.0, devices.window)
