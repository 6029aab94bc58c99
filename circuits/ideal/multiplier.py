r"""Two-phase time-domain vector multiplier: pulse lengths in, pulse length out.

Phase 1, length T_1: each input is a pulse of length |x_j| anywhere in the phase; it gates a current
|W_ij|. Phase 2, length T_2: a ramp B. The output pulse lasts from the crossing of theta to the end of
phase 2:

.. math:: y_i = T_2 - s_i = \frac{1}{B} \sum_j W_{ij} x_j \quad\text{with}\quad \theta_i = B\,T_2

* one quadrant: x >= 0, W >= 0, one capacitor;
* two quadrants: x >= 0, W of both signs (source and sink), one capacitor: silence is the ReLU;
* four quadrants: x and W of both signs on two lines each, and two capacitors P and M with sources
  only. P takes W+ x+ and W- x-, M the rest; y = s_M - s_P. The ReLU is the pulse "P has fired and M has
  not", of length max(0, y).

A latched spike of a B1 neuron *is* such a pulse: one cell serves both.

Source: Bavandpour, Mahmoodi & Strukov, arXiv:1711.10673 (2017), the scheme; signs and ReLU gating as
there, thresholds as in the B1 neuron of Stanojevic et al. 2024.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from circuits.errors import InputError
from circuits.ideal.netlist import comb, membranes, pulse_shape, pulses
from circuits.ideal.stimulus import place
from circuits.ideal.switched_sources import Cell, Grid, Sources
from circuits.ideal.whole_network import comparator, switch_model
from circuits.model.layer import Array
from circuits.model.operating_point import OperatingPoint
from circuits.spice.deck import Deck
from circuits.units import number

QUADRANTS = (1, 2, 4)


@dataclass(frozen=True)
class Multiplier:
    """y = W x for pulse-length coded x; times in tau_c."""

    weights: Array  #: (n_out, n_in)
    quadrants: int
    phase_1: float = 1.0  #: longest input pulse
    phase_2: float = 1.0  #: longest output pulse
    slope: float = 1.0  #: B

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", np.asarray(self.weights, float))
        if self.quadrants not in QUADRANTS:
            raise InputError(f"quadrants must be one of {QUADRANTS}, got {self.quadrants}")
        if self.quadrants == 1 and np.any(self.weights < 0):
            raise InputError("a one-quadrant multiplier takes weights >= 0")
        if not (self.phase_1 > 0 and self.phase_2 > 0 and self.slope > 0):
            raise InputError("phases and slope must be > 0")

    def check(self, x: Array, start: Array) -> tuple[Array, Array]:
        """Validated inputs and the starts of their pulses.

        Parameters
        ----------
        x, start : array, shape (n_in,), as of `cell`
        """
        x, start = np.asarray(x, float), np.asarray(start, float)
        if x.shape != (self.weights.shape[1],) or start.shape != x.shape:
            raise InputError(f"need {self.weights.shape[1]} inputs and starts, got {x.shape}, {start.shape}")
        if self.quadrants < 4 and np.any(x < 0):
            raise InputError(f"a {self.quadrants}-quadrant multiplier takes x >= 0")
        slack = 1e-12 * self.phase_1
        if not np.all((start >= 0) & (start + np.abs(x) <= self.phase_1 + slack)):
            raise InputError(f"every input pulse must lie within phase 1, [0, {self.phase_1}]")
        return x, start


def response(multiplier: Multiplier, x: Array) -> tuple[Array, Array]:
    """Closed form: y (n_out,) and the crossings s [tau_c after phase 1], (P and M, n_out) or (1, n_out).

    A crossing outside phase 2 is clipped: the pulse is then too long or missing.

    Parameters
    ----------
    x : array, shape (n_in,), signed pulse lengths [tau_c]
    """
    w, window = multiplier.weights, multiplier.phase_2
    if multiplier.quadrants < 4:
        s = window - (w @ x)[None] / multiplier.slope
        s = np.clip(s, 0.0, window)
        return window - s[0], s
    plus, minus = np.maximum(x, 0.0), np.maximum(-x, 0.0)
    source, sink = np.maximum(w, 0.0), np.maximum(-w, 0.0)
    q = np.stack([source @ plus + sink @ minus, source @ minus + sink @ plus])
    s = np.clip(window - q / multiplier.slope, 0.0, window)
    return s[1] - s[0], s


def cell(multiplier: Multiplier, x: Array, start: Array, point: OperatingPoint) -> Cell:
    """Columns: x+ and x- line of every input, then the ramp. Neurons: outputs, or all P then all M.

    Parameters
    ----------
    x : array, shape (n_in,), pulse lengths [tau_c]; the sign chooses the line
    start : array, shape (n_in,), when each pulse starts in phase 1 [tau_c]

    Raises
    ------
    InputError
        For pulses outside phase 1, or signs that the multiplier does not take.
    """
    x, start = multiplier.check(x, start)
    w, tau = multiplier.weights, point.tau_c
    grid = Grid.spanning((multiplier.phase_1 + multiplier.phase_2) * tau)
    end = start + np.abs(x)
    lines = [
        place(np.where(on, start, np.inf) * tau, np.where(on, end, np.inf) * tau, grid)
        for on in (x > 0, x < 0)
    ]
    positive, negative = np.maximum(w, 0.0), np.maximum(-w, 0.0)
    if multiplier.quadrants == 4:
        plus, minus = np.vstack([positive, negative]), np.vstack([negative, positive])
    else:
        plus, minus = w, np.zeros_like(w)
    n_out = plus.shape[0]
    n_1 = round(grid.ticks(multiplier.phase_1 * tau))
    ramp = np.full((n_out, 1), multiplier.slope)
    return Cell(
        Sources(
            amps=point.i_unit * np.hstack([plus * lines[0].gain, minus * lines[1].gain, ramp]),
            on=np.concatenate([lines[0].on, lines[1].on, [n_1]]),
            off=np.concatenate([lines[0].off, lines[1].off, [2 * grid.stop]]),
            labels=(*(f"p{j}" for j in range(len(x))), *(f"n{j}" for j in range(len(x))), "b"),
        ),
        capacitance=np.full(n_out, point.c_mem),
        threshold=np.full(n_out, point.volts(multiplier.slope * multiplier.phase_2)),
        grid=grid,
        v_reset=point.v_reset,
        armed=n_1,
    )


def read(multiplier: Multiplier, point: OperatingPoint, time: Array) -> tuple[Array, Array]:
    """Measured crossings [s after phase 1] -> y and s, as `response`.

    Parameters
    ----------
    time : array, shape (n_out,), or (2 n_out,) of four quadrants, crossings [s]
    """
    s = np.minimum(time / point.tau_c, multiplier.phase_2)
    if multiplier.quadrants < 4:
        return multiplier.phase_2 - s, s[None]
    s = s.reshape(2, -1)
    return s[1] - s[0], s


def gated(cell: Cell, vdd: float, *, steps: int = 400) -> Deck:
    """Deck of a four-quadrant multiplier with comparators and the gate "P has fired, M has not".

    Node r<i> is the output pulse (0 or 1 V) of output i: its length is max(0, y).

    Parameters
    ----------
    cell : of a four-quadrant multiplier: all P, then all M
    vdd : supply [V]
    steps : fewest time steps
    """
    circuit, nodes = membranes(cell, "four quadrant multiplier with relu gate")
    pulses(circuit, cell, nodes, vdd)
    switch_model(circuit)
    spikes = []
    for i, node in enumerate(nodes):
        circuit.V(f"t{i}", f"th{i}", circuit.gnd, number(cell.threshold[i]))
        spikes.append(comparator(circuit, str(i), node, f"th{i}"))
    half = len(nodes) // 2
    phase_2 = pulse_shape(1.0, cell.armed, 2 * cell.grid.stop, cell.grid)
    circuit.V("phase", "phase", circuit.gnd, phase_2)
    for i in range(half):
        expression = f"v({spikes[i]})*(1-v({spikes[half + i]}))*v(phase)"
        circuit.B(f"r{i}", f"r{i}", circuit.gnd, voltage_expression=expression)
    edges, _ = cell.sources.rows(cell.grid)
    comb(circuit, cell.grid, np.union1d(edges, [cell.armed]))
    stop = cell.grid.stop * cell.grid.tick
    outputs = tuple(f"r{i}" for i in range(half))
    saved = "".join(f".save v({r})\n" for r in outputs)
    longest = number(stop / steps)
    text = f"{circuit}{saved}.tran {longest} {cell.grid.text(cell.grid.stop)} 0 {longest} uic\n.end\n"
    return Deck(text, outputs, stop, n_devices=8 * len(nodes))
