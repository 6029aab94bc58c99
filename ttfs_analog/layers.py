"""TTFS layers as modules over `ttfs_analog.functional`."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ttfs_analog.functional import Deviations, charge, readout, spike


class TTFSLinear(nn.Module):
    """Fully connected layer of B1 neurons.

    Parameters
    ----------
    weight : Tensor, shape (out, in)
    bias : Tensor, shape (out,)
    input_window : float
        Length of phase 1: largest input activation [tau_c].
    window : float
        Length of the firing window, t_max - t_min [tau_c]; 0 for read-out neurons.
    spiking : bool
        False: non-spiking read-out.
    """

    input_window: Tensor
    window: Tensor
    slope: Tensor

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor,
        *,
        input_window: float,
        window: float = 0.0,
        slope: Tensor | None = None,
        spiking: bool = True,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.detach().clone())
        self.bias = nn.Parameter(bias.detach().clone())
        self.spiking = spiking
        self.register_buffer("input_window", weight.new_tensor(float(input_window)))
        self.register_buffer("window", weight.new_tensor(float(window)))
        self.register_buffer("slope", torch.ones_like(bias) if slope is None else slope.clone())

    def forward(self, x: Tensor, deviations: Deviations | None = None) -> Tensor:
        """Activations (..., batch, in) -> activations, or logits of a read-out layer."""
        q = charge(x, self.weight, deviations.synapse if deviations else None)
        if self.spiking:
            return spike(q, self.bias, self.window, self.slope, deviations)
        return readout(q, self.bias, deviations)

    def extra_repr(self) -> str:
        kind = f"window={float(self.window):.4g}" if self.spiking else "readout"
        return f"in={self.weight.shape[1]}, out={self.weight.shape[0]}, {kind}"
