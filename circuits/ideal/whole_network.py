r"""F2: a whole network in one transient, with comparators and spikes as voltages; the cross-check.

Each neuron's spike is a node that a comparator pulls from 0 to 1 V when the membrane passes the
threshold; a gate lets it through only inside the neuron's firing window, and the synapses of the next
layer are transconductances on what comes out. The comparator has no memory, so a crossing of partial
sums before t_min leaves no trace, and a neuron above threshold at t_min fires there: early spikes are
blocked until the window opens (Stanojevic et al. 2024, Methods iv).

Comparator: a gain of 1e8 into a switch. ngspice finds a switching instant only as well as it follows
the node that controls the switch, so this level agrees with the closed form to a few 1e-8 of tau_c, not to
rounding; a smooth comparator (tanh, ternary) would err by percents, in silence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from circuits.errors import InputError, SimulatorError
from circuits.ideal.netlist import comb, pulse_shape
from circuits.ideal.switched_sources import Grid
from circuits.model.coding import encode
from circuits.model.layer import Array, Layer, LayerMismatch
from circuits.model.operating_point import OperatingPoint
from circuits.spice.deck import Circuit, Deck
from circuits.spice.ngspice import Ngspice
from circuits.units import number

GAIN = 1e8
"""Of the comparator: 1e6 errs by 2e-6 tau_c, 1e9 no less than 1e8."""


@dataclass(frozen=True)
class Flat:
    """The deck, and when each layer's phases begin."""

    deck: Deck
    opens: tuple[float, ...]  #: start of each layer's input window [s]
    t_min: tuple[float, ...]  #: [s]


def build(
    layers: Sequence[Layer],
    points: Sequence[OperatingPoint],
    x: Array,
    mismatch: Sequence[LayerMismatch],
    *,
    steps: int = 400,
) -> Flat:
    """One chip, one image.

    Parameters
    ----------
    x : array, shape (n_in,)
        Input activations in [0, t_min] of the first layer [tau_c]; 0 = silent.
    mismatch : sequence of LayerMismatch
        One sample each.
    steps : int
        Fewest time steps.
    """
    tau = points[0].tau_c
    if any(p.tau_c != tau for p in points):
        raise InputError("a flat network needs one tau_c in all layers")
    for before, after in pairwise(layers):
        if abs(before.window - after.t_min) > 1e-9 * after.t_min:
            raise InputError("a flat network needs each layer's input window to be the firing window before")
    opens = [0.0]
    for layer in layers:
        opens.append(opens[-1] + layer.t_min * tau)
    grid = Grid.spanning(opens[-1] + 0.01 * layers[-1].t_min * tau)
    opened = [round(grid.ticks(t)) for t in opens]

    circuit = Circuit("whole network, comparators and spikes")
    switch_model(circuit)
    edges: set[int] = set()
    spikes = _inputs(circuit, layers[0].inputs(encode(x, layers[0].t_min)) * tau, opened[1], grid, edges)
    nodes: list[str] = []
    for n, (layer, point, deviation) in enumerate(zip(layers, points, mismatch, strict=True)):
        deviation.fits(layer)
        n_open, n_min = opened[n], opened[n + 1]
        edges |= {n_open, n_min}
        drive = np.where(layer.drive != 0, point.i_unit * layer.drive, 0.0)
        weights = layer.weights * (1.0 + deviation.synapse[0]) * point.i_unit
        capacitance = point.c_mem * (1.0 + deviation.capacitance[0])
        slope = layer.slope * (1.0 + deviation.slope[0]) * point.i_unit
        theta = point.volts(layer.theta + deviation.threshold[0] / (1.0 + deviation.capacitance[0]))
        following = []
        for i in range(layer.n_out):
            m = f"m{n}_{i}"
            nodes.append(m)
            start = f"ic={number(point.v_reset)}"
            circuit.C(f"{n}_{i}", m, circuit.gnd, float(capacitance[i]), raw_spice=start)
            for j, spike in enumerate(spikes):
                if weights[i, j] != 0:
                    amps = number(weights[i, j])
                    circuit.VCCS(f"{n}_{i}_{j}", circuit.gnd, m, spike, circuit.gnd, transconductance=amps)
            if drive[i] != 0:
                circuit.I(f"a{n}_{i}", circuit.gnd, m, pulse_shape(drive[i], n_open, n_min, grid))
            if not layer.spiking:
                continue
            circuit.I(f"b{n}_{i}", circuit.gnd, m, pulse_shape(slope[i], n_min, grid.stop, grid))
            circuit.V(f"t{n}_{i}", f"th{n}_{i}", circuit.gnd, number(theta[i]))
            following.append(comparator(circuit, f"{n}_{i}", m, f"th{n}_{i}"))
        if layer.spiking:
            circuit.V(f"g{n}", f"g{n}", circuit.gnd, pulse_shape(1.0, n_min, opened[n + 2], grid))
            for i, p in enumerate(following):
                circuit.B(f"q{n}_{i}", f"q{n}_{i}", circuit.gnd, voltage_expression=f"v({p})*v(g{n})")
            spikes = [f"q{n}_{i}" for i in range(layer.n_out)]
            nodes += spikes
    comb(circuit, grid, sorted(edges))
    stop = grid.stop * grid.tick
    longest = number(stop / steps)
    saved = "".join(f".save v({node})\n" for node in nodes)
    text = f"{circuit}{saved}.tran {longest} {grid.text(grid.stop)} 0 {longest} uic\n.end\n"
    deck = Deck(text, tuple(nodes), stop, n_devices=text.count("\n"))
    return Flat(deck, tuple(opens[:-1]), tuple(opens[1:]))


def _inputs(circuit: Circuit, seconds: Array, n_min: int, grid: Grid, edges: set[int]) -> list[str]:
    """Input spikes as steps from 0 to 1 V that end at t_min."""
    names = []
    for j, t in enumerate(seconds):
        names.append(f"x{j}")
        on = round(grid.ticks(t)) if np.isfinite(t) else n_min
        shape = pulse_shape(1.0, on, n_min, grid) if on < n_min else "0"
        edges |= {on, n_min}
        circuit.V(f"x{j}", f"x{j}", circuit.gnd, shape)
    return names


def switch_model(circuit: Circuit) -> None:
    """What `comparator` needs: a switch model and a 1 V node."""
    circuit.model("swc", "SW", vt=0, vh=0, ron=number(1e-3), roff=number(1e15))
    circuit.V("one", "one", circuit.gnd, "1")


def comparator(circuit: Circuit, label: str, m: str, threshold: str) -> str:
    """Node p<label>: 1 V once v(m) is above the threshold.

    Parameters
    ----------
    label : of the comparator's elements and output
    m, threshold : nodes of the membrane and of its threshold
    """
    circuit.VCVS(label, f"c{label}", circuit.gnd, m, threshold, voltage_gain=number(GAIN))
    circuit.S(label, "one", f"p{label}", f"c{label}", circuit.gnd, model="swc")
    circuit.R(label, f"p{label}", circuit.gnd, 1e6)
    return f"p{label}"


def simulate(
    layers: Sequence[Layer],
    points: Sequence[OperatingPoint],
    x: Array,
    mismatch: Sequence[LayerMismatch],
    *,
    steps: int = 400,
    simulator: Ngspice | None = None,
) -> tuple[list[Array], Array]:
    """Spike times after t_min of every spiking layer [tau_c] (inf = silent), and the logits.

    Parameters
    ----------
    x, mismatch, steps : as of `build`: one image, one chip, fewest time steps

    Raises
    ------
    InputError
        If the layers' windows or conversion times do not fit together.
    SimulatorError
        If ngspice fails, or its record has no point at the read-out time.
    """
    flat = build(layers, points, x, mismatch, steps=steps)
    plot = (simulator or Ngspice()).run(flat.deck)
    time, tau = plot["time"], points[0].tau_c
    times = []
    for n, layer in enumerate(layers[:-1]):
        q = plot.columns([f"v(q{n}_{i})" for i in range(layer.n_out)])
        times.append(np.array([_rise(time, column, flat.t_min[n]) for column in q.T]) / tau)
        times[-1] = np.where(times[-1] < layer.window * (1 - 1e-9), np.maximum(times[-1], 0.0), np.inf)
    last, point = layers[-1], points[-1]
    at = int(np.argmin(np.abs(time - flat.t_min[-1])))
    if abs(time[at] - flat.t_min[-1]) > 1e-9 * flat.t_min[-1]:
        raise SimulatorError("the flat network's record has no point at the read-out time")
    volts = plot.columns([f"v(m{len(layers) - 1}_{i})" for i in range(last.n_out)])[at]
    return times, point.unit_free(volts)


def _rise(time: Array, level: Array, start: float) -> float:
    """First time a spike node passes one half [s after `start`]; inf = never."""
    above = np.flatnonzero(level >= 0.5)
    if len(above) == 0:
        return np.inf
    k = int(above[0])
    if k == 0 or time[k - 1] <= start * (1 + 1e-12):
        return 0.0  # up as the gate opens: the step that follows the break point holds the new value
    share = (0.5 - level[k - 1]) / (level[k] - level[k - 1])
    return float(time[k - 1] + share * (time[k] - time[k - 1]) - start)
