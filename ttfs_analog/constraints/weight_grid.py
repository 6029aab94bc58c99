"""Weights that hardware can hold: whole multiples of a unit current."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor


class Grid(NamedTuple):
    """Weights are whole multiples of `unit` in [-top, top - 1]."""

    unit: float
    top: int


class _Rounded(torch.autograd.Function):
    """Weights on a grid; the derivative is that of the clipping alone (straight-through)."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, grid: Grid) -> Tensor:
        """Weights rounded and clipped.

        Parameters
        ----------
        ctx : torch's context
        weight : Tensor
        grid : Grid
        """
        ctx.save_for_backward(weight)
        ctx.grid = grid
        return (weight / grid.unit).round_().clamp_(-grid.top, grid.top - 1).mul_(grid.unit)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (weight,), grid = ctx.saved_tensors, ctx.grid
        inside = (weight > -grid.top * grid.unit) & (weight < (grid.top - 1) * grid.unit)
        return grads[0] * inside, None


def rounded(weight: Tensor, grid: Grid) -> Tensor:
    """Weights on their grid; gradients pass where they are not clipped.

    Parameters
    ----------
    weight : Tensor
    grid : Grid

    Source: Stanojevic et al., Nat. Commun. 2024, Methods, hardware constraint (iii).
    """
    return _Rounded.apply(weight, grid)
