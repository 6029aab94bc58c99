"""Spike times as the hardware sends them: jitter, the window, the clock."""

from __future__ import annotations

import torch
from torch import Tensor


def send(x: Tensor, errors: Tensor | None, window: float, step: float = 0.0) -> Tensor:
    """Activations as they leave their neurons; the gradient is that of `x` unchanged (straight-through).

    Parameters
    ----------
    x : Tensor
        Activations [tau_c]; 0 is silent and has no spike to move.
    errors : Tensor, optional
        Of spike times [tau_c], of a shape that broadcasts to `x`; None: no jitter.
    window : float
        Early spikes count from t_min, x = window, late ones are lost, x = 0.
    step : float
        Of the clock [tau_c]; 0: none.

    Source: Stanojevic et al., Nat. Commun. 2024, Methods, hardware constraints (i) and (ii).
    """
    sent = x.clone()
    with torch.no_grad():  # as if nothing happened to the gradient
        if errors is not None:
            sent.copy_(torch.where(sent > 0, (sent - errors).clamp_(0.0, window), sent))
        if step > 0:
            sent.div_(step).round_().mul_(step)
    return sent
