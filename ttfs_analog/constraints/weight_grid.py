"""Weights that hardware can hold: whole multiples of a unit current."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import hardtanh


class Grid(NamedTuple):
    """Weights are whole multiples of `unit` in [-top, top - 1]."""

    unit: float
    top: int


def rounded(weight: Tensor, grid: Grid) -> Tensor:
    """Weights on their grid; gradients pass where they are not clipped (straight-through).

    Parameters
    ----------
    weight : Tensor
    grid : Grid

    Source: Stanojevic et al., Nat. Commun. 2024, Methods, hardware constraint (iii).
    """
    clipped = hardtanh(weight, -grid.top * grid.unit, (grid.top - 1) * grid.unit)
    with torch.no_grad():  # as if nothing happened to the gradient
        clipped.div_(grid.unit).round_().mul_(grid.unit)
    return clipped


class _WholeUnits(torch.autograd.Function):
    """rint(W n) / n, clipped; a clipped weight may come back: only what drives it further out is dropped."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, units: int, most: int) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.end = most / units
        return (weight * units).round().clamp(-most, most) / units

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (weight,), (grad,) = ctx.saved_tensors, grads
        outward = ((weight > ctx.end) & (grad < 0)) | ((weight < -ctx.end) & (grad > 0))
        return grad.masked_fill(outward, 0.0), None, None


def whole_units(weight: Tensor, units: int, most: int) -> Tensor:
    """Weights made of whole devices: rint(W n) / n, clipped to +- most / n.

    Gradients pass through the rounding (straight-through); for a weight that is clipped, those of descent
    further out are zero.

    Parameters
    ----------
    weight : Tensor
    units : int
        n, devices of W = 1.
    most : int
        Most devices of one weight.
    """
    return _WholeUnits.apply(weight, units, most)
