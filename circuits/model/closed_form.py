r"""F0: what the ideal circuit does, without a simulator.

.. math:: V_i(t_{min}) = \frac{\sum_j W_{ij}(1+e_{ij}) x_j}{1+c_i}, \qquad
          s_i = \frac{(\theta_i + o_i)(1+c_i) - \sum_j W_{ij}(1+e_{ij}) x_j}{B_i (1+\beta_i)}

with x_j = t_min - t_j. A neuron at or above threshold at t_min fires there (s = 0); one that has not
reached it before t_max is silent. Crossings of partial sums before t_min are blocked.

Source: Stanojevic et al. 2024, eqs. 1 and 5-7, with device deviations.
Not modeled: swing limits, comparator delay, leakage.
"""

from __future__ import annotations

import numpy as np

from circuits.model.layer import Array, Layer, LayerMismatch, LayerResponse
from circuits.model.operating_point import OperatingPoint

TIE = 1e-12
"""Crossings closer than this fraction of the window to t_max count as silent, at every level:
theta = B T with V(t_min) = 0 is a tie that rounding would decide otherwise."""


def fire(delay: Array, window: float) -> Array:
    """Delay of an unbounded ramp -> delay inside the window: 0 if early, inf if too late."""
    return np.where(delay < window * (1.0 - TIE), np.maximum(delay, 0.0), np.inf)


def respond(
    layer: Layer,
    spike_times: Array,
    point: OperatingPoint,
    mismatch: LayerMismatch | None = None,
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
    """
    mismatch = mismatch or LayerMismatch.none(layer)
    mismatch.fits(layer)
    times = layer.inputs(spike_times)
    x = np.where(np.isfinite(times), layer.t_min - times, 0.0)
    current = layer.weights * (1.0 + mismatch.synapse)
    charge = current @ x + layer.drive * layer.t_min
    capacitance = 1.0 + mismatch.capacitance
    ramp = layer.slope * (1.0 + mismatch.slope)
    source = np.maximum(current, 0.0) @ x + np.maximum(layer.drive, 0.0) * layer.t_min
    if layer.spiking:
        late = ((layer.theta + mismatch.threshold) * capacitance - charge) / ramp
        delay = fire(late, layer.window)
        slope, on = ramp / capacitance, np.minimum(delay, layer.window)
    else:
        delay = np.full(charge.shape, np.inf)
        slope, on = np.full(charge.shape, np.nan), np.zeros(charge.shape)
    return LayerResponse(
        delay=delay,
        v_t_min=charge / capacitance,
        slope=slope,
        energy_synapse=point.unit_energy * source,
        energy_slope=point.unit_energy * ramp * on,
    )


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
    image, n_in = x.shape
    order = np.argsort(-x, axis=1)  # earliest spike first
    x_sorted = np.take_along_axis(x, order, axis=1)
    gap = x_sorted - np.concatenate([x_sorted[:, 1:], np.zeros((image, 1))], axis=1)
    before = layer.t_min - x_sorted[:, :1]  # read-out drive acts before the first spike too
    low = np.minimum(before * layer.drive, 0.0)
    high = np.maximum(before * layer.drive, 0.0)
    v = before * layer.drive
    slope = np.tile(layer.drive, (image, 1))
    for k in range(n_in):
        slope = slope + layer.weights[:, order[:, k]].T
        v = v + slope * gap[:, k : k + 1]
        low, high = np.minimum(low, v), np.maximum(high, v)
    if layer.spiking:
        top = np.maximum(np.minimum(layer.theta, v + layer.slope * layer.window), v)
        high = np.maximum(high, top)
    return low, high
