r"""One neuron with its synapses on a bench: references, phases, input spikes, one transient.

Time runs: reset, start of the input window (phase 1), t_min (slope source and comparator on), t_max.
A synapse is on from its input spike to t_min: its spike is a step that lasts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from circuits.benches.device_noise import Noise
from circuits.benches.phases import Phases
from circuits.benches.testbench import CAMPAIGN, EDGE, Accuracy, Bench
from circuits.blocks.bias_lines import BUFFERED, DECOUPLED, bias_line, reference_parameters
from circuits.blocks.neuron import NEURON, ZERO_IDLE_NEURON
from circuits.blocks.synapse import SINK, SOURCE
from circuits.errors import InputError
from circuits.model.layer import Array
from circuits.model.operating_point import OperatingPoint
from circuits.pdk.technology import Process, Technology
from circuits.spice.deck import Deck

COMPARATORS = ("ota", "zero_idle")
WEIGHT_STORAGE = ("units", "bias")


@dataclass(frozen=True)
class NeuronBench:
    """The deck of one neuron, and what is needed to read its waveforms."""

    deck: Deck
    bench: Bench
    phases: Phases
    point: OperatingPoint
    v_th: float  #: nominal threshold [V]


def unit_devices(weights: Array, process: Process) -> Array:
    r"""Unit devices of each synapse: \|W\| in whole units.

    Parameters
    ----------
    weights : array, shape (synapse,)

    Raises
    ------
    InputError
        If a weight is no whole number of them.
    """
    units = np.abs(np.asarray(weights, float)) * process.units
    whole = np.rint(units)
    if np.any(np.abs(units - whole) > 1e-6 * np.maximum(units, 1)):
        worst = int(np.argmax(np.abs(units - whole)))
        raise InputError(
            f"synapse {worst}: weight {np.ravel(weights)[worst]:g} is no multiple of 1/{process.units}, "
            "which one unit device carries; round the weights first"
        )
    return whole


def explicit_capacitance(point: OperatingPoint, synapses: int, process: Process) -> float:
    """The capacitor to draw [F]: the membrane's total less what is connected to it anyway.

    Parameters
    ----------
    synapses : on the membrane

    Raises
    ------
    InputError
        If nothing is left: the fan-in alone is too large.
    """
    left = point.c_mem - process.fixed_capacitance - synapses * process.synapse_capacitance
    if left < 0.05 * point.c_mem:
        raise InputError(
            f"{synapses} synapses and the neuron hang {1e15 * (point.c_mem - left):.3g} fF on a membrane of "
            f"{1e15 * point.c_mem:.3g} fF: raise c_mem, and i_unit with it (`circuits.biasing.choose` does)"
        )
    return left


def left_out(
    units: Array, times: Array, process: Process, deviations: Mapping[str, tuple[float, float]] | None
) -> tuple[Array, float, dict[str, tuple[float, float]]]:
    """Silent synapses as capacitance only.

    Parameters
    ----------
    units, times : array, shape (synapse,)
        Unit devices; [tau_c], inf = silent.
    deviations : of all transistors, by path

    Returns
    -------
    units, farads, deviations
        What is left: unit devices, 0 where silent; what is drawn instead [F]; deviations of what is there.
    """
    silent = ~np.isfinite(times) & (units > 0)
    absent = {f"w{j}" for j in np.flatnonzero(silent)}
    there = {k: v for k, v in (deviations or {}).items() if k.partition("_")[0] not in absent}
    return np.where(silent, 0.0, units), int(silent.sum()) * process.synapse_capacitance, there


def check_inputs(weights: Array, times: Array, input_window: float) -> None:
    """Refuse input times that do not fit the weights or the window.

    Parameters
    ----------
    weights, times : array, shape (synapse,)
    input_window : [tau_c]

    Raises
    ------
    InputError
    """
    if weights.ndim != 1 or times.shape != weights.shape:
        raise InputError(f"need one spike time a synapse, got {weights.shape} weights, {times.shape} times")
    late = np.isfinite(times) & ((times < 0) | (times > input_window))
    if np.any(late) or np.any(np.isnan(times)):
        raise InputError(f"spike times must lie in 0..{input_window:g} tau_c or be inf, got {times}")


def neuron_bench(
    technology: Technology,
    weights: Array,
    spike_times: Array,
    *,
    point: OperatingPoint | None = None,
    input_window: float = 1.0,
    window: float = 1.5,
    theta: float = 1.0,
    corner: str = "tt",
    temperature: float = 27.0,
    comparator: str = "ota",
    deviations: Mapping[str, tuple[float, float]] | None = None,
    capacitor: float = 0.0,
    accuracy: Accuracy = CAMPAIGN,
    slope_units: int | None = None,
    decoupling: float | None = None,
    weight_storage: str = "units",
    load: float = 2e-15,
    noise: Noise | None = None,
    leave_out: bool = False,
    heading: str = "neuron with its synapses",
) -> NeuronBench:
    """One neuron, one input pattern.

    Parameters
    ----------
    weights : array, shape (synapse,)
        Whole multiples of 1 / process.units.
    spike_times : array, shape (synapse,)
        [tau_c] from the start of the input window; inf = silent.
    point : OperatingPoint, optional
        Default: the technology's own.
    theta : float
        Threshold in units of potential.
    capacitor : float
        Relative deviation of the drawn capacitor.
    slope_units : int, optional
        Unit devices of the slope source; default B = 1.
    decoupling : float, optional
        Capacitor on each bias line [F] instead of ideal buffers.
    weight_storage : str
        "units": \\|W\\| unit devices in parallel. "bias": one device a synapse with a gate voltage of its own
        (`circuits.blocks.bias_lines.bias_line`); any weight, but the spread of one device.
    load : float
        Capacitance on the spike's wire [F].
    noise : Noise, optional
        Of one trial, see `circuits.benches.device_noise`.
    leave_out : bool
        Silent synapses are capacitance only: less to simulate, but they do not leak.

    Raises
    ------
    InputError
        For weights that cannot be built, times outside the window, levels outside the supply.
    """
    process, point = technology.transistors(), point or technology.operating_point
    weights, times = np.asarray(weights, float), np.asarray(spike_times, float)
    if comparator not in COMPARATORS:
        raise InputError(f"comparator is one of {', '.join(COMPARATORS)}, got {comparator!r}")
    if weight_storage not in WEIGHT_STORAGE:
        raise InputError(f"weights are stored as {' or '.join(WEIGHT_STORAGE)}, got {weight_storage!r}")
    check_inputs(weights, times, input_window)
    v_th = point.volts(theta)
    if not point.v_low < v_th < point.v_high:
        raise InputError(
            f"threshold {theta:g} is {v_th:.3f} V, outside {point.v_low:g}..{point.v_high:g} V; lower "
            "i_unit, raise c_mem, or lower v_reset"
        )
    stored = weight_storage == "bias"
    units = np.abs(np.sign(weights)) if stored else unit_devices(weights, process)
    drawn = explicit_capacitance(point, int(np.count_nonzero(units)), process) * (1.0 + capacitor)
    if leave_out:
        units, more, deviations = left_out(units, times, process, deviations)
        drawn += more
    phases = Phases.of(input_window, window, point.tau_c)
    bench = Bench(
        technology, heading, corner=corner, temperature=temperature, tau_c=point.tau_c, deviations=deviations
    )
    unit = point.i_unit / process.units
    supplies(bench, point, noise.reset if noise else 0.0)
    references(bench, unit, decoupling)
    clocks(bench, phases, point.vdd)
    zero = comparator == "zero_idle"
    # the rail of the zero-idle stage is made for theta = 1; its trip voltage moves with it
    level = process.levels["zero_idle"] + point.v_unit * (theta - 1.0) if zero else v_th
    if noise:
        bench.level("vquiet", level)
        bench.circuit.V("noise", "vth", "vquiet", noise.threshold)
        bench.circuit.I("noise", "0", "vm", noise.current)
    else:
        bench.level("vth", level)
    for j in np.flatnonzero(units):
        line = weight_line(bench, int(j), float(weights[j]), point.i_unit) if stored else None
        attach(bench, f"w{j}", "vm", weights[j], units[j], times[j], phases, point.vdd, line)
    bench.place(
        "n", ZERO_IDLE_NEURON if zero else NEURON,
        "vm", "s", "sb", "v0", "vth", "rst", "rstb", "en", "gateb", "pbb", "pbc" if zero else "nbt", "nbs",
        "vds", "vdc", "vdl",
        cm=drawn,
        units=process.units if slope_units is None else slope_units,
        load=load,
    )  # fmt: skip
    bench.save("vm", "s")
    bench.save_current("vds", "vdc", "vdl")
    return NeuronBench(bench.transient(phases.end, accuracy), bench, phases, point, v_th)


def supplies(bench: Bench, point: OperatingPoint, shift: float = 0.0) -> None:
    """Rails: one supply a domain, so that the energy account has parts; the reset level, and its shift.

    Parameters
    ----------
    shift : of the reset level [V]
    """
    rails(bench, point.vdd)
    bench.level("v0", point.v_reset + shift)


def rails(bench: Bench, vdd: float) -> None:
    """One supply a domain, and one of the references.

    Parameters
    ----------
    vdd : [V]
    """
    for rail in ("vds", "vdc", "vdl", "vr"):
        bench.level(rail, vdd)


def references(
    bench: Bench, unit: float, decoupling: float | None = None, units: int | None = None, suffix: str = ""
) -> None:
    """The bias lines of a layer.

    Parameters
    ----------
    unit : current of one unit device [A]
    decoupling : capacitor on each line [F]; None: ideal buffers
    units : unit devices of W = 1; default: the process's
    suffix : of the lines' names, where a bench has those of several layers
    """
    numbers = line_parameters(bench.process, unit, units)
    lines = (*(f"{line}{suffix}" for line in ("pb", "nb", "pbb", "nbt", "nbs", "pbc")), "vr")
    if decoupling is None:
        bench.place(f"ref{suffix}", BUFFERED, *lines, **numbers)
    else:
        bench.place(f"ref{suffix}", DECOUPLED, *lines, **numbers, decap=decoupling)


def line_parameters(process: Process, unit: float, units: int | None = None) -> dict[str, float]:
    """Parameters of the bias lines (`circuits.blocks.bias_lines`) of a process.

    Parameters
    ----------
    unit, units : as of `references`
    """
    currents = process.currents
    return reference_parameters(unit, units or process.units, currents["tail"], currents["starve"])


def reference_current(process: Process, point: OperatingPoint, spiking: bool = True) -> float:
    """What the references of a layer take from the supply, at all times [A].

    Of neurons with the OTA: the line of the other comparator's load, which benches have too, is left out.
    Read-outs need the lines of sources and sinks only.

    Parameters
    ----------
    spiking : bool
        False: of a layer of read-outs.
    """
    numbers = line_parameters(process, point.i_unit / process.units)
    if not spiking:
        return 2 * numbers["iunit"]
    return 3 * numbers["iunit"] + numbers["itail"] + numbers["istarve"]


def weight_line(bench: Bench, synapse: int, weight: float, amps: float) -> str:
    """The gate voltage of one weight, made from a reference current of its own; returns its node.

    Parameters
    ----------
    synapse : number, for the names
    amps : current of W = 1 [A]
    """
    line = f"b{synapse}"
    bench.place(f"ref{line}", bias_line("p" if weight > 0 else "n"), line, "vr", iweight=abs(weight) * amps)
    return line


def clocks(bench: Bench, phases: Phases, vdd: float) -> None:
    """Reset, enable of the comparator, switch of the slope source.

    Parameters
    ----------
    phases, vdd : when what happens; supply [V]
    """
    bench.signal("rst", vdd, (phases.reset, 0.0))
    bench.signal("rstb", 0.0, (phases.reset, vdd))
    bench.signal("en", 0.0, (phases.t_min, vdd), (phases.t_max, 0.0))
    on = source_level(bench.process, vdd)
    bench.signal("gateb", vdd, (phases.t_min, on), (phases.t_max, vdd))


def source_level(process: Process, vdd: float) -> float:
    """Gate level of a source's switch while it is on: it follows the supply.

    Parameters
    ----------
    vdd : [V]
    """
    return round(process.levels["cascode_p"] + vdd - process.levels["vdd"], 9)


def attach(
    bench: Bench,
    label: str,
    node: str,
    weight: float,
    units: float,
    spike_time: float,
    phases: Phases,
    vdd: float,
    line: str | None = None,
) -> None:
    """One synapse on a membrane, and its input: on from the spike to t_min.

    Parameters
    ----------
    label, node : of the synapse; of the membrane
    weight : its sign makes it a source or a sink
    units : unit devices in parallel
    spike_time : from the start of the input window [tau_c]; inf = silent
    vdd : [V]
    line : node of its own bias line
    """
    off, on = (
        (vdd, source_level(bench.process, vdd)) if weight > 0 else (0.0, bench.process.levels["cascode_n"])
    )
    start = phases.start + spike_time * phases.tau_c if np.isfinite(spike_time) else np.inf
    if start < phases.t_min - 2 * EDGE * phases.tau_c:
        bench.signal(f"g{label}", off, (start, on), (phases.t_min, off))
    else:
        bench.level(f"g{label}", off)
    if weight > 0:
        bench.place(label, SOURCE, node, f"g{label}", line or "pb", "vds", count=units)
    else:
        bench.place(label, SINK, node, f"g{label}", line or "nb", count=units)
