"""One layer of real devices by compiled kernels, there and back: `TTFSLayer.respond` without a graph.

Everything is prepared once, in arrays that share memory with the layer's weights: between two passes of a
small network there is time for little else. `ttfs_analog.chain` strings layers together. Inputs are on the
CPU, contiguous and of the weights' dtype.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ttfs_analog.convolutions import TTFSConv2d
from ttfs_analog.fused import Devices
from ttfs_analog.layers import TTFSLayer

convolution_backward = torch.ops.aten.convolution_backward.default
Gradients = tuple[Tensor | None, Tensor, Tensor]
"""By inputs (if they are asked for), weight and bias."""


class Product:
    """What fully connected and convolutional layers share."""

    def __init__(self, layer: TTFSLayer, devices: Devices, kernels: ModuleType) -> None:
        self.layer, self.devices, self.kernels = layer, devices, kernels
        self.weight, self.bias = layer.weight.detach(), layer.bias.detach()
        self.pointers = self.weight.data_ptr(), self.bias.data_ptr()
        self.rows, self.d = _rows(self.weight), self.bias.numpy()
        self.border = None if layer.border is None else layer.border.flatten().numpy()
        self.neurons, self.window = layer.n_out, layer.window_length
        self.gain, self.shift, self.low, self.high, self.synapse_gain, self.grid = devices.numbers
        self.ideal = self.grid is None and self.synapse_gain is None

    def leaves(self) -> tuple[Tensor, Tensor] | None:
        """Weight and bias of the layer; None: they or the window are not those that were prepared."""
        found = self.layer._parameters  # as quick as it gets
        weight, bias = found["weight"], found["bias"]
        if weight is None or bias is None or self.layer.window_length != self.window:
            return None
        return (weight, bias) if (weight.data_ptr(), bias.data_ptr()) == self.pointers else None

    def threshold(self) -> Any:
        """How far D moves the thresholds of these neurons, shape (neuron,)."""
        if self.shift is None and self.border is None and self.neurons == len(self.d):
            return self.d
        found = np.empty(self.neurons, self.d.dtype)
        self.kernels.settle(self.d, self.border, self.shift, found)
        return found

    def held(self, out: Tensor) -> Tensor:
        """Weights as the hardware holds them, written to out if they are not as they are."""
        if self.ideal:
            return self.weight
        self.kernels.hold(self.rows, self.synapse_gain, self.grid, _rows(out))
        return out

    def released(self, by_weight: Tensor) -> Tensor:
        """Gradient by the weights, of that by the held ones."""
        if not self.ideal:
            by_weight = by_weight.contiguous()
            self.kernels.release(_rows(by_weight), self.synapse_gain, self.grid, self.rows)
        return by_weight

    def unfired(self, grad: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients by charges and bias."""
        by_q, by_bias = torch.empty_like(z), torch.empty_like(self.bias)
        shape = len(z), self.neurons
        arrays = grad.contiguous().numpy().reshape(shape), z.numpy().reshape(shape)
        out = by_q.numpy().reshape(shape), by_bias.numpy()
        self.kernels.unfire(*arrays, self.gain, self.shift, self.low, self.high, *out)
        return by_q, by_bias


class Maps(Product):
    """A convolutional layer."""

    layer: TTFSConv2d

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Activations, and the weights as they are held, if they were written down."""
        held = self.held(torch.empty_like(self.weight))
        plain = self.shift is None and self.border is None
        bias = self.bias if plain else None
        z = torch.conv2d(x, held, bias, **self.layer.geometry, groups=self.layer.groups).contiguous()
        q = z.numpy().reshape(len(z), self.neurons)
        self.kernels.fire(q, None if plain else self.threshold(), self.gain, self.low, self.high, q)
        return z, held

    def backward(self, grad: Tensor, x: Tensor, z: Tensor, held: Tensor | None, inwards: bool) -> Gradients:
        """Gradients, with what `forward` took and gave."""
        by_q, by_bias = self.unfired(grad, z)
        plan = [self.layer.geometry[k] for k in ("stride", "padding", "dilation")]
        by_x, by_weight, _ = convolution_backward(
            by_q, x, held, None, *plan, False, [0, 0], self.layer.groups, [inwards, True, False]
        )
        return by_x, self.released(by_weight), by_bias


class Dense(Product):
    """A fully connected layer."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Activations, and the weights as they are held, if they were written down."""
        kernels = self.kernels
        threshold = self.threshold()
        # with few rows, holding weights as one goes is faster than a pass and a matrix product
        if len(x) <= kernels.ROWS and x.shape[1] == self.weight.shape[1]:
            z = x.new_empty(len(x), self.neurons)
            kernels.respond(
                x.numpy(), self.rows, self.synapse_gain, self.grid,
                threshold, self.gain, self.low, self.high, z.numpy(),
            )
            return z, None
        held = self.held(torch.empty_like(self.weight))
        z = torch.mm(x, held.t())
        q = z.numpy()
        kernels.fire(q, threshold, self.gain, self.low, self.high, q)
        return z, held

    def backward(self, grad: Tensor, x: Tensor, z: Tensor, held: Tensor | None, inwards: bool) -> Gradients:
        """Gradients, with what `forward` took and gave."""
        by_q, by_bias = self.unfired(grad, z)
        if held is not None:
            by_weight = self.released(torch.mm(by_q.t(), x))
            return torch.mm(by_q, held) if inwards else None, by_weight, by_bias
        by_x, by_weight = torch.empty_like(x) if inwards else None, torch.empty_like(self.weight)
        self.kernels.respond_backward(
            by_q.numpy(), x.numpy(), self.rows, self.synapse_gain, self.grid,
            None if by_x is None else by_x.numpy(), by_weight.numpy(),
        )
        return by_x, by_weight, by_bias


def _rows(value: Tensor) -> Any:
    """An array of shape (out, in), as kernels take weights."""
    return value.numpy().reshape(len(value), -1)
