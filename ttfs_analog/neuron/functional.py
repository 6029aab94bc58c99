r"""The exact TTFS layer as pure functions of tensors, in relative time, with frozen deviations.

With q_i = \sum_j W_ij (1+e_ij) x_j, the charge at t_min, D_i the threshold shift and T = t_max - t_min,
the spike of `circuits.model.closed_form` in terms of x = T - s is

.. math:: x_i = \frac{q_i + (D_i - o_i)(1+c_i) + B_i T (\beta_i - c_i)
                      + T_{in}(B_i \beta_i - \alpha_i c_i)}{B_i (1+\beta_i)}

clipped to [0, T]: 0 is silent, T fires at t_min. The term with T_in, the length of phase 1, exists only in
the alpha forms, whose current source is on from the start. Written this way the window T, the largest
number in sight, only meets the deviations, so that without them x = relu((W x + D) / B) holds to rounding,
and a slope error acts as an offset of T beta: why windows matter.

Gradients are autograd's: exact inside the window, zero where clipped or silent (also at a tie). The same in
closed form: `jacobian` and `gradients`.

Source: Stanojevic et al., Nat. Commun. 2024, eqs. 1-2 and 4-7.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch._C._nn import hardtanh  # that of torch.nn.functional, without its checks


class Deviations(NamedTuple):
    """Frozen deviations of one layer; a leading chip dimension broadcasts against the batch's."""

    synapse: Tensor | None  #: (chip, out, in); of a convolution (chip, neuron, tap); None: perfect
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


def fire(u: Tensor, window: float, slope: Tensor | None = None) -> Tensor:
    """Activation x = t_max - t in [0, window] of neurons with drive u = W x + D; slope None is B = 1.

    Parameters
    ----------
    u : Tensor
        (..., out), or any shape that `slope` broadcasts to.
    """
    # hardtanh: at a tie (a dead neuron with D = 0) the gradient is 0, as that of relu, and at t_min too
    return hardtanh(u if slope is None else u / slope, 0.0, window)


class Folded(NamedTuple):
    """A layer's deviations as z = gain q + shift_gain D + offset, each broadcasting against the batch."""

    gain: Tensor
    shift_gain: Tensor
    offset: Tensor


def fold(
    window: float,
    slope: Tensor,
    deviations: Deviations,
    alpha: Tensor | float = 0.0,
    lead: float = 0.0,
    inside: tuple[int, ...] = (),
    held: Tensor | None = None,
    form: str = "alpha",
) -> Folded:
    """What frozen deviations make of spiking neurons; the same for every batch.

    Parameters
    ----------
    window : float
        T = t_max - t_min [tau_c].
    slope : Tensor, shape (out,)
        B > 0.
    alpha : Tensor, shape (out,), or float
        Current of phase 1; 0 in the B1 form.
    lead : float
        T_in [tau_c] if the current that makes the slope is on in phase 1 too, else 0.
    inside : tuple of int
        (height, width) of a convolution's output; slope and alpha then broadcast to
        (channel, height, width).
    held : Tensor, shape (chip, neuron), optional
        Error of the slope from synapses that stay on in phase 2: sum_j W_ij e_ij.
    form : str
        "dynamic": alpha is a slope of the threshold, which the capacitor does not scale. "single": B is a
        source of its own, on from t_min only. All others: alpha is on throughout and carries B's error.
    """
    beta, offset, c = deviations[1:]
    if inside:
        beta, offset, c = (d.unflatten(-1, (-1, *inside)) for d in (beta, offset, c))
        held = None if held is None else held.unflatten(-1, (-1, *inside))
    slow = 0.0 if held is None else held
    if form == "dynamic":  # sum W + held meet (1 + c) times what the threshold does
        fall = alpha + slope * beta
        total = slope - alpha + slow + (1.0 + c) * fall
        ramp = window * total - (1.0 + c) * (slope * window + offset - lead * slope * beta)
    else:
        early = 0.0 if form == "single" else lead  # how long B's error is on before t_min
        total = slope + slope * beta + slow
        ramp = slope * (window + early) * beta + window * slow - slope * window * c - offset * (1.0 + c)
        if lead:
            ramp = ramp - lead * alpha * c
    dead = total <= 0  # such a potential never rises to its threshold
    inverse = torch.where(dead, 0.0, 1.0 / total)
    place = -2 - len(inside)  # of the batch
    offset = torch.where(dead, -1.0, ramp * inverse)
    return Folded(*(v.unsqueeze(place) for v in (inverse, (1.0 + c) * inverse, offset)))


def fold_readout(deviations: Deviations, inside: tuple[int, ...] = ()) -> Folded:
    """The same of read-out neurons: a capacitor error scales the logit."""
    c = deviations.capacitance
    gain = 1.0 / (1.0 + (c.unflatten(-1, (-1, *inside)) if inside else c)).unsqueeze(-2 - len(inside))
    return Folded(gain, gain, torch.zeros_like(gain))


def combine(q: Tensor, shift: Tensor, folded: Folded) -> Tensor:
    """z of neurons that deviate.

    Parameters
    ----------
    q : Tensor, shape (..., batch, out), or (..., batch, channel, height, width)
        Charge at t_min.
    shift : Tensor, shape (out,), or what broadcasts to (channel, height, width)
        D; theta = alpha T_in + B T - D.
    """
    return torch.addcmul(torch.addcmul(folded.offset, shift, folded.shift_gain), q, folded.gain)


def spike(q: Tensor, shift: Tensor, window: float, slope: Tensor, deviations: Deviations) -> Tensor:
    """Activation of B1 neurons that deviate: `fold`, `combine` and `fire`."""
    return fire(combine(q, shift, fold(window, slope, deviations)), window)


def jacobian(x: Tensor, weight: Tensor, slope: Tensor, window: float = math.inf) -> Tensor:
    """dx(n)/dx(n-1) = dt(n)/dt(n-1) of a layer in closed form: M W / B.

    Parameters
    ----------
    x : Tensor, shape (..., out)
        Activations of the layer; M selects the neurons that fire inside their window.
    weight : Tensor, shape (out, in)
    slope : Tensor, shape (out,)

    Returns
    -------
    Tensor, shape (..., out, in)

    Source: Stanojevic et al. 2024, eq. 4, with the mask of the layer that the derivative is of (thesis,
    eq. 3.12).
    """
    return ((x > 0) & (x < window)).to(weight).unsqueeze(-1) * (weight / slope.unsqueeze(-1))


class Gradients(NamedTuple):
    """Derivatives of a loss by what a layer takes in and holds."""

    x: Tensor
    weight: Tensor
    shift: Tensor


def gradients(
    grad: Tensor, x: Tensor, weight: Tensor, shift: Tensor, slope: Tensor, window: float, tracked: bool
) -> Gradients:
    """Backward pass of one ideal layer in closed form.

    Parameters
    ----------
    grad : Tensor, shape (batch, out)
        dL/dx of the layer's activations.
    x : Tensor, shape (batch, in)
    weight, shift, slope : Tensor
        (out, in), (out,), (out,)
    tracked : bool
        B = alpha + sum_j W_ij moves with the weights (alpha1 training); the base threshold tracks B.

    Source: derivatives of eq. 7 of Stanojevic et al. 2024, through B too where it is tracked.
    """
    z = (x @ weight.T + shift) / slope
    inside = ((z > 0) & (z < window)).to(grad) * grad / slope
    by_weight = inside.T @ x
    if tracked:
        by_weight = by_weight - (inside * z).sum(0).unsqueeze(1)
    return Gradients(inside @ weight, by_weight, inside.sum(0))
