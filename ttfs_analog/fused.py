r"""A fully connected layer of real devices as one product.

.. math:: z_i = g_i u \sum_j k_{ij} (1+e_{ij}) x_j + h_i D_i + o_i, \qquad x_i = \mathrm{clip}(z_i, 0, T)

with k = W / u rounded to whole multiples of a unit current u and g, h, o from `functional.fold`. Without a
grid few operations without a chip dimension do. With one, single operations cost several passes over
matrices that do not fit into a core's cache: one node of the graph makes u a factor of the product, and
scales and masks the gradient of W, which nobody else holds yet, in place. Gradients are the exact ones;
those of the rounding are the clipping's.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import hardtanh, linear

hardtanh_backward = torch.ops.aten.hardtanh_backward.default  # their names alone are searched for anew
hardtanh_backward_ = torch.ops.aten.hardtanh_backward.grad_input


class Grid(NamedTuple):
    """Weights are whole multiples of `unit` in [-top, top - 1]."""

    unit: float
    top: int

    @property
    def ends(self) -> tuple[float, float]:
        """The smallest and the largest weight."""
        return -self.top * self.unit, (self.top - 1) * self.unit

    def multiples(self, weight: Tensor) -> Tensor:
        """W / unit, rounded and clipped."""
        return (weight / self.unit).round_().clamp_(-self.top, self.top - 1)


class _Rounded(torch.autograd.Function):
    """Weights on a grid; the derivative is that of the clipping alone."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, grid: Grid) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.grid = grid
        return grid.multiples(weight).mul_(grid.unit)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (weight,) = ctx.saved_tensors
        return hardtanh_backward(grad, weight, *ctx.grid.ends), None  # its own backward: one pass


def rounded(weight: Tensor, grid: Grid) -> Tensor:
    """Weights on their grid; gradients pass where they are not clipped."""
    return _Rounded.apply(weight, grid)


class Devices(NamedTuple):
    """What the devices of one chip make of a layer; nothing here depends on the weights."""

    window: float | None  #: T; None: a read-out
    grid: Grid | None = None
    gain: Tensor | None = None  #: g, shape (out,), or g (1 + e), shape (out, in)
    shift_gain: Tensor | None = None  #: h, shape (out,)
    offset: Tensor | None = None  #: o, shape (out,); together with h


def respond(x: Tensor, weight: Tensor, bias: Tensor, devices: Devices) -> Tensor:
    """Activations of the layer.

    Parameters
    ----------
    x : Tensor, shape (..., in)
    weight, bias : Tensor
        W and D, shapes (out, in) and (out,).
    """
    if devices.grid is None:  # a node in Python costs more than what it would save here
        return composed(x, weight, bias, devices)
    return _Response.apply(x, weight, bias, devices)


def composed(x: Tensor, weight: Tensor, bias: Tensor, devices: Devices) -> Tensor:
    """`respond` operation by operation: with a grid slower, but its gradients have gradients."""
    window, grid, gain, shift_gain, offset = devices
    weight = weight if grid is None else rounded(weight, grid)
    threshold = bias if offset is None or shift_gain is None else torch.addcmul(offset, bias, shift_gain)
    if gain is not None and gain.dim() == 1:
        z = torch.addcmul(threshold, x @ weight.t(), gain)
    else:
        z = linear(x, weight if gain is None else weight * gain, threshold)
    return z if window is None else hardtanh(z, 0.0, window)


class _Response(torch.autograd.Function):
    """`composed` with a grid as one node."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, devices: Devices) -> Tensor:
        window, grid, gain, shift_gain, offset = devices
        assert grid is not None
        rows = x if x.dim() == 2 else x.reshape(-1, x.shape[-1])
        threshold = bias if offset is None or shift_gain is None else torch.addcmul(offset, bias, shift_gain)
        held = grid.multiples(weight)
        if gain is not None and gain.dim() == 1:
            z = torch.addcmul(threshold, rows @ held.t(), gain, value=grid.unit)
        else:
            held = held if gain is None else held.mul_(gain)
            z = torch.addmm(threshold, rows, held.t(), alpha=grid.unit)
        if window is not None:
            z.clamp_(0.0, window)
        z = z if x.dim() == 2 else z.view(*x.shape[:-1], len(bias))
        # clipped activations say where z was inside the window, and serve the next layer anyway
        ctx.save_for_backward(x, weight, bias, z, held if ctx.needs_input_grad[0] else None)
        ctx.devices = devices
        return z

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias, found, held = ctx.saved_tensors
        window, grid, gain, shift_gain, _ = ctx.devices
        wanted = ctx.needs_input_grad[:3]
        if torch.is_grad_enabled():  # somebody wants the gradient of this gradient
            leaves = [v for v, w in zip((x, weight, bias), wanted, strict=True) if w]
            again = composed(x, weight, bias, ctx.devices)
            grads = iter(torch.autograd.grad(again, leaves, grad, create_graph=True))
            return (*(next(grads) if w else None for w in wanted), None)
        if window is not None:
            grad = hardtanh_backward(grad, found, 0.0, window)
        rows = x
        if x.dim() != 2:
            rows, grad = x.reshape(-1, x.shape[-1]), grad.reshape(-1, grad.shape[-1])
        by_x = by_weight = by_bias = None
        if wanted[2]:
            by_bias = grad.sum(0) if shift_gain is None else grad.sum(0).mul_(shift_gain)
        own = gain is not None and gain.dim() > 1
        if gain is not None and not own:
            grad = grad * gain
        if wanted[0]:
            by_x = ((grad * grid.unit) @ held).view(x.shape)
        if wanted[1]:
            by_weight = grad.t() @ rows
            if own:
                by_weight.mul_(gain)
            hardtanh_backward_(by_weight, weight, *grid.ends, grad_input=by_weight)
        return by_x, by_weight, by_bias, None
