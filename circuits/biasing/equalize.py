r"""Layers rescaled so that every neuron fills its swing and its window: the function stays as it is.

ReLU passes a positive factor through: with B = 1, a neuron whose weights and bias are multiplied by c, and
the weights that take its spikes divided by it, says the same c times as large. A circuit has one scale s_V
for all neurons of a layer, and errors in volts that do not shrink with a signal, so small signals are lost:

.. math:: c_i = \min\Big(\frac{T}{x_i^{max}}, \; \frac{\rho T}{-V_i^{low}}\Big)

with x_i^max a high percentile of the activations, V_i^low the lowest partial sum, T the firing window, common
to all layers, and rho T the room below the reset level.

The last layer either spikes, too: its logits are shifted and scaled so that the largest of an image lies
inside the window; or it is read out at t_min, and scaled to the same range.

Source: equalization of channels as in Nagel, van Baalen, Blankevoort and Welling, ICCV 2019; the positive
homogeneity of TTFS neurons: thesis of A. Stanojevic, EPFL 2023, eqs. 2.15-2.19.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from circuits.model.closed_form import trajectory_range
from circuits.model.layer import Array, Layer

PERCENTILE = 99.5
"""Of the activations that a window holds: larger ones fire at t_min."""
EDGE = 0.1
"""Part of the window between t_max and the last winner of a first-spike read-out."""
READ_OUTS = ("sampled", "first-spike")


def equalize(
    layers: Sequence[Layer], x: Array, window: float, room: float, read_out: str = "sampled"
) -> list[Layer]:
    """Layers with windows of equal length whose neurons use them whole.

    Parameters
    ----------
    layers : sequence of Layer
        The last one reads out.
    x : array, shape (image, n_in)
        Calibration inputs: activations [tau_c]; 0 = silent.
    window : float
        T [tau_c].
    room : float
        rho: room below the reset level, in parts of the window.
    read_out : {"sampled", "first-spike"}
        How the last layer is read.

    Returns
    -------
    list of Layer
        All with B = 1.
    """
    scaled, before, start = [], np.ones(x.shape[1]), layers[0].t_min
    for n, layer in enumerate(layers):
        weights = layer.weights / layer.slope[:, None] / before
        bias = layer.bias * (1.0 if layer.spiking else 1.0 / layer.slope)
        last = n == len(layers) - 1
        # a bias is in thresholds, or added to samples: no current
        low, high = trajectory_range(Layer(weights, np.zeros_like(bias), start, start, spiking=False), x)
        drive = x @ weights.T + bias
        if not last:
            factor = _of_hidden(drive, low, window, room)
        elif read_out == "first-spike":
            factor, bias = _of_winners(drive, bias, window)
        else:
            span = max(float(high.max() - low.min()), 1e-9)
            factor = np.full(len(bias), window * (1.0 + room) / span)
        weights, bias = weights * factor[:, None], bias * factor
        spiking = not last or read_out == "first-spike"
        scaled.append(Layer(weights, bias, start, start + window, spiking=spiking))
        x = np.clip(x @ weights.T + bias, 0.0, window)
        before, start = factor, window
    return scaled


def _of_hidden(drive: Array, low: Array, window: float, room: float) -> Array:
    """Factor of every neuron, shape (neuron,)."""
    top = np.ones(drive.shape[1])
    for i, column in enumerate(drive.T):
        fired = column[column > 0]
        top[i] = np.percentile(fired, PERCENTILE) if len(fired) else 1.0
    return np.minimum(window / top, room * window / np.maximum(-low.min(axis=0), 1e-9))


def _of_winners(drive: Array, bias: Array, window: float) -> tuple[Array, Array]:
    """Factors and shifted biases of a first-spike read-out, each of shape (neuron,)."""
    low, high = np.percentile(drive.max(axis=1), [100.0 - PERCENTILE, PERCENTILE])
    span = max(float(high - low), 1e-9)
    factor = (1.0 - 2 * EDGE) * window / span
    return np.full(len(bias), factor), bias - low + EDGE / (1.0 - 2 * EDGE) * span
