"""Cells as ngspice decks, written through PySpice's netlist objects (and nothing else of PySpice).

Three forms of the same circuit, with the same waveforms:

* `table`: the fast path. Each neuron is a capacitor fed by one column of an XSPICE step table that holds
  the sum of its currents; hundreds of neurons share one time grid.
* `pwl`: the same sums as one PWL current source a neuron, where ngspice has no XSPICE.
* `pulse`: the readable path. One PULSE current source per current, from the neuron's own supply to its
  membrane (positive) or from the membrane to ground (negative).

All carry a comb `vbp`: a source that is always zero, with a corner at every edge, so that ngspice
steps exactly onto each of them. Values are bare numbers (see `circuits.units`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from circuits.errors import InputError
from circuits.ideal.switched_sources import NEVER, Cell, Grid
from circuits.spice.deck import Circuit, Deck
from circuits.units import name, number
from circuits.units import title as plain

FORMS = ("table", "pwl", "pulse")
COLUMNS = 15
"""Columns of one step table: ngspice reads rows of at most 512 characters; the count must be odd."""
EDGE = "00001"
"""Edges end 1e-5 tick behind their break point: above the rounding of time (1e-7 tick), and below
ngspice's shortest step, so that the step after the break point takes the new value as a whole."""
MANTISSA = 2**52
"""Largest whole number in a step table: currents are rounded to 1e-16 of a neuron's largest one."""
WAVEFORM_POINTS = 200


def build(cell: Cell, form: str = "table", **options: Any) -> Deck:
    """The deck of a cell.

    Parameters
    ----------
    form : {"table", "pwl", "pulse"}, see the module
    options
        Of the form's function: `title`, `waveform` (record from t = 0 in at least WAVEFORM_POINTS steps), of
        tables `prefix`, of pulses `vdd`.

    Raises
    ------
    InputError
        For an unknown form.
    """
    if form not in FORMS:
        raise InputError(f"unknown netlist form {form!r}; choose from {', '.join(FORMS)}")
    return {"table": table, "pwl": pwl, "pulse": pulse}[form](cell, **options)


def table(
    cell: Cell, *, title: str = "neurons, step table", waveform: bool = False, prefix: str = "t"
) -> Deck:
    """Fast form.

    Parameters
    ----------
    waveform : bool
        True records from t = 0; False only from just before the comparators are armed.
    prefix : str
        Start of the table file names: lower case, since ngspice lower-cases them.
    """
    edges, rows = cell.sources.rows(cell.grid)
    circuit, nodes = membranes(cell, title, bulk=True)
    # whole numbers are written and read far faster than decimals; XSPICE current ports sink
    largest = np.max(np.abs(rows), axis=0)
    scale = np.where(largest > 0, largest, 1.0) / MANTISSA
    steps = np.rint(rows / -scale).astype(np.int64)
    files = {}
    for k, first in enumerate(range(0, len(nodes), COLUMNS)):
        ports = nodes[first : first + COLUMNS]
        part = steps[:, first : first + COLUMNS]
        scales = [number(v) for v in scale[first : first + COLUMNS]]
        if len(ports) % 2 == 0:
            value = float(cell.capacitance[0])
            circuit.C(f"pad{k}", f"pad{k}", circuit.gnd, value, raw_spice=_initial(cell))
            ports, scales = [*ports, f"pad{k}"], [*scales, "1"]
            part = np.hstack([part, np.zeros((len(part), 1), np.int64)])
        circuit.A(str(k), f"%i[{' '.join(ports)}]", model=f"fs{k}")
        circuit.model(
            f"fs{k}",
            "filesource",
            file=f'"{name(prefix)}{k}.txt"',
            amploffset=f"[{' '.join(['0'] * len(ports))}]",
            amplscale=f"[{' '.join(scales)}]",
            timeoffset=0,
            timescale=1,
            timerelative="false",
            amplstep="true",
        )
        files[f"{prefix}{k}.txt"] = _table(part, edges, cell.grid)
    text = _finish(circuit, cell, edges, [], waveform)
    return Deck(text, tuple(nodes), _stop(cell), files, n_devices=2 * len(nodes))


def _table(part: NDArray[np.int64], edges: NDArray[np.int64], grid: Grid) -> str:
    times = ["0", *(f"{n}.{EDGE}e{grid.exponent}" for n in edges), grid.text(2 * grid.stop)]
    values = [*part.tolist(), part[-1].tolist()]
    return "".join([f"{t} {' '.join(map(str, v))}\n" for t, v in zip(times, values, strict=True)])


def pwl(cell: Cell, *, title: str = "neurons, piecewise linear", waveform: bool = False) -> Deck:
    """Portable form of the fast path: one PWL source a neuron, with edges that ngspice jumps over.

    Parameters
    ----------
    waveform : as of `table`
    """
    edges, rows = cell.sources.rows(cell.grid)
    circuit, nodes = membranes(cell, title, bulk=True)
    before = [cell.grid.text(n) for n in edges]
    after = [f"{n}.{EDGE}e{cell.grid.exponent}" for n in edges]
    for i, node in enumerate(nodes):
        amps = [number(a) for a in rows[:, i]]
        corners = [f"0 {amps[0]}"]
        for k in range(len(edges)):
            corners += [f"{before[k]} {amps[k]}", f"{after[k]} {amps[k + 1]}"]
        circuit.I(str(i), circuit.gnd, node, "PWL(" + "\n+ ".join(corners) + ")")
    text = _finish(circuit, cell, edges, [], waveform)
    return Deck(text, tuple(nodes), _stop(cell), n_devices=2 * len(nodes))


def pulse(
    cell: Cell,
    *,
    title: str = "neurons, one source per current",
    waveform: bool = True,
    vdd: float = 1.2,
) -> Deck:
    """Readable form: node m<i> is the membrane of neuron i, n<i> where its currents meet, vdd<i> its supply,
    th<i> the threshold that v(m<i>) has to pass. A silent input has no source.

    Branch currents i(vdd<i>) are saved: the integral of -vdd * i is the neuron's energy.

    Parameters
    ----------
    waveform : as of `table`
    vdd : supply [V]
    """
    edges, _ = cell.sources.rows(cell.grid)
    circuit, nodes = membranes(cell, title)
    for i, volts in enumerate(cell.threshold.tolist()):
        circuit.V(f"th{i}", f"th{i}", circuit.gnd, number(volts))
    count = pulses(circuit, cell, nodes, vdd)
    supplies = tuple(f"vdd{i}" for i in range(len(nodes)))
    vectors = [f"v({n})" for n in nodes] + [f"i({s})" for s in supplies]
    text = _finish(circuit, cell, edges, vectors, waveform)
    return Deck(text, tuple(nodes), _stop(cell), currents=supplies, n_devices=count + 4 * len(nodes))


def pulses(circuit: Circuit, cell: Cell, nodes: list[str], vdd: float) -> int:
    """Add one supply a neuron and one PULSE source per current; returns how many sources.

    The sources meet at a summing node n<i>, and one 0 V source carries their sum to the membrane. On the
    membrane itself each small current would be rounded to the last digit of the large equivalent
    current of the capacitor: 3e-11 of the potential at 784 synapses.

    Parameters
    ----------
    nodes : membranes
    vdd : supply [V]
    """
    grid, sources = cell.grid, cell.sources
    count = 0
    for i, node in enumerate(nodes):
        circuit.V(f"dd{i}", f"vdd{i}", circuit.gnd, number(vdd))
        circuit.V(f"s{i}", f"n{i}", node, "0")
        for s, label in enumerate(sources.labels):
            amps, on = float(sources.amps[i, s]), int(sources.on[s])
            if amps == 0 or on == NEVER:
                continue
            ends = (f"vdd{i}", f"n{i}") if amps > 0 else (f"n{i}", circuit.gnd)
            shape = pulse_shape(abs(amps), on, int(sources.off[s]), grid)
            circuit.I(f"{name(label)}_{i}", *ends, shape)
            count += 1
    return count


def pulse_shape(height: float, on: int, off: int, grid: Grid) -> str:
    """A pulse from tick to tick with edges that ngspice jumps over.

    Parameters
    ----------
    height : [A] or [V]
    on, off : ticks
    """
    edge = f"0.{EDGE}e{grid.exponent}"
    width, period = grid.text(off - on), grid.text(4 * grid.stop)
    return f"PULSE(0 {number(height)} {grid.text(on)} {edge} {edge} {width} {period})"


def membranes(cell: Cell, title: str, bulk: bool = False) -> tuple[Circuit, list[str]]:
    """A circuit with one capacitor a neuron, and the nodes of its membranes.

    Parameters
    ----------
    title : of the deck
    bulk : as plain lines, which PySpice adds much faster
    """
    circuit = Circuit(plain(title))
    nodes = [f"m{i}" for i in range(cell.sources.neurons)]
    initial, values = _initial(cell), cell.capacitance.tolist()
    if bulk:
        lines = [f"C{i} m{i} 0 {number(v)} {initial}\n" for i, v in enumerate(values)]
        circuit.raw_spice += "".join(lines)
        return circuit, nodes
    for i, node in enumerate(nodes):
        circuit.C(str(i), node, circuit.gnd, values[i], raw_spice=initial)
    return circuit, nodes


def _initial(cell: Cell) -> str:
    return f"ic={number(cell.v_reset)}"


def _stop(cell: Cell) -> float:
    return cell.grid.stop * cell.grid.tick


def comb(circuit: Circuit, grid: Grid, ticks: Iterable[int]) -> None:
    """A source that is always zero, with a corner at every tick where something happens.

    Parameters
    ----------
    ticks : edges, in ascending order
    """
    corners = "\n".join(f"+ {grid.text(n)} 0" for n in ticks if n > 0) or f"+ {grid.text(grid.stop)} 0"
    circuit.raw_spice += f"Vbp bp 0 PWL(0 0\n{corners})\n"


def _finish(
    circuit: Circuit, cell: Cell, edges: NDArray[np.int64], vectors: list[str], waveform: bool
) -> str:
    """Comb, saved vectors (none: all, which costs less to set up) and the transient.

    No options: the local error of a ramp is zero.
    """
    grid = cell.grid
    comb(circuit, grid, np.union1d(edges, [cell.armed]))
    stop = grid.stop * grid.tick
    longest = number(stop / WAVEFORM_POINTS if waveform else stop)
    record = 0 if waveform else max(cell.armed - cell.armed // 1_000_000 - 1, 0)
    saved = "".join(f".save {v}\n" for v in vectors)
    step = number(stop / (WAVEFORM_POINTS if waveform else 50))
    tran = f".tran {step} {grid.text(grid.stop)} {grid.text(record)} {longest} uic"
    return f"{circuit}{saved}{tran}\n.end\n"
