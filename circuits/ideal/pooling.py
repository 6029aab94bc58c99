r"""Max and min pooling: the earliest and the latest spike of a group.

By an integrate-and-fire neuron without leak that takes a short charge K per input spike,

.. math:: \dot V_i = \sum_j K\,\delta(t - t_j): \qquad
          \text{max: } K > \theta, \qquad \text{min: } \theta/Q < K < \theta/(Q-1)

so that the first, or only the last of Q spikes crosses theta. A real pulse has a width, and the
crossing lies at a fixed point inside it, which is a constant to be taken off the windows.

By logic on latched spikes (steps that stay up until t_max): first arrival is their OR, last arrival
their AND; see `logic`.

Source: A. Stanojevic, thesis, EPFL 2023, eqs. 2.32-2.33.
"""

from __future__ import annotations

import numpy as np

from circuits.errors import InputError
from circuits.ideal.netlist import comb
from circuits.ideal.stimulus import place
from circuits.ideal.switched_sources import Cell, Grid, Sources
from circuits.model.layer import Array
from circuits.model.operating_point import OperatingPoint
from circuits.spice.deck import Circuit, Deck
from circuits.units import number

KINDS = ("max", "min")
WIDTH = 1e-3
"""Width of a charge pulse [tau_c]."""
EXCESS = 1.05
"""K / theta of max pooling."""


def _packet(kind: str, inputs: int) -> float:
    """K in units of theta; for min pooling the middle of the allowed range."""
    if kind not in KINDS:
        raise InputError(f"pooling is one of {KINDS}, got {kind!r}")
    return EXCESS if kind == "max" else 1.0 / (inputs - 0.5)


def _latency(kind: str, inputs: int) -> float:
    """Crossing after the deciding spike [tau_c], if no other pulse overlaps it."""
    k = _packet(kind, inputs)
    return WIDTH * ((1.0 / k) if kind == "max" else (1.0 / k - (inputs - 1)))


def response(kind: str, spike_times: Array) -> Array:
    """Closed form: time of the pooled spike [tau_c], shape (group,); inf = silent.

    Parameters
    ----------
    kind : {"max", "min"}
    spike_times : array, shape (group, input) [tau_c]; inf = silent
    """
    edge = spike_times.min(1) if kind == "max" else spike_times.max(1)
    return edge + _latency(kind, spike_times.shape[1])


def cell(kind: str, spike_times: Array, t_max: float, point: OperatingPoint) -> Cell:
    """One neuron a group; theta is one unit of potential.

    Parameters
    ----------
    kind : {"max", "min"}
    spike_times : array, shape (group, input) [tau_c]; inf = silent
    t_max : end of the window [tau_c]
    """
    groups, inputs = spike_times.shape
    flat = spike_times.ravel() * point.tau_c
    width = WIDTH * point.tau_c
    grid = Grid.spanning((t_max + 2 * WIDTH) * point.tau_c)
    pulses = place(flat, flat + width, grid)
    membership = np.repeat(np.eye(groups), inputs, axis=1)
    height = _packet(kind, inputs) / WIDTH * point.i_unit
    return Cell(
        Sources(
            amps=membership * height * pulses.gain,
            on=pulses.on,
            off=pulses.off,
            labels=tuple(f"k{s}" for s in range(flat.size)),
        ),
        capacitance=np.full(groups, point.c_mem),
        threshold=np.full(groups, point.volts(1.0)),
        grid=grid,
        v_reset=point.v_reset,
        armed=0,
    )


def logic(kind: str, spike_times: Array, t_max: float, tau_c: float) -> tuple[Deck, Grid]:
    """Deck of OR (first arrival) or AND (last arrival) of latched spikes, one group.

    Nodes p<j> are the latched inputs (0 to 1 V), q is the pooled step: max or min of their voltages.

    Parameters
    ----------
    kind : {"max", "min"}
    spike_times : array, shape (input,) [tau_c]; inf = silent
    t_max, tau_c : end of the window [tau_c], and the conversion time [s]
    """
    grid = Grid.spanning(t_max * tau_c)
    circuit = Circuit(f"{kind} pooling by {'or' if kind == 'max' else 'and'} of latched spikes")
    ticks = [round(grid.ticks(t * tau_c)) for t in spike_times if np.isfinite(t)]
    word = "max" if _packet(kind, len(spike_times)) == EXCESS else "min"
    level = "v(p0)"
    for j, t in enumerate(spike_times):
        if np.isfinite(t):
            n = round(grid.ticks(t * tau_c))
            shape = f"PWL(0 0 {grid.text(n)} 0 {grid.text(n + EDGE_TICKS)} 1)" if n else "1"
        else:
            shape = "0"
        circuit.V(f"p{j}", f"p{j}", circuit.gnd, shape)
        level = f"{word}({level},v(p{j}))" if j else level
    circuit.B("q", "q", circuit.gnd, voltage_expression=level)
    comb(circuit, grid, sorted({n for t in ticks for n in (t, t + EDGE_TICKS)}))
    stop = grid.stop * grid.tick
    text = (
        f"{circuit}.save v(q)\n.tran {number(stop / 50)} {grid.text(grid.stop)} 0 {number(stop)} uic\n.end\n"
    )
    return Deck(text, ("q",), stop, n_devices=len(spike_times) + 1), grid


EDGE_TICKS = 100
"""Rise of a latched spike; the step is at one half in its middle."""


def arrival(time: Array, level: Array, grid: Grid) -> float:
    """Time at which the pooled step passes one half [s], less half its rise; inf = never.

    Parameters
    ----------
    time, level : array, shape (point,) [s], and v(q) of the deck of `logic` [V]
    """
    above = np.flatnonzero(level >= 0.5)
    if len(above) == 0:
        return np.inf
    k = int(above[0])
    if k == 0:
        return 0.0
    share = (0.5 - level[k - 1]) / (level[k] - level[k - 1])
    return float(time[k - 1] + share * (time[k] - time[k - 1]) - 0.5 * EDGE_TICKS * grid.tick)
