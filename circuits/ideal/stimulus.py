r"""Spike times on the simulator's own clock: an integer time grid that loses no charge.

ngspice drops break points that lie closer than 1e-10 of the longest step, and a source that loses one
loses all its later corners, in silence. So every edge sits on a grid of at least four times that
distance. Rounding t_j would move the charge W (t_end - t_j); the pulse height carries the difference:

.. math:: g_j = (t_{end} - t_j) / (n_{end} - n_j) \qquad (n = \text{ticks}, \; g \to 1)

so the potential at the end of the window is exact, whatever the grid.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from circuits.ideal.switched_sources import NEVER, Grid
from circuits.model.layer import Array, Layer
from circuits.model.operating_point import OperatingPoint


def block_early(spike_times: Array) -> Array:
    """Spikes sent before the window opens act from its opening (time 0): the input is blocked until then.

    With windows shorter than the largest activation a neuron can be above threshold before its t_min.

    Source: Stanojevic et al., Nat. Commun. 2024, Methods, "Simulation details for fine-tuning for
    hardware" (iv); in the ReLU network it clips large activities.
    """
    return np.maximum(spike_times, 0.0)


@dataclass(frozen=True)
class Pulses:
    """Current pulses on the grid, with heights that keep their charge."""

    on: NDArray[np.int64]  #: (pulse,) tick; NEVER = no pulse
    off: NDArray[np.int64]  #: (pulse,) tick
    gain: Array  #: (pulse,) height, 1 up to the grid


def place(start: Array, end: Array, grid: Grid) -> Pulses:
    """Put pulses on the grid.

    Parameters
    ----------
    start, end : array, shape (pulse,) [s]; start = inf, or end <= start: no pulse
    """
    start, end = np.broadcast_arrays(np.asarray(start, float), np.asarray(end, float))
    active = np.isfinite(start) & (end > start)
    per_second = float(f"1e{-grid.exponent}")
    a = np.where(active, start, 0.0) * per_second
    b = np.where(active, end, 0.0) * per_second
    off = np.maximum(np.rint(b).astype(np.int64), 1)
    on = np.clip(np.rint(a).astype(np.int64), 0, off - 1)
    gain = np.where(active, (b - a) / (off - on), 0.0)
    return Pulses(np.where(active, on, NEVER), off, gain)


@dataclass(frozen=True)
class Stimulus:
    """One input pattern of a layer."""

    grid: Grid
    inputs: Pulses  #: from each input spike to t_min
    n_min: int  #: tick of t_min
    phase_gain: float  #: height of a current that flows during all of phase 1


def stimulus(layer: Layer, spike_times: Array, point: OperatingPoint) -> Stimulus:
    """Place the input spikes of one pattern on the grid.

    Parameters
    ----------
    layer : Layer
        Gives t_min and t_max [tau_c].
    spike_times : array, shape (n_in,)
        Spike times [tau_c] in [0, t_min]; inf = silent.
    """
    times = layer.inputs(spike_times)
    grid = Grid.spanning(layer.t_max * point.tau_c)
    whole = place(np.zeros(1), np.array([layer.t_min * point.tau_c]), grid)
    inputs = place(times * point.tau_c, np.full(times.shape, layer.t_min * point.tau_c), grid)
    return Stimulus(grid, inputs, int(whole.off[0]), float(whole.gain[0]))
