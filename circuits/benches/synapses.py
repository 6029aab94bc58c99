r"""Synapses on the membrane of a bench: unit devices, what hangs on the capacitor, input spikes.

A synapse is on from its input spike to t_min: its spike is a step that lasts.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from circuits.benches.bias_lines import source_level
from circuits.benches.phases import Phases
from circuits.benches.testbench import EDGE, Bench
from circuits.blocks.synapse import SINK, SOURCE
from circuits.errors import InputError
from circuits.model.layer import Array
from circuits.model.operating_point import OperatingPoint
from circuits.pdk.technology import Process


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
