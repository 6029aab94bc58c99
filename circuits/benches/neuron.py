r"""One neuron with its synapses on a bench: references, phases, input spikes, one transient.

Time runs: reset, start of the input window (phase 1), t_min (slope source and comparator on), t_max.
A synapse is on from its input spike to t_min: its spike is a step that lasts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from circuits.benches.bias_lines import references, source_level, supplies, weight_line
from circuits.benches.device_noise import Noise
from circuits.benches.phases import Phases
from circuits.benches.synapses import attach, check_inputs, explicit_capacitance, left_out, unit_devices
from circuits.benches.testbench import CAMPAIGN, Accuracy, Bench
from circuits.blocks.neuron import NEURON, ZERO_IDLE_NEURON
from circuits.errors import InputError
from circuits.model.layer import Array
from circuits.model.operating_point import OperatingPoint
from circuits.pdk.technology import Technology
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
