r"""Activations and spike times: the same information on two axes.

.. math:: t_j = t_{min} - \tau_c x_j, \qquad x_j = (t_{min} - t_j) / \tau_c, \qquad
          \text{silent} \leftrightarrow x_j = 0

Strong is early. Networks compute with x: differences of absolute times lose float32 precision.

Source: Stanojevic et al., Nat. Commun. 2024, section "The SNN architecture with TTFS coding".
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


def decode(times: NDArray[np.float64], window: float) -> NDArray[np.float64]:
    """Spike times [tau_c] -> activations; inf -> 0.

    Parameters
    ----------
    times : spike times from the window's start [tau_c]; inf = silent
    window : length of the window [tau_c]
    """
    return np.where(np.isfinite(times), window - times, 0.0)
