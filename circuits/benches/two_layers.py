r"""Two layers of neurons in one circuit: the latched spikes of the first gate the synapses of the second.

.. math:: t_{min}^{(2)} = t_{max}^{(1)}, \qquad
          x_j = \frac{t_{max}^{(1)} - t_j}{\tau_c}, \qquad
          t_i^{(2)} = t_{min}^{(2)} + \tau_c \frac{\vartheta_i - \sum_j W_{ij} x_j}{B} + t_d

The first layer's window is longer by its constant comparator delay t_d, so that a spike of the ideal time t
still stands for t_max - t; nothing else is corrected. A spike wire has one driver (`gate_driver`)
for all synapses behind it. Both layers share bias lines, rails and reset.

Measured on three technologies: a neuron of the second layer fires 0.001 to 0.0035 tau_c before the same
neuron alone, driven by ideal edges at the spike times of the first layer: the driver's off-edge comes some
0.2 ns late.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from circuits.benches.neuron import (
    attach,
    explicit_capacitance,
    references,
    source_level,
    supplies,
    unit_devices,
)
from circuits.benches.neuron_waveforms import DOMAINS, rising
from circuits.benches.phases import RESET, SETTLE, Phases
from circuits.benches.testbench import STEADY, Accuracy, Bench
from circuits.blocks.gate_driver import GATE_DRIVER
from circuits.blocks.neuron import NEURON
from circuits.blocks.synapse import SINK, SOURCE
from circuits.errors import InputError
from circuits.model.layer import Array
from circuits.model.operating_point import OperatingPoint
from circuits.pdk.technology import Technology
from circuits.spice.deck import Deck
from circuits.spice.rawfile import Plot
from circuits.spice.waveforms import supply_energy

DELAY = 0.15
"""The comparator's delay that the first layer's window allows for [tau_c]: measured on generic130."""


@dataclass(frozen=True)
class ChainBench:
    """The deck of two layers and one input pattern."""

    deck: Deck
    bench: Bench
    point: OperatingPoint
    phases: tuple[
        Phases, Phases
    ]  #: of each layer; the second one's window of inputs is the first one's phase 2
    neurons: tuple[int, int]


def chain_bench(
    technology: Technology,
    weights: tuple[Array, Array],
    spike_times: Array,
    *,
    windows: tuple[float, float] = (1.0, 1.6),
    delay: float = DELAY,
    theta: float = 1.0,
    corner: str = "tt",
    temperature: float = 27.0,
    accuracy: Accuracy = STEADY,
    heading: str = "two layers",
) -> ChainBench:
    """Two layers, one input pattern.

    Parameters
    ----------
    weights : two arrays, (hidden, input) and (output, hidden)
        Whole multiples of 1 / process.units.
    spike_times : array, shape (input,)
        [tau_c] from the start of the input window, 0..1; inf = silent.
    windows : two floats
        Of the layers' firing [tau_c], the first without the comparator's delay.
    delay : float
        By which the first layer's window is longer [tau_c].
    """
    process, point = technology.transistors(), technology.operating_point
    first, second = (np.asarray(w, float) for w in weights)
    times = np.asarray(spike_times, float)
    if first.ndim != 2 or second.shape[1:] != first.shape[:1] or times.shape != first.shape[1:]:
        raise InputError(
            f"layers of shapes {first.shape} and {second.shape} and {times.shape} spike times do not chain"
        )
    hidden = Phases.of(1.0, windows[0] + delay, point.tau_c)
    end = hidden.t_max + windows[1] * point.tau_c
    output = Phases(point.tau_c, hidden.reset, hidden.t_min, hidden.t_max, end)
    bench = Bench(technology, heading, corner=corner, temperature=temperature, tau_c=point.tau_c)
    supplies(bench, point)
    references(bench, point.i_unit / process.units)
    vdd, on = point.vdd, source_level(process, point.vdd)
    bench.level("vth", point.volts(theta))
    bench.level("oncp", on)
    bench.level("oncn", process.levels["cascode_n"])
    bench.signal("rst", vdd, (hidden.reset, 0.0))
    bench.signal("rstb", 0.0, (hidden.reset, vdd))
    for k, phases in enumerate((hidden, output), 1):
        bench.signal(f"en{k}", 0.0, (phases.t_min, vdd), (phases.t_max, 0.0))
        bench.signal(f"gateb{k}", vdd, (phases.t_min, on), (phases.t_max, vdd))
    bench.signal("window", vdd, (output.t_min, 0.0))
    counts = [unit_devices(w, process) for w in (first, second)]
    for i in range(len(first)):
        for j in np.flatnonzero(counts[0][i]):
            attach(bench, f"w1_{i}_{j}", f"m1_{i}", first[i, j], counts[0][i, j], times[j], hidden, vdd)
        _neuron(bench, 1, i, counts[0][i], point)
        bench.place(f"d{i}", GATE_DRIVER, f"s1_{i}", "window", f"gp{i}", f"gn{i}", "oncp", "oncn", "vdl")
    for i in range(len(second)):
        for j in np.flatnonzero(counts[1][i]):
            label, units = f"w2_{i}_{j}", counts[1][i, j]
            if second[i, j] > 0:
                bench.place(label, SOURCE, f"m2_{i}", f"gp{j}", "pb", "vds", count=units)
            else:
                bench.place(label, SINK, f"m2_{i}", f"gn{j}", "nb", count=units)
        _neuron(bench, 2, i, counts[1][i], point)
    nodes = [f"{x}{k}_{i}" for k, w in ((1, first), (2, second)) for i in range(len(w)) for x in "ms"]
    bench.save(*nodes)
    bench.save_current(*DOMAINS)
    deck = bench.transient(output.end, accuracy)
    return ChainBench(deck, bench, point, (hidden, output), (len(first), len(second)))


def _neuron(bench: Bench, layer: int, i: int, units: Array, point: OperatingPoint) -> None:
    bench.place(
        f"n{layer}_{i}", NEURON,
        f"m{layer}_{i}", f"s{layer}_{i}", f"sb{layer}_{i}", "v0", "vth", "rst", "rstb", f"en{layer}",
        f"gateb{layer}", "pbb", "nbt", "nbs", *DOMAINS,
        cm=explicit_capacitance(point, int(np.count_nonzero(units)), bench.process),
        units=bench.process.units,
    )  # fmt: skip


@dataclass(frozen=True)
class Chained:
    """One transient of two layers."""

    hidden: Array  #: spike times from the first layer's t_min [tau_c]; inf = silent
    output: Array  #: from the second layer's t_min
    potential: Array  #: of the second layer's membranes at its t_min, in units of potential
    energy: dict[str, float]  #: by domain, both layers [J]


def measure_chain(bench: ChainBench, plot: Plot) -> Chained:
    """Read one transient of `chain_bench`.

    Parameters
    ----------
    plot : of the bench's deck
    """
    time, half = plot["time"], 0.5 * bench.point.vdd

    def spikes(layer: int) -> Array:
        phases = bench.phases[layer - 1]
        nodes = [f"v(s{layer}_{i})" for i in range(bench.neurons[layer - 1])]
        seconds = np.array([rising(time, plot[node], half, phases.start) for node in nodes])
        return (seconds - phases.t_min) / phases.tau_c

    t_min = bench.phases[1].t_min
    at = [np.interp(t_min, time, plot[f"v(m2_{i})"]) for i in range(bench.neurons[1])]
    potential = (np.array(at) - bench.point.v_reset) / bench.point.v_unit
    start, end = (RESET + SETTLE) * bench.point.tau_c, bench.phases[1].t_max
    energy = {}
    for domain in DOMAINS:
        spent = [
            supply_energy(time, plot[f"i(v{domain})"], bench.point.vdd, t, stepped=False)
            for t in (start, end)
        ]
        energy[domain] = spent[1] - spent[0]
    return Chained(spikes(1), spikes(2), potential, energy)
