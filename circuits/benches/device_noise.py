r"""Device noise of one inference, made in Python so that it can be repeated: ngspice's own cannot.

A device in weak or moderate inversion has shot noise; as samples every NT of a piecewise linear current,

.. math:: S_I = 2 q I, \qquad \sigma_{sample} = \sqrt{q I / NT}

Three parts, each scaled by what flows and when:

* currents of the membrane: every synapse from its spike to t_min, the slope source from t_min;
* reset: kT/C, sampled when the reset ends, as a shift of the reset level; of a read-out kT/C_hold: what its
  sample adds, kT (C - C_hold) / (C C_hold), shifts the same value;
* comparator: four equal currents of half the tail (pair and load), referred to its input,
  :math:`S_V = 4 \cdot 2 q (I_{tail}/2) / g_m^2`, as a voltage in series with the threshold.

Not modeled: 1/f noise, noise of the references (common to a layer), strong inversion (less noise than this).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from circuits.benches.phases import Phases
from circuits.benches.testbench import Bench
from circuits.blocks.subcircuit import Block, Current, Mos
from circuits.model.layer import Array
from circuits.model.operating_point import OperatingPoint
from circuits.pdk.technology import Technology
from circuits.spice.ngspice import Ngspice
from circuits.units import number

CHARGE = 1.602176634e-19  #: of the electron [C], exact
BOLTZMANN = 1.380649e-23  #: [J/K], exact
SPACING = 1 / 100
"""NT: distance of noise samples [tau_c]; they are correlated over one, far below any filter on the way."""


@dataclass(frozen=True)
class Noise:
    """The noise of one trial, ready for `neuron_bench` or `readout_bench`."""

    current: str  #: PWL text, into the membrane [A]
    threshold: str  #: PWL text, added to the threshold [V]; of a read-out none
    reset: float  #: shift of the reset level [V]


def draw(
    weights: Array,
    spike_times: Array,
    phases: Phases,
    point: OperatingPoint,
    technology: Technology,
    gm: float | None,
    rng: np.random.Generator,
    *,
    temperature: float = 27.0,
    share: float = 1.0,
) -> Noise:
    """One trial.

    Parameters
    ----------
    weights, spike_times : array, shape (synapse,)
        As for `neuron_bench`.
    gm : float
        Transconductance of the comparator's pair, see `pair_transconductance` [S]; None: a read-out, which
        has neither comparator nor slope source.
    rng : Generator
    share : float
        Of the membrane's capacitance, what holds a read-out's sample.
    """
    process, tau = technology.transistors(), phases.tau_c
    step = SPACING * tau
    first = phases.start
    count = int((phases.t_max - first) / step)
    time = first + step * np.arange(count)
    on = np.asarray(spike_times, float)[:, None] * tau + first
    flowing = (time >= on) & (time < phases.t_min)
    ramp = (time >= phases.t_min) if gm else 0.0
    amps = point.i_unit * (np.abs(weights) @ flowing + ramp)
    z = rng.standard_normal((2, count))
    current = np.sqrt(CHARGE * amps / step) * z[0]
    reset = np.sqrt(BOLTZMANN * (temperature + 273.15) / (share * point.c_mem)) * rng.standard_normal()
    if not gm:
        return Noise(_pwl(time, current), "", float(reset))
    tail = process.currents["tail"]
    volts = np.sqrt(4 * CHARGE * (tail / 2) / gm**2 / step) * z[1]
    return Noise(_pwl(time, current), _pwl(time, volts), float(reset))


def _pwl(time: NDArray[np.floating], values: NDArray[np.floating]) -> str:
    ticks = np.rint(time / 1e-15).astype(np.int64)
    corners = " ".join(f"{t}e-15 {number(v)}" for t, v in zip(ticks, values, strict=True))
    after = ticks[-1] + (ticks[1] - ticks[0])
    return f"PWL(0 0 {ticks[0] - 1}e-15 0 {corners} {after}e-15 0)"


def pair_transconductance(
    technology: Technology,
    *,
    corner: str = "tt",
    temperature: float = 27.0,
    simulator: Ngspice | None = None,
) -> float:
    """g_m of the comparator's input device at half the tail current [S]: dI / dV_GS, diode-connected.

    Parameters
    ----------
    corner, temperature : where the comparator is operated; [degrees C]
    """
    bench = Bench(technology, "transconductance of the pair", corner=corner, temperature=temperature)
    half = bench.process.currents["tail"] / 2
    bench.level("vdd", technology.operating_point.vdd)
    for k, amps in enumerate((0.99 * half, 1.01 * half)):
        bench.place(f"d{k}", DIODE, f"g{k}", "vdd", amps=amps)
        bench.save(f"g{k}")
    plot = (simulator or Ngspice()).run(bench.operating_point(1e-9))
    return float(0.02 * half / (plot["v(g1)"][0] - plot["v(g0)"][0]))


DIODE = Block(
    "diode_connected_pair",
    ("g", "vdd"),
    (Current("i1", "vdd", "g", "amps"), Mos("m1", "pair", "g", "g", "0", "0")),
    {"amps": 200e-9},
)
