r"""A leaky neuron with double-exponential synapses, to show where the linear ramp holds.

.. math:: a(t) = \big[1 - e^{-t/\tau_1}\big] e^{-t/\tau_2}\; H(t) \approx t / \tau_1
          \quad\text{for } t \ll \tau_1

Circuit: each input drops a charge on a synapse node that decays with tau_s, 1/tau_s = 1/tau_1 + 1/tau_2;
a transconductance drives a membrane that leaks with tau_m = tau_2. The difference of the two
exponentials is a(t).

Source: A. Stanojevic, thesis, EPFL 2023, eqs. 3.14-3.18 (linear range: from the start of the
input window to t_max, less than 0.5 tau_1).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from circuits.errors import InputError
from circuits.ideal.netlist import comb, pulse_shape
from circuits.ideal.switched_sources import Grid
from circuits.model.layer import Array
from circuits.spice.deck import Circuit, Deck
from circuits.units import number

WIDTH = 1e-3
"""Width of a charge packet [tau_1]."""


@dataclass(frozen=True)
class LeakySynapse:
    """Time constants in seconds; tau_2 >= 2 tau_1 > 0."""

    tau_1: float
    tau_2: float

    def __post_init__(self) -> None:
        if not (0 < 2 * self.tau_1 <= self.tau_2 < np.inf):
            raise InputError(f"need tau_2 >= 2 tau_1 > 0, got {self.tau_1!r} and {self.tau_2!r}")

    @property
    def tau_s(self) -> float:
        """Decay of the synapse node [s]."""
        return 1.0 / (1.0 / self.tau_1 + 1.0 / self.tau_2)


def response(synapse: LeakySynapse, t: Array) -> Array:
    """a(t), eq. 3.15, for t in seconds.

    Parameters
    ----------
    t : since the input spike [s]
    """
    t = np.asarray(t, float)
    late = np.maximum(t, 0.0)
    return np.where(t > 0, -np.expm1(-late / synapse.tau_1) * np.exp(-late / synapse.tau_2), 0.0)


def potential(synapse: LeakySynapse, weights: Array, spike_times: Array, t: Array) -> Array:
    """V(t) = sum_j W_j a(t - t_j) with packets of finite width; t [s] outside the packets.

    A packet of width w is an average of a(t - u) over u in [0, w]: each exponential gains a factor.

    Parameters
    ----------
    weights, spike_times : array, shape (input,)
        W_j, and times [s]; inf = silent.
    t : array, shape (time,) [s], outside the packets
    """
    width = WIDTH * synapse.tau_1
    total = np.zeros_like(np.asarray(t, float))
    for weight, start in zip(weights, spike_times, strict=True):
        if not np.isfinite(start):
            continue
        s = np.asarray(t, float) - start
        late = np.maximum(s, width)
        term = np.zeros_like(total)
        for sign, tau in ((1.0, synapse.tau_2), (-1.0, synapse.tau_s)):
            term += sign * tau / width * np.expm1(width / tau) * np.exp(-late / tau)
        total += weight * np.where(s >= width, term, 0.0)
    return total


def deck(synapse: LeakySynapse, weights: Array, spike_times: Array, stop: float, steps: int = 4000) -> Deck:
    """One neuron: membrane node m at 1 V per unit, synapse node s.

    Parameters
    ----------
    weights, spike_times : array, shape (input,)
        W_j, and times [s]; inf = silent.
    steps : int
        Fewest time steps: the error of the trapezoidal rule falls with their square.
    """
    grid = Grid.spanning(stop)
    capacitance = 1e-12
    packet_ticks = round(grid.ticks(WIDTH * synapse.tau_1))
    circuit = Circuit("leaky neuron, double exponential synapses")
    circuit.C("s", "s", circuit.gnd, capacitance, raw_spice="ic=0")
    circuit.R("s", "s", circuit.gnd, float(synapse.tau_s / capacitance))
    circuit.C("m", "m", circuit.gnd, capacitance, raw_spice="ic=0")
    circuit.R("m", "m", circuit.gnd, float(synapse.tau_2 / capacitance))
    # unit packet: V_s = 1 V; the membrane then follows g tau_1 / C * a(t), so g = C / tau_1
    circuit.VCCS(
        "m", circuit.gnd, "m", "s", circuit.gnd, transconductance=number(capacitance / synapse.tau_1)
    )
    edges: set[int] = set()
    for j, (weight, t) in enumerate(zip(weights, spike_times, strict=True)):
        if not np.isfinite(t) or weight == 0:
            continue
        on = round(grid.ticks(t))
        edges |= {on, on + packet_ticks}
        shape = pulse_shape(
            float(weight) * capacitance / (packet_ticks * grid.tick), on, on + packet_ticks, grid
        )
        circuit.I(f"k{j}", circuit.gnd, "s", shape)
    comb(circuit, grid, sorted(edges))
    longest = number(grid.stop * grid.tick / steps)
    text = f"{circuit}.save v(m)\n.tran {longest} {grid.text(grid.stop)} 0 {longest} uic\n.end\n"
    return Deck(text, ("m",), grid.stop * grid.tick, n_devices=5 + len(edges) // 2)
