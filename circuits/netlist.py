"""Layers as ngspice decks, written through PySpice's netlist objects (and nothing else of PySpice).

Two forms of the same circuit:

* `step_table`: the fast path. Each neuron is a capacitor fed by one column of an XSPICE step table
  that holds the sum of its synapse and slope currents; hundreds of neurons share one time grid.
* `pulse`: the readable path. One PULSE current source per synapse between the neuron's own supply
  and its membrane (W > 0) or the membrane and ground (W < 0), one for the slope source.

Both carry a comb `vbp`: a source that is always zero, with a corner at every edge, so that ngspice
steps exactly onto each of them. Values are bare numbers (see `circuits.units`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from PySpice.Spice.Netlist import Circuit

from circuits.layer import Array, Layer, LayerMismatch
from circuits.operating_point import OperatingPoint
from circuits.stimulus import Stimulus
from circuits.units import name, number

COLUMNS = 15
"""Columns of one step table: ngspice reads rows of at most 512 characters; the count must be odd."""
EDGE = "00001"
"""Edges end 1e-5 tick behind their break point: above the rounding of time (1e-7 tick), and below
ngspice's shortest step, so that the step after the break point takes the new value as a whole."""


@dataclass(frozen=True)
class Deck:
    """Everything one ngspice run needs, and what to expect back."""

    text: str  #: the netlist; its first line is the title
    nodes: tuple[str, ...]  #: saved voltages
    stop: float  #: end time [s]
    files: Mapping[str, str] = field(default_factory=dict)  #: tables beside the deck
    currents: tuple[str, ...] = ()  #: saved branch currents
    n_devices: int = 0


@dataclass(frozen=True)
class Devices:
    """Device values of every neuron of a deck; neuron = sample-major flattening of (sample, n_out)."""

    synapse: Array  #: (neuron, n_in) synapse currents [A], sign = source or sink
    drive: Array  #: (neuron,) constant phase-1 current [A]
    slope: Array  #: (neuron,) phase-2 current [A]; 0 for read-out neurons
    capacitance: Array  #: (neuron,) [F]
    threshold: Array  #: (neuron,) trip voltage [V]


def devices(layer: Layer, point: OperatingPoint, mismatch: LayerMismatch) -> Devices:
    """Unit-free layer and deviations -> amperes, farads and volts."""
    samples, n_out = mismatch.slope.shape
    neuron = samples * n_out
    slope = layer.slope * (1.0 + mismatch.slope) if layer.spiking else np.zeros((samples, n_out))
    synapse = layer.weights * (1.0 + mismatch.synapse)
    return Devices(
        synapse=point.i_unit * synapse.reshape(neuron, layer.n_in),
        drive=point.i_unit * np.tile(layer.drive, samples),
        slope=point.i_unit * slope.reshape(neuron),
        capacitance=point.c_mem * (1.0 + mismatch.capacitance).reshape(neuron),
        threshold=point.volts((layer.theta + mismatch.threshold).reshape(neuron)),
    )


def _comb(circuit: Circuit, stim: Stimulus, ticks: Iterable[int]) -> None:
    corners = "\n".join(f"+ {stim.seconds(n)} 0" for n in ticks if n > 0)
    circuit.raw_spice += f"Vbp bp 0 PWL(0 0\n{corners})\n"


def _finish(
    circuit: Circuit, stim: Stimulus, vectors: Iterable[str], record_from: int = 0, points: int = 1
) -> str:
    stop = stim.seconds(stim.n_stop)
    step = number(stim.n_stop * stim.tick / max(points, 50))
    longest = number(stim.n_stop * stim.tick / points)
    start = stim.seconds(record_from)
    saved = "".join(f".save {v}\n" for v in vectors)
    return f"{circuit}{saved}.tran {step} {stop} {start} {longest} uic\n.end\n"


def step_table(
    dev: Devices,
    stim: Stimulus,
    point: OperatingPoint,
    *,
    title: str = "if layer, step table",
    waveform: bool = False,
    table: str = "t",
) -> Deck:
    """Deck of many neurons that share their input spikes.

    Parameters
    ----------
    table : str
        Start of the table file names: lower case, since ngspice lower-cases them.
    waveform : bool
        True records from t = 0; False only from just before t_min (a smaller raw file).
    """
    neuron = dev.synapse.shape[0]
    ticks = np.unique(np.append(stim.start[stim.start >= 0], stim.n_min))
    order = np.argsort(stim.start, kind="stable")
    order = order[stim.start[order] >= 0]
    # rows[e] = current after edge e; phase 1 sums synapses as they arrive, phase 2 is the slope
    total = np.cumsum((dev.synapse * stim.gain).T[order], axis=0)
    count = np.searchsorted(stim.start[order], ticks, side="right")
    rows = np.zeros((len(ticks) + 1, neuron))
    rows[1:] = np.where(count[:, None] > 0, total[np.maximum(count - 1, 0)], 0.0) if len(order) else 0
    rows[:-1] += dev.drive * stim.phase_gain
    rows[-1] = dev.slope
    if ticks[0] == 0:  # on from the very start: there is no edge to step onto
        ticks, rows = ticks[1:], rows[1:]

    circuit = Circuit(title)
    nodes = [f"m{i}" for i in range(neuron)]
    initial = f"ic={number(point.v_reset)}"
    for i, node in enumerate(nodes):
        circuit.C(str(i), node, circuit.gnd, float(dev.capacitance[i]), raw_spice=initial)
    files = {}
    for k, first in enumerate(range(0, neuron, COLUMNS)):
        columns = list(range(first, min(first + COLUMNS, neuron)))
        ports = [nodes[i] for i in columns]
        # XSPICE current ports sink what the table says
        part = -rows[:, columns]
        if len(columns) % 2 == 0:
            circuit.C(f"pad{k}", f"pad{k}", circuit.gnd, float(point.c_mem), raw_spice=initial)
            ports.append(f"pad{k}")
            part = np.hstack([part, np.zeros((len(rows), 1))])
        width = part.shape[1]
        circuit.A(str(k), f"%i[{' '.join(ports)}]", model=f"fs{k}")
        circuit.model(
            f"fs{k}",
            "filesource",
            file=f'"{name(table)}{k}.txt"',
            amploffset=f"[{' '.join(['0'] * width)}]",
            amplscale=f"[{' '.join(['1'] * width)}]",
            timeoffset=0,
            timescale=1,
            timerelative="false",
            amplstep="true",
        )
        files[f"{table}{k}.txt"] = _table(part, ticks, stim)
    _comb(circuit, stim, ticks)
    record_from = 0 if waveform else max(stim.n_min - stim.n_min // 1_000_000 - 1, 0)
    text = _finish(circuit, stim, [f"v({n})" for n in nodes], record_from, 200 if waveform else 1)
    return Deck(text, tuple(nodes), stim.n_stop * stim.tick, files, n_devices=2 * neuron)


def _table(part: Array, ticks: np.ndarray, stim: Stimulus) -> str:
    row = " ".join(["%.15g"] * part.shape[1])
    times = ["0", *(f"{n}.{EDGE}e{stim.exponent}" for n in ticks), stim.seconds(2 * stim.n_stop)]
    values = [*part, part[-1]]
    return "".join(f"{t} {row % tuple(v)}\n" for t, v in zip(times, values, strict=True))


def pulse(
    dev: Devices,
    stim: Stimulus,
    point: OperatingPoint,
    *,
    title: str = "if layer, one source per synapse",
) -> Deck:
    """Readable deck: node m<i> is the membrane of neuron i, vdd<i> its own supply.

    Branch currents i(vdd<i>) are saved: the integral of -vdd * i is the neuron's energy.
    """
    circuit = Circuit(title)
    step = f"0.{EDGE}e{stim.exponent}"
    slope_width = stim.seconds(2 * stim.n_stop)
    period = stim.seconds(4 * stim.n_stop)

    def source(label: str, node: int, amps: float, start: int, width: str) -> int:
        if amps == 0 or start < 0:
            return 0
        supply = (f"vdd{node}", f"m{node}") if amps > 0 else (f"m{node}", circuit.gnd)
        at = stim.seconds(start)
        shape = f"PULSE(0 {number(abs(amps))} {at} {step} {step} {width} {period})"
        circuit.I(name(label), *supply, shape)
        return 1

    neuron = dev.synapse.shape[0]
    count = 0
    for i in range(neuron):
        circuit.V(f"dd{i}", f"vdd{i}", circuit.gnd, number(point.vdd))
        initial = f"ic={number(point.v_reset)}"
        circuit.C(str(i), f"m{i}", circuit.gnd, float(dev.capacitance[i]), raw_spice=initial)
        for j in range(dev.synapse.shape[1]):
            amps = dev.synapse[i, j] * stim.gain[j]
            width = stim.seconds(stim.n_min - max(int(stim.start[j]), 0))
            count += source(f"w{i}_{j}", i, amps, int(stim.start[j]), width)
        count += source(f"a{i}", i, dev.drive[i] * stim.phase_gain, 0, stim.seconds(stim.n_min))
        count += source(f"b{i}", i, dev.slope[i], stim.n_min, slope_width)
    edges = np.unique(np.append(stim.start[stim.start >= 0], stim.n_min))
    _comb(circuit, stim, edges)
    nodes = tuple(f"m{i}" for i in range(neuron))
    currents = tuple(f"vdd{i}" for i in range(neuron))
    vectors = [f"v({n})" for n in nodes] + [f"i({c})" for c in currents]
    text = _finish(circuit, stim, vectors, points=200)
    return Deck(text, nodes, stim.n_stop * stim.tick, currents=currents, n_devices=count + 2 * neuron)
