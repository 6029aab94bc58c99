r"""Two layers of neurons in one circuit: the latched spikes of the first gate the synapses of the second.

.. math:: t_{min}^{(2)} = t_{max}^{(1)}, \qquad
          x_j = \frac{t_{max}^{(1)} - t_j}{\tau_c}, \qquad
          t_i^{(2)} = t_{min}^{(2)} + \tau_c \frac{\vartheta_i - \sum_j W_{ij} x_j}{B} + t_d

The first layer's window is longer by its comparators' delay t_d, so that a spike of the ideal time t
still stands for t_max - t; nothing else is corrected. A spike wire has one driver (`gate_driver`)
for all synapses behind it. Layers share rails and tau_c; operating point, unit devices, bias lines, reset and
thresholds are their own. A layer is reset until shortly before its inputs may come, or its membranes would
leak through the windows of the layer before.

Measured on three technologies: a neuron of the second layer fires 0.001 to 0.0035 tau_c before the same
neuron alone, driven by ideal edges at the spike times of the first layer: the driver's off-edge comes some
0.2 ns late. A spike earlier than t_min + t_d stands for more than the whole window, t_max - t > T.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from circuits.benches.bias_lines import rails, references, source_level
from circuits.benches.neuron_waveforms import DOMAINS, rising
from circuits.benches.phases import SETTLE, Phases
from circuits.benches.synapses import attach, explicit_capacitance, unit_devices
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
Deviations = Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class Stage:
    """One layer as a bench builds it."""

    technology: Technology  #: with this layer's unit devices
    point: OperatingPoint
    weights: Array  #: (neuron, synapse), whole multiples of 1 / unit devices
    theta: Array  #: (neuron,) thresholds in units of potential, a node each
    input_window: float  #: [tau_c]
    window: float  #: of its firing, with the comparators' delay [tau_c]
    slope_units: NDArray[np.int_] | None = None  #: (neuron,) unit devices of the slope sources; None: B = 1
    deviations: tuple[Deviations, ...] = ()  #: by neuron, with paths as those of its own bench; (): none
    capacitors: Array | None = None  #: (neuron,) relative deviation of the drawn capacitors


def stages(
    technology: Technology,
    weights: tuple[Array, Array],
    *,
    windows: tuple[float, float] = (1.0, 1.6),
    delay: float = DELAY,
    theta: float = 1.0,
) -> tuple[Stage, Stage]:
    """Two layers at the operating point of a technology.

    Parameters
    ----------
    weights : two arrays, (hidden, input) and (output, hidden)
        Whole multiples of 1 / process.units.
    windows : two floats
        Of the layers' firing [tau_c], the first without the comparator's delay.
    delay : float
        By which the first layer's window is longer [tau_c].
    theta : float
        Threshold of all neurons in units of potential.
    """
    first, second = (np.asarray(w, float) for w in weights)
    point, hidden = technology.operating_point, windows[0] + delay
    return (
        Stage(technology, point, first, np.full(len(first), theta), 1.0, hidden),
        Stage(technology, point, second, np.full(len(second), theta), hidden, windows[1]),
    )


@dataclass(frozen=True)
class ChainBench:
    """The deck of two layers and one input pattern."""

    deck: Deck
    bench: Bench
    points: tuple[OperatingPoint, OperatingPoint]
    phases: tuple[
        Phases, Phases
    ]  #: of each layer; the second one's window of inputs is the first one's phase 2
    neurons: tuple[int, int]


def chain_bench(
    layers: tuple[Stage, Stage],
    spike_times: Array,
    *,
    corner: str = "tt",
    temperature: float = 27.0,
    accuracy: Accuracy = STEADY,
    heading: str = "two layers",
) -> ChainBench:
    """Two layers, one input pattern.

    Parameters
    ----------
    layers : two Stages
        Of one process, supply and tau_c.
    spike_times : array, shape (input,)
        [tau_c] from the start of the input window; inf = silent.

    Raises
    ------
    InputError
        If shapes, tau_c or supplies do not chain, or weights cannot be built.
    """
    first, second = layers
    times = np.asarray(spike_times, float)
    if (
        first.weights.ndim != 2
        or second.weights.shape[1:] != first.weights.shape[:1]
        or times.shape != first.weights.shape[1:]
    ):
        raise InputError(
            f"layers of shapes {first.weights.shape} and {second.weights.shape} and {times.shape} spike "
            "times do not chain"
        )
    tau, vdd = first.point.tau_c, first.point.vdd
    for what, a, b in (("tau_c", tau, second.point.tau_c), ("supply", vdd, second.point.vdd)):
        if a != b:
            raise InputError(f"layers of {what} {a:g} and {b:g} do not chain; bias them for one {what}")
    hidden = Phases.of(first.input_window, first.window, tau)
    reset = hidden.t_min - SETTLE * tau
    output = Phases(tau, reset, hidden.t_min, hidden.t_max, hidden.t_max + second.window * tau)
    bench = Bench(
        first.technology, heading, corner=corner, temperature=temperature, tau_c=tau,
        deviations=_in_one(layers),
    )  # fmt: skip
    on = source_level(bench.process, vdd)
    rails(bench, vdd)
    bench.level("oncp", on)
    bench.level("oncn", bench.process.levels["cascode_n"])
    bench.signal("window", vdd, (output.t_min, 0.0))
    for k, (stage, phases) in enumerate(zip(layers, (hidden, output), strict=True), 1):
        whole = stage.technology.transistors().units
        references(bench, stage.point.i_unit / whole, units=whole, suffix=str(k))
        bench.level(f"v0_{k}", stage.point.v_reset)
        bench.signal(f"rst{k}", vdd, (phases.reset, 0.0))
        bench.signal(f"rstb{k}", 0.0, (phases.reset, vdd))
        bench.signal(f"en{k}", 0.0, (phases.t_min, vdd), (phases.t_max, 0.0))
        bench.signal(f"gateb{k}", vdd, (phases.t_min, on), (phases.t_max, vdd))
        _neurons(bench, stage, k)
    for i, j, weight, units in _synapses(first):
        line = "pb1" if weight > 0 else "nb1"
        attach(bench, f"w1_{i}_{j}", f"m1_{i}", weight, units, times[j], hidden, vdd, line)
    for j in range(len(first.weights)):
        bench.place(f"d{j}", GATE_DRIVER, f"s1_{j}", "window", f"gp{j}", f"gn{j}", "oncp", "oncn", "vdl")
    for i, j, weight, units in _synapses(second):
        if weight > 0:
            bench.place(f"w2_{i}_{j}", SOURCE, f"m2_{i}", f"gp{j}", "pb2", "vds", count=units)
        else:
            bench.place(f"w2_{i}_{j}", SINK, f"m2_{i}", f"gn{j}", "nb2", count=units)
    sizes = (len(first.weights), len(second.weights))
    bench.save(*(f"{x}{k}_{i}" for k, n in enumerate(sizes, 1) for i in range(n) for x in "ms"))
    bench.save_current(*DOMAINS)
    deck = bench.transient(output.end, accuracy)
    return ChainBench(deck, bench, (first.point, second.point), (hidden, output), sizes)


def _synapses(stage: Stage) -> list[tuple[int, int, float, float]]:
    """Neuron, synapse, weight and unit devices of all that are there."""
    units = unit_devices(stage.weights, stage.technology.transistors())
    return [
        (int(i), int(j), float(stage.weights[i, j]), float(units[i, j])) for i, j in np.argwhere(units > 0)
    ]


def _neurons(bench: Bench, stage: Stage, layer: int) -> None:
    """The neurons of a layer without their synapses; a threshold is a node of each neuron's own."""
    process = stage.technology.transistors()
    deviation = np.zeros(len(stage.weights)) if stage.capacitors is None else stage.capacitors
    slopes = np.full(len(stage.weights), process.units) if stage.slope_units is None else stage.slope_units
    for i, row in enumerate(stage.weights):
        drawn = explicit_capacitance(stage.point, int(np.count_nonzero(row)), process)
        bench.level(f"vth{layer}_{i}", float(stage.point.volts(stage.theta[i])))
        bench.place(
            f"n{layer}_{i}", NEURON,
            f"m{layer}_{i}", f"s{layer}_{i}", f"sb{layer}_{i}", f"v0_{layer}", f"vth{layer}_{i}",
            *(f"{node}{layer}" for node in ("rst", "rstb", "en", "gateb", "pbb", "nbt", "nbs")), *DOMAINS,
            cm=drawn * (1.0 + float(deviation[i])),
            units=int(slopes[i]),
        )  # fmt: skip


def _in_one(layers: tuple[Stage, Stage]) -> dict[str, tuple[float, float]]:
    """Deviations of both layers, with the paths of this bench; a layer has one set of references."""
    together = {}
    for k, stage in enumerate(layers, 1):
        for i, devices in enumerate(stage.deviations):
            for path, deviation in devices.items():
                label, _, rest = path.partition("_")
                if label == "ref":
                    place = f"ref{k}"
                else:  # "n" is the neuron, "w7" its synapse 7
                    place = "_".join(filter(None, [f"{label[0]}{k}", str(i), label[1:]]))
                together[f"{place}_{rest}"] = deviation
    return together


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
    time, point = plot["time"], bench.points[1]

    def spikes(layer: int) -> Array:
        phases = bench.phases[layer - 1]
        nodes = [f"v(s{layer}_{i})" for i in range(bench.neurons[layer - 1])]
        seconds = np.array([rising(time, plot[node], 0.5 * point.vdd, phases.start) for node in nodes])
        return (seconds - phases.t_min) / phases.tau_c

    first, second = bench.phases
    at = [np.interp(second.t_min, time, plot[f"v(m2_{i})"]) for i in range(bench.neurons[1])]
    energy = {}
    for domain in DOMAINS:
        spent = [
            supply_energy(time, plot[f"i(v{domain})"], point.vdd, t, stepped=False)
            for t in (first.start, second.t_max)
        ]
        energy[domain] = spent[1] - spent[0]
    return Chained(spikes(1), spikes(2), point.unit_free(np.array(at)), energy)
