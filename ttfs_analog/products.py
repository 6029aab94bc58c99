"""One layer of real devices by compiled kernels, there and back: `TTFSLayer.respond` without a graph.

Everything is prepared once, in arrays that share memory with the layer's weights: between two passes of a
small network there is time for little else. `ttfs_analog.chain` strings layers together. Inputs are on the
CPU, contiguous and of the weights' dtype.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from ttfs_analog.convolutions import TTFSConv2d
from ttfs_analog.fused import Devices
from ttfs_analog.layers import TTFSLayer

convolution_backward = torch.ops.aten.convolution_backward.default
ROWS, PRODUCTS = 8, 300_000
"""Rows, or multiply-accumulates, up to which kernels that hold weights as they go are faster than a pass over
the weights and a matrix product."""
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
        self.neurons, self.window, self.token = layer.n_out, layer.window_length, layer._token
        self.gain, self.shift, self.low, self.high, self.synapse_gain, self.grid = devices.numbers
        self.ideal = self.grid is None and self.synapse_gain is None

    def leaves(self) -> tuple[Tensor, Tensor] | None:
        """Weight and bias of the layer; None: what was prepared is not of today."""
        found = self.layer._parameters  # as quick as it gets
        weight, bias = found["weight"], found["bias"]
        layer = self.layer
        if weight is None or bias is None or layer._window != self.window or layer._token is not self.token:
            return None
        return (weight, bias) if (weight.data_ptr(), bias.data_ptr()) == self.pointers else None

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Activations, and the weights as they are held, if they were written down."""
        raise TypeError(f"{type(self).__name__} has no product")

    def backward(self, grad: Tensor, x: Tensor, z: Tensor, held: Tensor | None, inwards: bool) -> Gradients:
        """Gradients, with what `forward` took and gave."""
        raise TypeError(f"{type(self).__name__} has no product")

    def fire(self, q: Any) -> None:
        """Charges of shape (row, neuron) become activations."""
        self.kernels.fire(q, self.d, self.border, self.shift, self.gain, self.low, self.high, q)

    def held(self) -> Tensor:
        """Weights as the hardware holds them."""
        if self.ideal:
            return self.weight
        held = torch.empty_like(self.weight)
        self.kernels.hold(self.rows, self.synapse_gain, self.grid, _rows(held))
        return held

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
        held = self.held()
        z = torch.conv2d(x, held, None, **self.layer.geometry, groups=self.layer.groups).contiguous()
        self.fire(z.numpy().reshape(len(z), self.neurons))
        return z, held

    def backward(self, grad: Tensor, x: Tensor, z: Tensor, held: Tensor | None, inwards: bool) -> Gradients:
        by_q, by_bias = self.unfired(grad, z)
        plan = [self.layer.geometry[k] for k in ("stride", "padding", "dilation")]
        by_x, by_weight, _ = convolution_backward(
            by_q, x, held, None, *plan, False, [0, 0], self.layer.groups, [inwards, True, False]
        )
        return by_x, self.released(by_weight), by_bias


class Dense(Product):
    """A fully connected layer."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        rows, n_in = x.shape
        few = rows <= ROWS or rows * self.rows.size <= PRODUCTS
        if few and n_in == self.rows.shape[1]:  # else torch refuses
            z = x.new_empty(rows, self.neurons)
            self.kernels.respond(
                x.numpy(),
                self.rows,
                self.synapse_gain,
                self.grid,
                self.d,
                self.shift,
                self.gain,
                self.low,
                self.high,
                z.numpy(),
            )
            return z, None
        held = self.held()
        z = torch.mm(x, held.t())
        self.fire(z.numpy())
        return z, held

    def backward(self, grad: Tensor, x: Tensor, z: Tensor, held: Tensor | None, inwards: bool) -> Gradients:
        by_q, by_bias = self.unfired(grad, z)
        if held is not None:
            by_weight = self.released(torch.mm(by_q.t(), x))
            return torch.mm(by_q, held) if inwards else None, by_weight, by_bias
        by_x, by_weight = torch.empty_like(x) if inwards else None, torch.empty_like(self.weight)
        self.kernels.respond_backward(
            by_q.numpy(),
            x.numpy(),
            self.rows,
            self.synapse_gain,
            self.grid,
            None if by_x is None else by_x.numpy(),
            by_weight.numpy(),
        )
        return by_x, by_weight, by_bias


def _rows(value: Tensor) -> Any:
    """An array of shape (out, in), as kernels take weights."""
    return value.numpy().reshape(len(value), -1)
