r"""A readout neuron on a bench: synapses, one sample, then a reset of the membrane while the value is held.

.. math:: V_{hold} = (Q - b\,Q^2 - v) / (1 + c)

as the equation has it (`circuits.model.closed_form.read_out`): no threshold, no comparator, no ramp. A
bias of the network is added to the converted value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from circuits.benches.bias_lines import references, supplies
from circuits.benches.device_noise import Noise
from circuits.benches.phases import Phases
from circuits.benches.synapses import attach, check_inputs, explicit_capacitance, left_out, unit_devices
from circuits.benches.testbench import STEADY, Accuracy, Bench
from circuits.blocks.readout import READOUT
from circuits.errors import InputError
from circuits.model.layer import Array
from circuits.model.operating_point import OperatingPoint
from circuits.pdk.technology import Process, Technology
from circuits.spice.deck import Deck
from circuits.spice.rawfile import Plot

SAMPLE, AFTER, CLEAR = 0.05, 0.10, 0.15
"""After t_min, when synapses have gone off [tau_c]: the sample, when it is read, the membrane's reset."""
HOLD = 0.25
"""How long a sample is watched where only its value counts: until the membrane's reset has ended [tau_c]."""
SHARE = 0.5
"""Of the total capacitance, what holds the sample; where many synapses are on a membrane, less."""
MOST = 0.8
"""Share of the drawn capacitor that may hold the sample."""
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


def hold_capacitor(point: OperatingPoint, synapses: int, process: Process, share: float = SHARE) -> float:
    """The capacitor that holds a sample [F].

    Parameters
    ----------
    synapses : on the membrane
    share : of the total capacitance
    """
    return min(share * point.c_mem, MOST * explicit_capacitance(point, synapses, process))


def readout_bench(
    technology: Technology,
    weights: Array,
    spike_times: Array,
    *,
    point: OperatingPoint | None = None,
    input_window: float = 1.0,
    hold: float = 10.0,
    share: float = SHARE,
    corner: str = "tt",
    temperature: float = 27.0,
    deviations: Mapping[str, tuple[float, float]] | None = None,
    capacitor: float = 0.0,
    accuracy: Accuracy = STEADY,
    noise: Noise | None = None,
    leave_out: bool = False,
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
    capacitor : float
        Relative deviation of the drawn capacitors: membrane and hold capacitor are units of one array.
    noise, leave_out
        As `neuron_bench`.
    """
    process, point = technology.transistors(), point or technology.operating_point
    weights, times = np.asarray(weights, float), np.asarray(spike_times, float)
    check_inputs(weights, times, input_window)
    if not 0.1 <= share <= 0.8:
        raise InputError(f"the hold capacitor takes 0.1..0.8 of the membrane's capacitance, got {share!r}")
    units = unit_devices(weights, process)
    synapses = int(np.count_nonzero(units))
    holding = hold_capacitor(point, synapses, process, share) * (1.0 + capacitor)
    drawn = explicit_capacitance(point, synapses, process) * (1.0 + capacitor)
    if leave_out:
        units, more, deviations = left_out(units, times, process, deviations)
        drawn += more
    phases = Phases.of(input_window, hold, point.tau_c)
    bench = Bench(
        technology, heading, corner=corner, temperature=temperature, tau_c=point.tau_c, deviations=deviations
    )
    supplies(bench, point, noise.reset if noise else 0.0)
    references(bench, point.i_unit / process.units)
    vdd, tau = point.vdd, point.tau_c
    sample, clear = phases.t_min + SAMPLE * tau, phases.t_min + CLEAR * tau
    bench.signal("rst", vdd, (phases.reset, 0.0), (clear, vdd))
    bench.signal("rstb", 0.0, (phases.reset, vdd), (clear, 0.0))
    bench.signal("track", vdd, (sample, 0.0))
    bench.signal("trackb", 0.0, (sample, vdd))
    if noise:
        bench.circuit.I("noise", "0", "vm", noise.current)
    for j in np.flatnonzero(units):
        attach(bench, f"w{j}", "vm", weights[j], units[j], times[j], phases, vdd)
    bench.place(
        "n", READOUT, "vm", "hold", "v0", "rst", "rstb", "track", "trackb", "vds",
        cm=drawn - holding, ch=holding,
    )  # fmt: skip
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
    droop: float  #: change of the held value per tau_c; nan if it is not watched


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
    lost = potential("hold", end) - potential("hold", start)
    droop = lost / (end - start) if end > start else np.nan
    return Sampled(before, sampled, sampled - before, droop)
