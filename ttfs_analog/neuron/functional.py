r"""The exact TTFS layer as pure functions of tensors, in relative time, with frozen deviations.

With Q_i the charge at t_min, D_i the threshold shift and T = t_max - t_min, the spike of
`circuits.model.closed_form` in terms of x = T - s is

.. math:: x_i = \frac{Q_i + k D_i (1+c_i) - k o_i - v + l + B_i T (g_B (1+\beta_i) - k (1+c_i))
                      + T_{in}(B_i \beta_i - \alpha_i c_i)}{B_i g_B (1+\beta_i)} - d_i

clipped to [0, T]: 0 is silent, T fires at t_min. The term with T_in, the length of phase 1, exists only in
the alpha forms, whose current source is on from the start; k, g_B, v, l are constants of the circuit (1, 1,
0, 0 of ideal sources). Written this way the window T, the largest number in sight, only meets the deviations,
so that without them x = relu((W x + D) / B) holds to rounding, and a slope error acts as an offset of T beta:
why windows matter.

Gradients are autograd's: exact inside the window, zero where clipped or silent (also at a tie). The same in
closed form: `jacobian` and `gradients`.

Source: Stanojevic et al., Nat. Commun. 2024, eqs. 1-2 and 4-7.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import hardtanh

from circuits.model.closed_form import IDEAL, Constants


class Deviations(NamedTuple):
    """Frozen deviations of one layer's devices; a leading chip dimension broadcasts against the batch's."""

    synapse: Tensor | None  #: (chip, out, in); of a convolution (chip, neuron, tap); None: perfect
    slope: Tensor  #: (chip, out)
    threshold: Tensor  #: (chip, out), units of potential, on the nominal capacitor
    capacitance: Tensor  #: (chip, out)
    delay: Tensor | None = None  #: (chip, out) [tau_c]; None: none. Of a read-out: added to its logits [1]
    constants: Constants = IDEAL  #: systematic terms of the circuit


def charge(
    x: Tensor,
    current: Tensor,
    product: Callable[[Tensor, Tensor], Tensor],
    constants: Constants = IDEAL,
    nominal: Tensor | None = None,
) -> Tensor:
    """Charge at t_min.

    Parameters
    ----------
    x : Tensor, shape (..., batch, in)
        Activations [tau_c].
    current : Tensor, shape (out, in) or (chip, out, in)
        Weights times what their currents deviate.
    product : callable
        (x, current) -> sums, shape (..., batch, out): a matrix product, or a convolution.
    constants : Constants, optional
        Gains, turn-on charges and feed-through of sources and sinks.
    nominal : Tensor, optional
        Currents without deviations where `current` has them: turn-on charges are those of the unit devices'
        nodes and go with these.

    Source: `circuits.model.closed_form.charges`.
    """
    if constants.ideal:
        return product(x, current)
    x = long_enough(x, constants)
    gained = product(x, current * signed(constants, "gain", current))
    return gained + switching(x, current if nominal is None else nominal, product, constants)


def switching(
    x: Tensor, weight: Tensor, product: Callable[[Tensor, Tensor], Tensor], constants: Constants
) -> Tensor | float:
    """What active inputs add to the charge by being switched: turn-on charges and feed-through.

    Parameters
    ----------
    x, product, constants
        As in `charge`.
    weight : Tensor, shape (out, in)
        These charges belong to the nodes of unit devices: deviations of currents do not scale them.
    """
    if constants.ideal:
        return 0.0
    turn_on, feed = (signed(constants, name, weight) for name in ("turn_on", "feed_through"))
    extra = weight * turn_on + torch.where(weight != 0, feed, torch.zeros_like(weight))
    return product((x > 0).to(x), extra)


def long_enough(x: Tensor, constants: Constants) -> Tensor:
    """Inputs without those whose pulses are too short to open a switch, shape of `x` [tau_c]."""
    return torch.where(x > constants.shortest, x, 0.0) if constants.shortest else x


def signed(constants: Constants, name: str, current: Tensor) -> Tensor:
    """A term of synapses by the sign of each current: that of sources where W > 0, else that of sinks.

    Parameters
    ----------
    constants : Constants
    name : str
        "gain", "turn_on" or "feed_through".
    current : Tensor

    Returns
    -------
    Tensor, shape of `current`
    """
    source, sink = (
        torch.as_tensor(getattr(constants, f"{name}_{k}"), dtype=current.dtype, device=current.device)
        for k in ("source", "sink")
    )
    return torch.where(current > 0, source, sink)


def fire(u: Tensor, window: float, slope: Tensor | None = None) -> Tensor:
    """Activation x = t_max - t in [0, window] of neurons with drive u = W x + D; slope None is B = 1.

    Parameters
    ----------
    u : Tensor
        (..., out), or any shape that `slope` broadcasts to.
    window : float
        T = t_max - t_min [tau_c].
    slope : Tensor, optional
        B > 0.

    Source: Stanojevic et al. 2024, eq. 7.
    """
    # hardtanh: at a tie (a dead neuron with D = 0) the gradient is 0, as that of relu, and at t_min too
    return hardtanh(u if slope is None else u / slope, 0.0, window)


def ramp_activation(
    q: Tensor,
    shift: Tensor,
    window: float,
    slope: Tensor,
    deviations: Deviations,
    *,
    alpha: Tensor | float = 0.0,
    lead: float = 0.0,
    slow: Tensor | float = 0.0,
    form: str = "b1",
) -> Tensor:
    """x of spiking neurons that deviate, without bounds: `fire` clips it.

    Parameters
    ----------
    q : Tensor, shape (..., batch, out)
        Charge at t_min.
    shift : Tensor, shape (out,)
        D; theta = alpha T_in + B T - D.
    window : float
        T = t_max - t_min [tau_c].
    slope : Tensor, shape (out,)
        B > 0.
    deviations : Deviations
        Each but those of synapses of a shape that broadcasts to `q`; constants in form b1 only.
    alpha : Tensor, shape (out,), or float
        Current of phase 1; 0 in the B1 form.
    lead : float
        T_in [tau_c] if the current that makes the slope is on in phase 1 too, else 0.
    slow : Tensor, shape (..., out), optional
        Error of the slope from synapses that stay on in phase 2: sum_j W_ij e_ij.
    form : str
        "dynamic": alpha is a slope of the threshold, which the capacitor does not scale. "single": B is a
        source of its own, on from t_min only. All others: alpha is on throughout and carries B's error.
    """
    _, beta, offset, c, delay, constants = deviations
    k, g, kick, leakage = (
        v if isinstance(v, float) else torch.as_tensor(v, dtype=q.dtype, device=q.device)
        for v in (constants.theta_scale, constants.gain_slope, constants.kick, constants.leakage)
    )
    if not constants.ideal:
        q = q - float(constants.bend_charge) * q**2
        kick = kick + float(constants.bend_theta) * (slope * window - shift) ** 2
    if form == "dynamic":  # sum W + slow meet (1 + c) times what the threshold does
        fall = alpha + slope * beta
        total = slope - alpha + slow + (1.0 + c) * fall
        x = q + (1.0 + c) * (shift - slope * window + lead * slope * beta) + window * total - offset
    else:
        early = 0.0 if form == "single" else lead  # how long B's error is on before t_min
        total = slope * g * (1.0 + beta) + slow
        fixed = k * (1.0 + c) * shift + slope * window * ((g - k) - k * c) - k * offset - lead * alpha * c
        x = q + (fixed + window * slow + (leakage - kick)) + slope * (g * window + early) * beta
    x = x / total
    if form != "b1":  # a potential whose slope is not positive never rises to its threshold
        x = torch.where(total > 0, x, -1.0)
    x = hastened(x, window, constants)
    return x if delay is None else x - delay


def read_out(q: Tensor, shift: Tensor, deviations: Deviations) -> Tensor:
    r"""Logits of read-outs that deviate, sampled at t_min.

    .. math:: u_i = \frac{Q_i - b\,Q_i^2 - v + l}{1+c_i} + D_i + \eta_i

    with \eta what a trial adds to a sample, in `deviations.delay`. Ideal sources drive D as a current, which
    the capacitor scales, too.

    Parameters
    ----------
    q : Tensor, shape (..., batch, out)
        Charge at t_min.
    shift : Tensor, shape (out,)
        D.
    deviations : Deviations
        Of shapes that broadcast to `q`.

    Source: `circuits.model.closed_form.read_out`.
    """
    scale, constants = 1.0 + deviations.capacitance, deviations.constants
    if constants.ideal:  # a capacitor error scales the logit
        x = (q + shift) / scale
    else:
        fixed = torch.as_tensor(constants.leakage - constants.kick, dtype=q.dtype, device=q.device)
        x = (q - float(constants.bend_charge) * q**2 + fixed) / scale + shift
    return x if deviations.delay is None else x + deviations.delay


def hastened(x: Tensor, window: float, constants: Constants) -> Tensor:
    """Activations of ramps, larger where the comparator was overdriven at t_min.

    Parameters
    ----------
    x : Tensor
        T less the time at which the ramp crosses [tau_c].
    window : float
        T [tau_c].
    constants : Constants
        Its delay, and early_1 to early_3.

    Source: `circuits.model.closed_form.Constants.hastened`.
    """
    half = 0.5 * float(np.mean(constants.delay))
    heights = [float(np.mean(h)) for h in (constants.early_1, constants.early_2, constants.early_3)]
    if not any(heights) or half <= 0:
        return x
    at = (window - x) / half  # in halves of a delay
    more = heights[0] * (2.0 - at).clamp(0.0, 1.0)
    for k, height in zip((2.0, 3.0), heights[1:], strict=True):
        more = more + height * (1.0 - (at - k).abs()).clamp(0.0, 1.0)
    return x + more


def jacobian(x: Tensor, weight: Tensor, slope: Tensor, window: float = math.inf) -> Tensor:
    """dx(n)/dx(n-1) = dt(n)/dt(n-1) of a layer in closed form: M W / B.

    Parameters
    ----------
    x : Tensor, shape (..., out)
        Activations of the layer; M selects the neurons that fire inside their window.
    weight : Tensor, shape (out, in)
    slope : Tensor, shape (out,)
        B > 0.
    window : float
        T = t_max - t_min [tau_c].

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
        W, D and B, shapes (out, in), (out,), (out,).
    window : float
        T = t_max - t_min [tau_c].
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
