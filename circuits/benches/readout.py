"""A readout neuron on a bench: synapses, one sample, then a reset of the membrane while the value is held."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from circuits.benches.neuron import attach, explicit_capacitance, references, supplies, unit_devices
from circuits.benches.phases import Phases
from circuits.benches.testbench import STEADY, Accuracy, Bench
from circuits.blocks.readout import READOUT
from circuits.errors import InputError
from circuits.model.layer import Array
from circuits.model.operating_point import OperatingPoint
from circuits.pdk.technology import Technology
from circuits.spice.deck import Deck
from circuits.spice.rawfile import Plot

SAMPLE, AFTER, CLEAR = 0.05, 0.10, 0.15
"""After t_min, when synapses have gone off [tau_c]: the sample, when it is read, the membrane's reset."""

GMIN = 1e-16
"""ngspice's own 1e-12 S over every junction would be the droop that is measured [S]."""


@dataclass(frozen=True)
class ReadoutBench:
    """The deck of one readout neuron, and what is needed to read its waveforms."""

    deck: Deck
    bench: Bench
    phases: Phases
    point: OperatingPoint
    potential: float  #: sum of W x, what should be held, in units of potential


def readout_bench(
    technology: Technology,
    weights: Array,
    spike_times: Array,
    *,
    point: OperatingPoint | None = None,
    input_window: float = 1.0,
    hold: float = 10.0,
    share: float = 0.5,
    corner: str = "tt",
    temperature: float = 27.0,
    deviations: Mapping[str, tuple[float, float]] | None = None,
    accuracy: Accuracy = STEADY,
    heading: str = "readout with sample and hold",
) -> ReadoutBench:
    """One readout neuron, one input pattern.

    Parameters
    ----------
    weights, spike_times : arrays, shape (synapse,)
        As `neuron_bench`.
    hold : float
        How long the sample is watched [tau_c].
    share : float
        Of the total capacitance, what holds the sample.
    """
    process, point = technology.transistors(), point or technology.operating_point
    weights, times = np.asarray(weights, float), np.asarray(spike_times, float)
    if weights.ndim != 1 or times.shape != weights.shape:
        raise InputError(f"need one spike time a synapse, got {weights.shape} weights, {times.shape} times")
    if not 0.1 <= share <= 0.8:
        raise InputError(f"the hold capacitor takes 0.1..0.8 of the membrane's capacitance, got {share!r}")
    units, synapses = unit_devices(weights, process), int(np.count_nonzero(weights))
    phases = Phases.of(input_window, hold, point.tau_c)
    bench = Bench(
        technology, heading, corner=corner, temperature=temperature, tau_c=point.tau_c, deviations=deviations
    )
    supplies(bench, point)
    references(bench, point.i_unit / process.units)
    vdd, tau = point.vdd, point.tau_c
    sample, clear = phases.t_min + SAMPLE * tau, phases.t_min + CLEAR * tau
    bench.signal("rst", vdd, (phases.reset, 0.0), (clear, vdd))
    bench.signal("rstb", 0.0, (phases.reset, vdd), (clear, 0.0))
    bench.signal("track", vdd, (sample, 0.0))
    bench.signal("trackb", 0.0, (sample, vdd))
    for j in np.flatnonzero(units):
        attach(bench, f"w{j}", "vm", weights[j], units[j], times[j], phases, vdd)
    holding = share * point.c_mem
    rest = explicit_capacitance(point, synapses, process) - holding
    bench.place(
        "n", READOUT, "vm", "hold", "v0", "rst", "rstb", "track", "trackb", "vds", cm=rest, ch=holding
    )
    bench.save("vm", "hold")
    bench.save_current("vds")
    x = np.where(np.isfinite(times), input_window - times, 0.0)
    return ReadoutBench(
        bench.transient(phases.t_max, accuracy, GMIN), bench, phases, point, float(weights @ x)
    )


@dataclass(frozen=True)
class Sampled:
    """One transient of a readout. Potentials in units of potential."""

    membrane: float  #: just before the sample
    sampled: float  #: just after it
    injection: float  #: sampled - membrane
    droop: float  #: change of the held value per tau_c


def measure_readout(bench: ReadoutBench, plot: Plot) -> Sampled:
    """Read one transient of `readout_bench`.

    Parameters
    ----------
    plot : of the bench's deck
    """
    phases, time = bench.phases, plot["time"]
    tau, scale = phases.tau_c, bench.point.v_unit

    def potential(node: str, after: float) -> float:
        volts = float(np.interp(phases.t_min + after * tau, time, plot[f"v({node})"]))
        return (volts - bench.point.v_reset) / scale

    before, sampled = potential("vm", SAMPLE), potential("hold", AFTER)
    start, end = 2 * CLEAR, (phases.t_max - phases.t_min) / tau
    droop = (potential("hold", end) - potential("hold", start)) / (end - start)
    return Sampled(before, sampled, sampled - before, droop)
