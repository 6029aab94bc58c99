"""Pooling gates on a bench: ideal steps in, the delay of the pooled step out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from circuits.benches.neuron_waveforms import rising
from circuits.benches.testbench import CAMPAIGN, EDGE, Accuracy, Bench
from circuits.blocks.pooling import pooling_gate
from circuits.errors import InputError
from circuits.model.layer import Array
from circuits.model.operating_point import OperatingPoint
from circuits.pdk.technology import Technology
from circuits.spice.deck import Deck
from circuits.spice.rawfile import Plot
from circuits.spice.waveforms import supply_energy

START = 0.25
"""Before the first possible spike [tau_c]."""


@dataclass(frozen=True)
class PoolingBench:
    """The deck of one group, and when its pooled step should come."""

    deck: Deck
    bench: Bench
    point: OperatingPoint
    expected: float  #: earliest or latest spike [tau_c]; inf = never


def pooling_bench(
    technology: Technology,
    kind: str,
    spike_times: Array,
    *,
    window: float = 1.0,
    load: float = 2e-15,
    corner: str = "tt",
    temperature: float = 27.0,
    deviations: Mapping[str, tuple[float, float]] | None = None,
    accuracy: Accuracy = CAMPAIGN,
    heading: str = "pooling of latched spikes",
) -> PoolingBench:
    """One group.

    Parameters
    ----------
    kind : str
        "max" (first arrival) or "min" (last arrival).
    spike_times : array, shape (input,)
        [tau_c] in 0..window; inf = silent.
    load : float
        Capacitance on the pooled step's wire [F].
    """
    times, point = np.asarray(spike_times, float), technology.operating_point
    inside = (times >= 0) & (times <= window)
    if times.ndim != 1 or np.any(~inside & ~np.isposinf(times)):
        raise InputError(f"spike times must be one row in 0..{window:g} tau_c or inf, got {times}")
    bench = Bench(
        technology, heading, corner=corner, temperature=temperature, tau_c=point.tau_c, deviations=deviations
    )
    bench.level("vdl", point.vdd)
    gate = pooling_gate(kind, len(times))
    for j, t in enumerate(times):
        changes = [((START + t) * point.tau_c, point.vdd)] if np.isfinite(t) else []
        bench.signal(f"s{j}", 0.0, *changes)
    bench.place("gate", gate, *(f"s{j}" for j in range(len(times))), "q", "vdl")
    bench.circuit.C("load", "q", "0", load)
    bench.save("q", *(f"s{j}" for j in range(len(times))))
    bench.save_current("vdl")
    deck = bench.transient((START + window + 0.1) * point.tau_c, accuracy)
    return PoolingBench(deck, bench, point, float(times.min() if kind == "max" else times.max()))


@dataclass(frozen=True)
class Pooled:
    """One transient of a pooling gate."""

    time: float  #: of the pooled step [tau_c]; inf = never
    delay: float  #: after the middle of the deciding input's edge [s]; nan if there is no step
    energy: float  #: [J]


def measure_pooling(bench: PoolingBench, plot: Plot) -> Pooled:
    """Read one transient of `pooling_bench`.

    Parameters
    ----------
    plot : of the bench's deck
    """
    tau, vdd, time = bench.point.tau_c, bench.point.vdd, plot["time"]
    step = rising(time, plot["v(q)"], 0.5 * vdd, 0.0)
    middle = (START + bench.expected + 0.5 * EDGE) * tau
    return Pooled(
        time=step / tau - START,
        delay=step - middle if np.isfinite(step) else np.nan,
        energy=supply_energy(time, plot["i(vvdl)"], vdd, float(time[-1]), stepped=False),
    )
