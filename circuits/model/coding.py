r"""Activations and spike times: the same information on two axes.

.. math:: t_j = t_{min} - \tau_c x_j, \qquad x_j = (t_{min} - t_j) / \tau_c, \qquad
          \text{silent} \leftrightarrow x_j = 0

Strong is early. Networks compute with x: differences of absolute times lose float32 precision.

Source: Stanojevic et al., Nat. Commun. 2024, section "The SNN architecture with TTFS coding".

Relative coding: the last neurons of a layer are dummies without synapses, whose thresholds they reach at the
end of the window. When more than half of them have fired the next phase begins, so that spikes count from
there,

.. math:: y_i = \max(x_i - \mathrm{median}_d\, x_d,\; 0)

and what shifts all neurons of a layer alike (references, capacitors, temperature, supply, a common jitter)
cancels. Source: proposed, not explored, in the same paper's Discussion.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def encode(x: Array, window: float) -> Array:
    """Activations in [0, window] -> spike times [tau_c] from the window's start; 0 -> inf (silent).

    Activations that are longer than the window by rounding fire at its start.

    Parameters
    ----------
    x : activations [tau_c]
    window : length of the window, such as t_min [tau_c]
    """
    return np.where(x > 0, np.maximum(window - x, 0.0), np.inf)


def relative(x: Array, dummies: int) -> Array:
    """Activations of a layer as the next one meets them: without dummies, counted from their spike.

    Parameters
    ----------
    x : array, shape (..., neuron)
        Activations [tau_c]; the last `dummies` are those of dummies.
    dummies : int
        0: absolute coding, x as it is; else odd.

    Returns
    -------
    array, shape (..., neuron - dummies)
    """
    if not dummies:
        return x
    return np.maximum(x[..., :-dummies] - np.median(x[..., -dummies:], axis=-1, keepdims=True), 0.0)


def decode(times: NDArray[np.float64], window: float) -> NDArray[np.float64]:
    """Spike times [tau_c] -> activations; inf -> 0.

    Parameters
    ----------
    times : spike times from the window's start [tau_c]; inf = silent
    window : length of the window [tau_c]
    """
    return np.where(np.isfinite(times), window - times, 0.0)
