"""One layer of real devices by compiled kernels, there and back: `TTFSLayer.respond` without a graph.

Everything is prepared once, in arrays that share memory with the layer's weights: between two passes of a
small network there is time for little else. `ttfs_analog.chain` strings layers together. Inputs are on the
CPU, contiguous and of the weights' dtype.
"""

from __future__ import annotations

import threading
from functools import cached_property
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, get_num_threads

from ttfs_analog.constraints.constraints import Constraints
from ttfs_analog.neuron.convolutions import TTFSConv2d
from ttfs_analog.neuron.fused import Devices
from ttfs_analog.neuron.layers import TTFSLayer

convolution_backward = torch.ops.aten.convolution_backward.default
_threads = threading.local()
MANY = 130
"""Rows times threads up to which kernels that hold weights as they go are faster than a pass over the weights
and a matrix product."""
Found = tuple[Tensor, Tensor | None, Tensor]
"""Activations, the weights as they are held or None, and the spikes that leave."""
Gradients = tuple[Tensor | None, Tensor, Tensor]
"""By inputs (if they are asked for), weight and bias."""


class Product:
    """What fully connected and convolutional layers share."""

    def __init__(
        self, layer: TTFSLayer, devices: Devices, kernels: ModuleType, limits: Constraints | None
    ) -> None:
        self.layer, self.devices, self.kernels = layer, devices, kernels
        self.weight, self.bias = layer.weight.detach(), layer.bias.detach()
        self.pointers = self.weight.data_ptr(), self.bias.data_ptr()
        self.rows, self.d = _rows(self.weight), self.bias.numpy()
        self.border = None if layer.border is None else layer.border.flatten().numpy()
        self.neurons, self.window, self.token = layer.n_out, layer.window_length, layer._token
        self.gain, self.shift, self.low, self.high, self.synapse_gain, self.grid = devices.numbers
        self.ideal = self.grid is None and self.synapse_gain is None
        self.dtype = self.d.dtype
        self.move = (0.0, 0.0, 0.0) if limits is None else limits.move(self.window)

    def forward(self, x: Tensor, key: int | None) -> Found:
        """Spikes move by the errors of a key, if there is one."""
        raise TypeError(f"{type(self).__name__} has no product")

    def backward(self, grad: Tensor, x: Tensor, z: Tensor, held: Tensor | None, inwards: bool) -> Gradients:
        """Gradients, with what `forward` took and gave."""
        raise TypeError(f"{type(self).__name__} has no product")

    def fire(self, q: Tensor, key: int | None) -> Tensor:
        """Charges of shape (row, ...) become activations where they are; the spikes that leave."""
        move, z = self.by_key(key), self.flat(q)
        sent = q if key is None else torch.empty_like(q)
        where = z if sent is q else self.flat(sent)
        tail = self.low, self.high, z, move, where
        self.kernels.fire(z, self.d, self.border, self.shift, self.gain, *tail)
        return sent

    def flat(self, value: Tensor) -> Any:
        """An array of shape (row, neuron)."""
        return value.numpy().reshape(len(value), self.neurons)

    def by_key(self, key: int | None) -> tuple[int, float, float, float]:
        """How spikes move, as kernels take it: not at all without a key."""
        return (0, 0.0, 0.0, 0.0) if key is None else (key, *self.move)

    def held(self) -> Tensor:
        """Weights as the hardware holds them: the same memory every time."""
        if self.ideal:
            return self.weight
        self.kernels.hold(self.rows, self.synapse_gain, self.grid, _rows(self.room))
        return self.room

    @cached_property
    def room(self) -> Tensor:
        """For held weights: new memory costs more than what is written there."""
        return torch.empty_like(self.weight)

    def released(self, by_weight: Tensor) -> Tensor:
        """Gradient by the weights, of that by the held ones."""
        if not self.ideal:
            by_weight = by_weight.contiguous()
            rows = _rows(by_weight)
            self.kernels.release(rows, self.synapse_gain, self.grid, self.rows, rows)
        return by_weight

    def unfired(self, grad: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients by charges and bias."""
        by_q, by_bias = torch.empty_like(z), torch.empty_like(self.bias)
        own = self.gain, self.shift, self.low, self.high
        self.kernels.unfire(
            self.flat(grad.contiguous()), self.flat(z), *own, self.flat(by_q), by_bias.numpy()
        )
        return by_q, by_bias


class Maps(Product):
    """A convolutional layer."""

    layer: TTFSConv2d

    def forward(self, x: Tensor, key: int | None) -> Found:
        held = self.held()
        z = torch.conv2d(x, held, None, **self.layer.geometry, groups=self.layer.groups).contiguous()
        return z, held, self.fire(z, key)

    def backward(self, grad: Tensor, x: Tensor, z: Tensor, held: Tensor | None, inwards: bool) -> Gradients:
        by_q, by_bias = self.unfired(grad, z)
        plan = [self.layer.geometry[k] for k in ("stride", "padding", "dilation")]
        by_x, by_weight, _ = convolution_backward(
            by_q, x, held, None, *plan, False, [0, 0], self.layer.groups, [inwards, True, False]
        )
        return by_x, self.released(by_weight), by_bias


class Dense(Product):
    """A fully connected layer."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        own = self.synapse_gain, self.grid, self.d, self.shift, self.gain, self.low, self.high
        self.responding = self.rows, *own

    def forward(self, x: Tensor, key: int | None) -> Found:
        rows, given = len(x), x.numpy()
        if rows * get_num_threads() <= MANY and given.shape[1] == self.rows.shape[1]:  # else torch refuses
            z = np.empty((rows, self.neurons), self.dtype)  # quicker than by torch
            sent = z if key is None else np.empty_like(z)
            self.kernels.respond(given, *self.responding, z, self.by_key(key), sent)
            activations = torch.from_numpy(z)
            return activations, None, activations if sent is z else torch.from_numpy(sent)
        held = self.held()
        q = torch.mm(x, held.t())
        return q, held, self.fire(q, key)

    def backward(self, grad: Tensor, x: Tensor, z: Tensor, held: Tensor | None, inwards: bool) -> Gradients:
        if held is not None:
            by_q, by_bias = self.unfired(grad, z)
            which = by_q.any(0).nonzero().squeeze(1)  # silent neurons, as half of them are, cost nothing
            some = by_q.index_select(1, which)
            by_x = torch.mm(some, held.index_select(0, which)) if inwards else None
            by_weight = torch.zeros_like(self.weight).index_copy_(0, which, torch.mm(some.t(), x))
            return by_x, self.released(by_weight), by_bias
        by_x, by_weight = torch.empty_like(x) if inwards else None, torch.empty_like(self.weight)
        by_bias = torch.empty_like(self.bias)
        given = grad.contiguous().numpy(), x.numpy(), self.rows, self.synapse_gain, self.grid
        own = z.numpy(), self.gain, self.shift, self.low, self.high
        size = self.kernels.room_for(self.rows, len(x)) if inwards else 0
        into = None if by_x is None else by_x.numpy(), by_weight.numpy(), by_bias.numpy()
        self.kernels.respond_backward(*given, *own, scratch(size, self.dtype), *into)
        return by_x, by_weight, by_bias


def scratch(size: int, dtype: Any) -> Any:
    """An array whose memory all layers share: it stays in the caches."""
    kept = getattr(_threads, "kept", None)
    if kept is None or kept.size < size or kept.dtype != dtype:
        kept = _threads.kept = np.empty(size, dtype)
    return kept


def _rows(value: Tensor) -> Any:
    """An array of shape (out, in), as kernels take weights."""
    return value.numpy().reshape(len(value), -1)
