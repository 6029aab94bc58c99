r"""The exact TTFS layer as pure functions of tensors, in relative time, with frozen deviations.

With q_i = \sum_j W_ij (1+e_ij) x_j, the charge at t_min, and T = t_max - t_min, the spike of
`circuits.closed_form` in terms of x = T - s is

.. math:: x_i = \frac{q_i + B_i b_i (1+c_i) - o_i (1+c_i) + B_i T (\beta_i - c_i)}{B_i (1+\beta_i)}

clipped to [0, T]: 0 is silent, T fires at t_min. Written this way the window T, the largest number in
sight, only meets the deviations, so that without them x = relu(w x + b) holds to rounding. It also
shows why windows matter: a slope error acts as an offset of T beta.

Gradients are autograd's: exact inside the window, zero where clipped or silent.

Source: Stanojevic et al., Nat. Commun. 2024, eqs. 2 and 5-7.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Deviations(NamedTuple):
    """Frozen deviations of one layer; a leading chip dimension broadcasts against the batch's."""

    synapse: Tensor  #: (chip, out, in)
    slope: Tensor  #: (chip, out)
    threshold: Tensor  #: (chip, out), units of potential
    capacitance: Tensor  #: (chip, out)


def charge(x: Tensor, weight: Tensor, synapse: Tensor | None = None) -> Tensor:
    """Charge at t_min.

    Parameters
    ----------
    x : Tensor, shape (batch, in) or (chip, batch, in)
        Activations [tau_c].
    weight : Tensor, shape (out, in)
    synapse : Tensor, shape (chip, out, in), optional
        Relative current deviations.

    Returns
    -------
    Tensor, shape (batch, out) or (chip, batch, out)
    """
    if synapse is None:
        return x @ weight.T
    return x @ (weight * (1.0 + synapse)).transpose(-1, -2)


def spike(
    q: Tensor,
    bias: Tensor,
    window: Tensor | float,
    slope: Tensor,
    deviations: Deviations | None = None,
) -> Tensor:
    """Activation x = t_max - t of spiking neurons, in [0, window].

    Parameters
    ----------
    q : Tensor, shape (..., batch, out)
        Charge at t_min.
    bias : Tensor, shape (out,)
        ReLU bias b; theta = B (T - b).
    window : float
        T = t_max - t_min [tau_c].
    slope : Tensor, shape (out,)
        B > 0.
    """
    if deviations is None:
        z = q / slope + bias
    else:
        _, beta, offset, c = (d.unsqueeze(-2) for d in deviations)
        z = q + (slope * bias - offset) * (1.0 + c) + slope * window * (beta - c)
        z = z / (slope * (1.0 + beta))
    # where, not clamp: at a tie (a dead neuron with b = 0) the gradient is 0, as that of relu
    return torch.where(z > 0, z, torch.zeros_like(z)).clamp(max=window)


def readout(q: Tensor, bias: Tensor, deviations: Deviations | None = None) -> Tensor:
    """Potential of non-spiking neurons at the end of phase 1: the logits.

    Source: Stanojevic et al. 2024, Methods, "Output layer", with A = b / (t_max - t_min).
    """
    v = q + bias
    return v if deviations is None else v / (1.0 + deviations.capacitance.unsqueeze(-2))
