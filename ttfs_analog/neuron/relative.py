r"""Relative coding: the last neurons of a layer are dummies, whose spikes close its window.

.. math:: y_i = \mathrm{relu}(x_i - \mathrm{median}_d\, x_d)

See `circuits.model.coding`.
"""

from __future__ import annotations

from torch import Tensor, nn

from circuits.errors import InputError


class Relative(nn.Module):
    """Activations of a layer (..., neuron) -> those of its neurons that are no dummies, counted from theirs.

    Parameters
    ----------
    dummies : int
        Odd: a majority of them decides.
    """

    def __init__(self, dummies: int) -> None:
        super().__init__()
        if dummies < 1 or dummies % 2 == 0:
            raise InputError(f"dummies must be an odd number, so that a majority decides, got {dummies}")
        self.dummies = dummies

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-1] <= self.dummies:
            raise InputError(f"{self.dummies} dummies need a layer of more neurons, got {x.shape[-1]}")
        closing = x[..., -self.dummies :].median(-1, keepdim=True).values
        return (x[..., : -self.dummies] - closing).relu()

    def extra_repr(self) -> str:
        return f"dummies={self.dummies}"
