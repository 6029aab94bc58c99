"""Weights that hardware can hold: whole multiples of a unit current."""

from __future__ import annotations

from typing import NamedTuple

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
