r"""The one equation of the neuron: when a B1 neuron fires, ideal or of transistors.

.. math:: V_i(t_{min}) = \frac{Q_i}{1+c_i}, \qquad
          Q_i = \sum_{j:\,x_j>0} \left[ W_{ij} ((1+e_{ij}) g_\pm x_j + \delta_\pm) + \kappa_\pm \right]

.. math:: s_i = \frac{k\,(\theta_i (1+c_i) + o_i) + a\,\theta_i^2 + v - l_i - Q_i + b\,Q_i^2}
                     {B_i\, g_B\, (1+\beta_i)} + d + d_i

with x_j = t_min - t_j and s_i the time of the spike after t_min. e, beta, o, c, d_i are the deviations of a
copy (`LayerMismatch`); k, g, delta, kappa, a, b, v, l, d are `Constants` of the circuit (+ sources, - sinks),
whose default is the ideal neuron, bit for bit. a and b come from output conductances, and capacitances that
bend with the voltage. Pulses too short to open a switch count as silent. A comparator is switched on at
t_min: a ramp that crosses within two delays of it finds it overdriven, and its spike comes earlier by h,
linear between

.. math:: h(d/2) = h_1, \quad h(d) = h_2, \quad h(3d/2) = h_3, \quad h(2d) = 0

of the time at which the ramp crosses. The offset o is referred to the nominal capacitor: a comparator
that trips o / (1 + c) above theta.

A read-out does not fire; its potential is sampled at t_min,

.. math:: u_i = \frac{Q_i - b\,Q_i^2 - v + l_i}{1+c_i} + D_i

with D_i its bias, which is added to the converted value. Ideal sources drive the bias as a current of the
membrane instead (`circuits.model.layer.Layer.drive`), and divide it by 1 + c, too.

A neuron at or above threshold at t_min fires there (s = d); one that has not reached it before t_max is
silent. Crossings of partial sums before t_min are blocked. Where layers follow each other their windows are
shifted by the constant delay d, so a response counts from t_min + d.

Source: Stanojevic et al. 2024, eqs. 1 and 5-7, with device deviations; the constants are those that
transistor-level neurons show. Not modeled: clipping at the swing.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from circuits.model.layer import Array, Layer, LayerMismatch, LayerResponse
from circuits.model.operating_point import OperatingPoint

TIE = 1e-12
"""Crossings closer than this fraction of the window to t_max count as silent, at every level:
theta = B T with V(t_min) = 0 is a tie that rounding would decide otherwise."""


@dataclass(frozen=True)
class Constants:
    """Systematic terms of a circuit; the default is the ideal neuron.

    Numbers, or arrays that broadcast to (n_out,), those of synapses to (n_out, n_in).
    """

    theta_scale: float | Array = 1.0  #: k: parasitic capacitance raises the threshold
    gain_source: float | Array = 1.0  #: g+: current of a source over W
    gain_sink: float | Array = 1.0  #: g-
    gain_slope: float | Array = 1.0  #: g_B: current of the slope source over B
    turn_on_source: float | Array = 0.0  #: delta+: what an active source acts longer than its pulse [tau_c]
    turn_on_sink: float | Array = 0.0  #: delta- [tau_c]
    feed_through_source: float | Array = (
        0.0  #: kappa+: potential that an active source adds at its switch [1]
    )
    feed_through_sink: float | Array = 0.0  #: kappa- [1]
    bend_theta: float | Array = 0.0  #: a: of the threshold, by potential squared
    bend_charge: float | Array = 0.0  #: b: of the charge
    shortest: float = 0.0  #: inputs of shorter pulses count as silent [tau_c]
    kick: float | Array = 0.0  #: v: what comparator and switches take from the membrane at t_min [1]
    leakage: float | Array = 0.0  #: l: rise of the potential by leakage over both windows [1]
    delay: float | Array = 0.0  #: d: of the comparator, at B = 1 [tau_c]
    delay_exponent: float = 0.0  #: d goes as B^-exponent
    early_1: float | Array = 0.0  #: h_1: what a spike comes earlier if its ramp crosses at d / 2 [tau_c]
    early_2: float | Array = 0.0  #: h_2: the same at d [tau_c]
    early_3: float | Array = 0.0  #: h_3: the same at 3 d / 2 [tau_c]

    @property
    def ideal(self) -> bool:
        """Whether nothing differs from the ideal neuron but the delay, by which windows are shifted."""
        rest = (f for f in fields(self) if f.name not in ("delay", "delay_exponent"))
        return all(np.all(getattr(self, f.name) == f.default) for f in rest)

    def _signed(self, name: str, weights: Array) -> Array:
        """A term of synapses, such as "gain" or "turn_on", by the sign of each weight."""
        return np.where(weights > 0, getattr(self, f"{name}_source"), getattr(self, f"{name}_sink"))

    def delays(self, slope: Array) -> Array:
        """Delay of neurons with slopes B [tau_c]."""
        if not self.delay_exponent:
            return np.broadcast_to(np.asarray(self.delay, float), np.shape(slope))
        return np.asarray(self.delay * slope**-self.delay_exponent)

    def hats(self, ramp: Array) -> tuple[Array, Array, Array]:
        """Weights of early_1, early_2 and early_3 in h, each of the shape of `ramp`.

        Parameters
        ----------
        ramp : array
            When the ramp crosses, without the delay [tau_c].
        """
        half = 0.5 * np.asarray(self.delay, float)
        at = np.where(half > 0, ramp / np.where(half > 0, half, 1.0), 4.0)  # in halves of a delay
        first = np.clip(2.0 - at, 0.0, 1.0)  # constant below d / 2
        return first, np.clip(1.0 - np.abs(at - 2.0), 0.0, 1.0), np.clip(1.0 - np.abs(at - 3.0), 0.0, 1.0)

    def hastened(self, ramp: Array) -> Array:
        """Ramp times less h: what is left when the comparator was overdriven at t_min.

        Parameters
        ----------
        ramp : array
            As of `hats`.
        """
        heights = (self.early_1, self.early_2, self.early_3)
        if not any(np.any(h) for h in heights):
            return ramp
        return ramp - sum(h * w for h, w in zip(heights, self.hats(ramp), strict=True))


IDEAL = Constants()


def fire(delay: Array, window: float | Array) -> Array:
    """Delay of an unbounded ramp -> delay inside the window: 0 if early, inf if too late.

    Parameters
    ----------
    delay : array
        When the ramp meets the threshold [tau_c], such as from `ramp_times`.
    window : length of the firing window [tau_c]
    """
    return np.where(delay < window * (1.0 - TIE), np.maximum(delay, 0.0), np.inf)


def charges(
    layer: Layer, x: Array, mismatch: LayerMismatch | None = None, constants: Constants = IDEAL
) -> Array:
    """Charge on the membrane at t_min, in units of potential on the nominal capacitor.

    Parameters
    ----------
    x : array, shape (n_in,) or (image, n_in)
        Input activations t_min - t_j [tau_c]; 0 = silent.
    mismatch : LayerMismatch, optional
        None: perfect devices, and no dimension `sample`.

    Returns
    -------
    array, shape ([sample,] [image,] n_out)
    """
    if constants.shortest:
        x = np.where(np.asarray(x) > constants.shortest, x, 0.0)
    current = layer.weights if mismatch is None else layer.weights * (1.0 + mismatch.synapse)
    gained = current if constants.ideal else current * constants._signed("gain", layer.weights)
    charge = _sums(gained, x) + layer.drive * layer.t_min
    if not constants.ideal:
        # stored on the unit devices' own nodes: their number counts, not their current
        extra = layer.weights * constants._signed("turn_on", layer.weights)
        extra = extra + np.where(layer.weights != 0, constants._signed("feed_through", layer.weights), 0.0)
        charge = charge + _sums(extra, (np.asarray(x) > 0).astype(float))
    return charge


def _sums(current: Array, x: Array) -> Array:
    if np.ndim(x) == 1:
        return current @ x
    return x @ current.swapaxes(-1, -2)


def ramp_times(
    layer: Layer, charge: Array, mismatch: LayerMismatch | None = None, constants: Constants = IDEAL
) -> Array:
    """When the ramp of a spiking layer meets the threshold, without bounds and without the constant delay.

    Parameters
    ----------
    charge : array, shape ([sample,] [image,] n_out)
        From `charges`.

    Returns
    -------
    array, the shape of `charge`
        s_i - d [tau_c]; negative: the neuron was above threshold at t_min.
    """
    theta, ramp, late = layer.theta, layer.slope * constants.gain_slope, np.zeros(layer.n_out)
    if mismatch is None:
        threshold = constants.theta_scale * theta
    else:
        spread = (slice(None), None) if charge.ndim > 2 else ()
        offset, slope, capacitance, late = (
            v[spread] for v in (mismatch.threshold, mismatch.slope, mismatch.capacitance, mismatch.delay)
        )
        threshold = constants.theta_scale * (theta * (1.0 + capacitance) + offset)
        ramp = ramp * (1.0 + slope)
    if not constants.ideal:
        threshold = threshold + constants.bend_theta * theta**2
        charge = charge - constants.bend_charge * charge**2
    return constants.hastened((threshold + constants.kick - constants.leakage - charge) / ramp) + late


def read_out(
    layer: Layer, charge: Array, mismatch: LayerMismatch | None = None, constants: Constants = IDEAL
) -> Array:
    """What the samples of a read-out layer say, its biases included.

    Parameters
    ----------
    layer : Layer
        Of neurons that do not spike.
    charge : array, shape ([sample,] [image,] n_out)
        From `charges`.

    Returns
    -------
    array, the shape of `charge` [1]
    """
    capacitance: Array | float = 1.0
    if mismatch is not None:
        capacitance = 1.0 + mismatch.capacitance[(slice(None), None) if charge.ndim > 2 else ()]
    if constants.ideal:
        return charge / capacitance
    own = charge - layer.drive * layer.t_min
    own = own - constants.bend_charge * own**2 - constants.kick + constants.leakage
    return own / capacitance + layer.bias


def response(
    layer: Layer,
    spike_times: Array,
    point: OperatingPoint,
    mismatch: LayerMismatch | None = None,
    constants: Constants = IDEAL,
) -> LayerResponse:
    """Response of `mismatch.samples` copies of a layer to one input.

    Parameters
    ----------
    layer : Layer
    spike_times : array, shape (n_in,)
        Input spike times [tau_c]; inf = silent.
    point : OperatingPoint
        Sets the energies only: the unit-free response does not depend on it.
    mismatch : LayerMismatch, optional
        Device deviations; none = one perfect sample.
    constants : Constants, optional
        Default: the ideal neuron. Energies are always those of ideal sources.
    """
    mismatch = mismatch or LayerMismatch.none(layer)
    mismatch.fits(layer)
    times = layer.inputs(spike_times)
    x = np.where(np.isfinite(times), layer.t_min - times, 0.0)
    charge = charges(layer, x, mismatch, constants)
    current = layer.weights * (1.0 + mismatch.synapse)
    capacitance = 1.0 + mismatch.capacitance
    ramp = layer.slope * constants.gain_slope * (1.0 + mismatch.slope)
    source = np.maximum(current, 0.0) @ x + np.maximum(layer.drive, 0.0) * layer.t_min
    if layer.spiking:
        delay = fire(ramp_times(layer, charge, mismatch, constants), layer.window)
        slope, on, potential = ramp / capacitance, np.minimum(delay, layer.window), charge / capacitance
    else:
        potential = read_out(layer, charge, mismatch, constants)
        delay = np.full(charge.shape, np.inf)
        slope, on = np.full(charge.shape, np.nan), np.zeros(charge.shape)
    joules = point.unit_energy * np.stack([source, ramp * on], axis=-1)
    return LayerResponse(delay=delay, v_t_min=potential, slope=slope, energy_by_supply=joules[..., None, :])


def trajectory_range(layer: Layer, x: Array) -> tuple[Array, Array]:
    """Lowest and highest unit-free potential over the whole trajectory, per input and neuron.

    Parameters
    ----------
    x : array, shape (image, n_in)
        Input activations x_j = t_min - t_j [tau_c]; 0 = silent.

    Returns
    -------
    v_min, v_max : array, shape (image, n_out)
        Partial sums of phase 1 included; v_max also holds the top of the ramp, theta, or
        V(t_min) + B T if the neuron stays silent.
    """
    image = len(x)
    order = np.argsort(-x, axis=1)  # earliest spike first
    x_sorted = np.take_along_axis(x, order, axis=1)
    gap = x_sorted - np.concatenate([x_sorted[:, 1:], np.zeros((image, 1))], axis=1)
    before = layer.t_min - x_sorted[:, :1]  # read-out drive acts before the first spike too
    low = np.minimum(before * layer.drive, 0.0)
    high = np.maximum(before * layer.drive, 0.0)
    v = before * layer.drive
    slope = np.tile(layer.drive, (image, 1))
    for k in range(int((x > 0).sum(1).max(initial=0))):  # silent inputs come last and change nothing
        slope = slope + layer.weights[:, order[:, k]].T
        v = v + slope * gap[:, k : k + 1]
        low, high = np.minimum(low, v), np.maximum(high, v)
    if layer.spiking:
        top = np.maximum(np.minimum(layer.theta, v + layer.slope * layer.window), v)
        high = np.maximum(high, top)
    return low, high
