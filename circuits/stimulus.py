r"""Spike times on the simulator's own clock: an integer time grid that loses no charge.

ngspice drops break points that lie closer than 1e-10 of the longest step, and a source that loses one
loses all its later corners, in silence. So every edge sits on a grid of at least four times that
distance. Rounding t_j would move the charge W (t_min - t_j); the pulse height carries the difference:

.. math:: g_j = (t_{min} - t_j) / (n_{min} - n_j) \qquad (n = \text{ticks}, \; g \to 1)

so the potential at t_min is exact, whatever the grid.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from circuits.layer import Array, Layer
from circuits.operating_point import OperatingPoint

BREAK_DISTANCE = 4e-10
"""Grid spacing as a fraction of the simulated time; ngspice merges below 1e-10 of the longest step."""


@dataclass(frozen=True)
class Stimulus:
    """One input pattern of a layer, in integer ticks of 10**exponent seconds."""

    exponent: int
    start: NDArray[np.int64]  #: (n_in,) tick at which input j switches on; -1 = silent
    gain: Array  #: (n_in,) charge-preserving pulse height, 1 up to the grid
    n_min: int  #: tick of t_min
    n_stop: int  #: last tick; at or after t_max
    phase_gain: float  #: the same correction for a current that flows during all of phase 1

    @property
    def tick(self) -> float:
        """One tick [s]."""
        return float(f"1e{self.exponent}")

    def seconds(self, ticks: int) -> str:
        """A time as netlist text: the same tick is always the same string."""
        return f"{int(ticks)}e{self.exponent}"


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
    exponent = math.ceil(math.log10(BREAK_DISTANCE * layer.t_max * point.tau_c))
    tau_ticks = point.tau_c * float(f"1e{-exponent}")
    t_min = layer.t_min * tau_ticks
    n_min = max(round(t_min), 2)
    active = np.isfinite(times) & (times < layer.t_min)
    ideal = np.where(active, times * tau_ticks, 0.0)
    start = np.clip(np.rint(ideal).astype(np.int64), 0, n_min - 1)
    gain = np.where(active, (t_min - ideal) / (n_min - start), 0.0)
    return Stimulus(
        exponent=exponent,
        start=np.where(active, start, -1),
        gain=gain,
        n_min=n_min,
        n_stop=max(math.ceil(layer.t_max * tau_ticks), n_min) + 2,
        phase_gain=t_min / n_min,
    )
