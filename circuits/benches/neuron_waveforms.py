"""Waveforms of a neuron's transient -> spike time, slope, threshold, delay, energy by supply domain.

The energy account runs from the start of the input window to t_max. Not in it: the reset that follows
(clearing a set latch takes about 10 fJ on generic130), the bias lines of the layer, gate and clock drivers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from circuits.benches.neuron import NeuronBench
from circuits.benches.readout import ReadoutBench, measure_readout
from circuits.model.layer import Array
from circuits.spice.rawfile import Plot
from circuits.spice.waveforms import supply_energy

BELOW = (0.30, 0.05)
"""Where the slope is taken: between so many units of potential below the threshold."""
DOMAINS = ("vds", "vdc", "vdl")
"""Rails of a neuron's supplies, see SUPPLIES."""
SUPPLIES = ("source", "comparator", "latch")
"""What hangs on each of DOMAINS."""


@dataclass(frozen=True)
class Measured:
    """One neuron, one transient. Times in tau_c from t_min, potentials in units of potential."""

    spike_time: float  #: when the spike passes half the supply; inf = silent; < 0: before t_min, a fault
    v_t_min: float  #: membrane at t_min; of a read-out what is sampled
    slope: float  #: dV/dt of the ramp; nan if it does not cover the range in which it is measured
    crossing: float  #: when the membrane passes the threshold, or the trip voltage if given; inf = never
    v_spike: float  #: membrane when the spike comes; nan = silent
    lowest: float  #: over phase 1
    highest: float
    energy: dict[str, tuple[float, float]]  #: by domain, phase 1 and phase 2 [J]
    v_last: float  #: membrane at t_max

    @property
    def delay(self) -> float:
        """From the crossing to the spike [tau_c]; nan = silent."""
        return self.spike_time - self.crossing if np.isfinite(self.spike_time) else np.nan

    @property
    def total(self) -> float:
        """Supply energy of one inference [J]."""
        return sum(a + b for a, b in self.energy.values())


def measure(bench: NeuronBench | ReadoutBench, plot: Plot, trip: float | None = None) -> Measured:
    """Read one transient of `circuits.benches.neuron`, or of `circuits.benches.readout`.

    A read-out is silent, and its comparator and latch, which it has not, take nothing.

    Parameters
    ----------
    bench, plot : of one neuron
    trip : float, optional
        Trip voltage of this neuron's comparator (`circuits.benches.operating_points`) [V].
    """
    phases, point, fires = bench.phases, bench.point, isinstance(bench, NeuronBench)
    time, vm = plot["time"], plot["v(vm)"]
    tau = phases.tau_c
    inside = (time >= phases.start) & (time <= phases.t_min)
    path = np.append(vm[inside], np.interp([phases.start, phases.t_min], time, vm))
    energy = dict.fromkeys(DOMAINS, (0.0, 0.0))
    for domain in DOMAINS if fires else DOMAINS[:1]:
        current = plot[f"i(v{domain})"]

        def until(end: float, current: Array = current) -> float:
            return supply_energy(time, current, point.vdd, end, stepped=False)

        energy[domain] = (
            until(phases.t_min) - until(phases.start),
            until(phases.t_max) - until(phases.t_min),
        )
    common = {
        "lowest": float(point.unit_free(path.min())),
        "highest": float(point.unit_free(path.max())),
        "energy": energy,
    }
    if not isinstance(bench, NeuronBench):
        sample = measure_readout(bench, plot).sampled
        return Measured(np.inf, sample, np.nan, np.inf, np.nan, v_last=sample, **common)  # type: ignore[arg-type]
    low, high = (bench.v_th - b * point.v_unit for b in BELOW)
    first, last = (rising(time, vm, level, phases.t_min) for level in (low, high))
    fits = np.isfinite(last) and first > phases.t_min
    spike = rising(time, plot["v(s)"], 0.5 * point.vdd, phases.start)
    return Measured(
        spike_time=(spike - phases.t_min) / tau,
        v_t_min=float(point.unit_free(np.interp(phases.t_min, time, vm))),
        slope=(high - low) / point.v_unit / ((last - first) / tau) if fits else np.nan,
        crossing=(rising(time, vm, bench.v_th if trip is None else trip, phases.t_min) - phases.t_min) / tau,
        v_spike=float(point.unit_free(np.interp(spike, time, vm))) if np.isfinite(spike) else np.nan,
        v_last=float(point.unit_free(np.interp(phases.t_max, time, vm))),
        **common,  # type: ignore[arg-type]
    )


def ramp_slope(bench: NeuronBench, plot: Plot, measured: Measured) -> float:
    """dV/dt of the ramp below the threshold; of a neuron that does not come near it, over its whole ramp.

    Parameters
    ----------
    measured : what `measure` read of `plot`

    Returns
    -------
    float
        In units of potential over tau_c; nan if the ramp is too short.
    """
    if np.isfinite(measured.slope):
        return measured.slope
    phases, point = bench.phases, bench.point
    end = min(phases.t_max, phases.t_min + max(measured.spike_time, 0.0) * phases.tau_c)
    start = phases.t_min + 0.1 * phases.tau_c
    if end < start + 0.1 * phases.tau_c:
        return np.nan
    first, last = np.interp([start, end], plot["time"], plot["v(vm)"])
    return float((last - first) / point.v_unit / ((end - start) / phases.tau_c))


def rising(time: Array, volts: Array, level: float, start: float) -> float:
    """First time at or after `start` at which a waveform is at or above `level`; inf = never.

    Parameters
    ----------
    time, volts : array, shape (point,) [s], [V]
    level, start : [V], [s]
    """
    at = int(np.searchsorted(time, start))
    if at < len(time) and np.interp(start, time, volts) >= level:
        return start
    above = np.flatnonzero(volts[at:] >= level)
    if len(above) == 0:
        return np.inf
    k = at + int(above[0])
    if k == 0:
        return float(time[0])
    share = (level - volts[k - 1]) / (volts[k] - volts[k - 1])
    return float(time[k - 1] + share * (time[k] - time[k - 1]))
