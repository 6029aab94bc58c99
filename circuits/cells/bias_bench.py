r"""What an operating point is chosen by, measured on the cells: one `.op`, and neurons with one synapse.

.. math:: \frac{g_m}{I_D} = \frac{\ln(I_2 / I_1)}{V_{GS,2} - V_{GS,1}}, \qquad
          \sigma(\ln I) = \sqrt{\Big(\frac{g_m}{I_D} \sigma_{VT}\Big)^2 + \sigma_\beta^2}, \qquad
          \sigma_o = \sqrt{2\,\Big(\sigma_{VT,pair}^2 +
                     \frac{g_{m,load}^2}{g_{m,pair}^2} \sigma_{VT,load}^2\Big)}

at a corner, a temperature and a supply. The transconductances are those of diode-connected devices at two
currents 2 % apart. Leakage is that of synapses that are off, on a membrane in the middle of the swing. From
spike times: an active synapse acts as W (x + delta) + kappa, with charges that are constants of the cells,

.. math:: \delta = Q_{turn-on} / (i \tau_c), \qquad \kappa = Q_{feed-through} / (C s_V)

so both weigh more the smaller the currents are. The slope source has its own turn-on charge; against it stands
what the comparator takes from the membrane when it is switched on.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from circuits.cells.bench import CONVERGED, Bench
from circuits.cells.comparator import OTA
from circuits.cells.neuron_bench import neuron_bench, references, source_level, supplies
from circuits.cells.neuron_measure import Measured, measure
from circuits.cells.parts import Block, Current, Mos
from circuits.cells.slope_source import SLOPE_SOURCE
from circuits.cells.synapse import SINK, SOURCE
from circuits.errors import SimulatorError
from circuits.layer import Array
from circuits.ngspice import Ngspice
from circuits.operating_point import OperatingPoint
from circuits.technology import Technology

UNIT_CURRENTS = np.geomspace(0.3e-9, 3e-6, 17)
"""Where the mirrors' g_m / I_D is measured [A]."""
APART = 1.02
LEVELS = np.linspace(0.25, 0.95, 29)
"""Thresholds at which the comparator's tail is looked at, in parts of the supply."""
TAIL = 0.85
"""Part of its current that the tail has to keep."""
COUNTS = 2 ** np.arange(8)
"""Unit devices behind one switch, to see from which current on it takes the mirror's headroom."""
INPUT_WINDOW, WINDOW, X = 0.6, 3.0, 0.5
"""Windows of the neurons that are measured, and how long their synapse is on [tau_c]."""


@dataclass(frozen=True)
class Figures:
    """Measured at one corner, temperature and supply. SI units."""

    point: OperatingPoint  #: the technology's own, at this supply
    corner: str
    temperature: float  #: [degrees C]
    unit: float  #: current of one unit device there [A]
    gm_source: Array  #: g_m / I_D of a unit source at UNIT_CURRENTS [1/V]
    gm_sink: Array
    sigma_source: tuple[float, float]  #: threshold [V] and current factor of one unit device
    sigma_sink: tuple[float, float]
    leak_source: float  #: from the supply into the membrane, one source that is off [A]
    leak_sink: float  #: from the membrane to ground, one sink that is off [A]
    gain_source: Array  #: current over the ideal one, COUNTS unit devices behind one switch
    gain_sink: Array
    gain_slope: Array  #: the same of a slope source
    offset: float  #: sigma of the comparator's threshold [V]
    gm_pair: float  #: transconductance of one device of the comparator's pair [S]
    tail: float  #: current of the comparator [A]
    lowest_threshold: float  #: below it the comparator's tail runs out of headroom [V]
    delay: float  #: of the comparator at `point` and B = 1 [s]
    latch: float  #: energy of a spike in latch and inverter [J]
    turn_on: tuple[float, float]  #: charge that a unit source, a unit sink gives beyond i x at a spike [C]
    feed_through: tuple[float, float]  #: charge of an active source, an active sink of any size [C]
    kick: float  #: charge that the comparator and the switches take from the membrane at t_min [C]

    def gm_over_i(self, sign: int, unit: Array | float) -> Array:
        """g_m / I_D of a unit source (sign > 0) or sink [1/V]."""
        table = self.gm_source if sign > 0 else self.gm_sink
        return np.interp(np.log(unit), np.log(UNIT_CURRENTS), table)

    def spread(self, sign: int, unit: Array | float) -> Array:
        """Sigma of ln(I) of one unit device that carries `unit` [A]."""
        vth, beta = self.sigma_source if sign > 0 else self.sigma_sink
        return np.hypot(self.gm_over_i(sign, unit) * vth, beta)

    def gain(self, kind: str, current: Array | float) -> Array:
        """Current over the ideal one of a "source", "sink" or "slope" source that carries `current` [A]."""
        return np.interp(np.log(np.maximum(current, 1e-15)), np.log(COUNTS * self.unit), self._gains[kind])

    @property
    def _gains(self) -> dict[str, Array]:
        return {"source": self.gain_source, "sink": self.gain_sink, "slope": self.gain_slope}

    def largest(self, loss: float) -> float:
        """Current through one switch up to which a synapse loses no more than `loss` of it [A]."""
        gain = np.min([table / table[0] for table in self._gains.values()], axis=0)
        short = np.flatnonzero(gain < 1.0 - loss)
        if len(short) == 0:
            return self.unit * float(COUNTS[-1])
        k = int(short[0])
        share = (gain[k - 1] - (1.0 - loss)) / (gain[k - 1] - gain[k])
        return self.unit * float(COUNTS[k - 1] * (COUNTS[k] / COUNTS[k - 1]) ** share)


def at_supply(point: OperatingPoint, supply: float | None) -> OperatingPoint:
    """The operating point at another supply: sources lose their headroom with it, sinks do not."""
    if supply is None:
        return point
    return dataclasses.replace(point, vdd=supply, v_high=point.v_high + supply - point.vdd)


def figures(
    technology: Technology,
    *,
    corner: str | None = None,
    temperature: float = 27.0,
    supply: float | None = None,
    simulator: Ngspice | None = None,
) -> Figures:
    """Measure a technology.

    Raises
    ------
    SimulatorError
        If a neuron without synapses does not fire there: the cells do not work at this corner.
    """
    process, simulator = technology.transistors(), simulator or Ngspice()
    corner = corner or process.corners[0]
    point = at_supply(technology.operating_point, supply)
    bench = Bench(technology, "figures of merit of the cells", corner=corner, temperature=temperature)
    unit, tail, middle = (
        point.i_unit / process.units,
        process.currents["tail"],
        (point.v_low + point.v_high) / 2,
    )
    supplies(bench, point)
    references(bench, unit)
    diodes = {
        f"{label}{k}{end}": (role, amps * factor)
        for label, role, currents in (
            ("p", "source_mirror", UNIT_CURRENTS),
            ("n", "sink_mirror", UNIT_CURRENTS),
            ("a", "pair", [tail / 2]),
            ("b", "load", [tail / 2]),
        )
        for k, amps in enumerate(currents)
        for end, factor in (("x", APART**-0.5), ("y", APART**0.5))
    }
    for node, (role, amps) in diodes.items():
        bench.place(f"d{node}", _diode(role, process.size(role).kind), node, "vds", amps=float(amps))
        bench.save(node)
    on = {"p": source_level(process, point.vdd), "n": process.levels["cascode_n"]}
    for label, block, off in (("p", SOURCE, point.vdd), ("n", SINK, 0.0)):
        rails = ("pb", "vds") if label == "p" else ("nb",)
        bench.level(f"on{label}", on[label])
        bench.level(f"off{label}", off)
        for tag, gate, count in [("leak", "off", 1), *((f"m{m}", "on", int(m)) for m in COUNTS)]:
            out = f"{tag}{label}"
            bench.level(out, middle)
            bench.place(f"s{out}", block, out, f"{gate}{label}", *rails, count=count)
            bench.save_current(out)
    for m in COUNTS:
        bench.level(f"m{m}b", middle)
        bench.place(f"sm{m}b", SLOPE_SOURCE, f"m{m}b", "0", "onp", "pbb", "vds", count=int(m))
        bench.save_current(f"m{m}b")
    for k, part in enumerate(LEVELS):
        level = part * point.vdd
        bench.level(f"vth{k}", level)
        bench.level(f"vin{k}", max(level - 0.2, 0.0))  # all of the tail's current through one side
        bench.level(f"vc{k}", point.vdd)
        bench.place(f"c{k}", OTA, f"vin{k}", f"vth{k}", f"a{k}", "vds", "vds", "nbt", "nbs", f"vc{k}")
        bench.save_current(f"vc{k}")
    plot = simulator.run(bench.operating_point())
    tails = -np.array([float(plot[f"i(vvc{k})"][0]) for k in range(len(LEVELS))])
    value = {key: float(plot[key][0]) for key in [f"v({d})" for d in diodes]}

    def gm(label: str, k: int = 0) -> float:
        return math.log(APART) / abs(value[f"v({label}{k}y)"] - value[f"v({label}{k}x)"])

    def current(tag: str, label: str) -> float:
        return float(plot[f"i(v{tag}{label})"][0]) * (-1 if label == "n" else 1)

    slope_gain = float(
        np.interp(process.units, COUNTS, [current(f"m{m}", "b") for m in COUNTS] / (COUNTS * unit))
    )
    many = range(len(UNIT_CURRENTS))
    sigma = {d.role: (d.sigma_vth, d.sigma_beta) for d in bench.devices if d.path.startswith("d")}
    pair, load = gm("a") * tail / 2, gm("b") * tail / 2
    return Figures(
        point=point,
        corner=corner,
        temperature=temperature,
        unit=unit,
        gm_source=np.array([gm("p", k) for k in many]),
        gm_sink=np.array([gm("n", k) for k in many]),
        sigma_source=sigma["source_mirror"],
        sigma_sink=sigma["sink_mirror"],
        leak_source=current("leak", "p"),
        leak_sink=current("leak", "n"),
        gain_source=np.array([current(f"m{m}", "p") for m in COUNTS]) / (COUNTS * unit),
        gain_sink=np.array([current(f"m{m}", "n") for m in COUNTS]) / (COUNTS * unit),
        gain_slope=np.array([current(f"m{m}", "b") for m in COUNTS]) / (COUNTS * unit),
        offset=math.sqrt(2) * math.hypot(sigma["pair"][0], load / pair * sigma["load"][0]),
        gm_pair=pair,
        tail=tail,
        lowest_threshold=float(LEVELS[np.flatnonzero(tails < TAIL * tails.max())[-1] + 1] * point.vdd),
        **_neuron(technology, point, corner, temperature, simulator, slope_gain),
    )


def _diode(role: str, kind: str) -> Block:
    """A diode-connected device and its current, between the line and the supply or ground."""
    start, end, rail = ("g", "0", "vdd") if kind == "p" else ("vdd", "g", "0")
    parts = (Current("i", start, end, "amps"), Mos("m", role, "g", "g", rail, rail))
    return Block(f"diode_{role}", ("g", "vdd"), parts, {"amps": 1e-8})


def _neuron(
    technology: Technology,
    point: OperatingPoint,
    corner: str,
    temperature: float,
    simulator: Ngspice,
    slope_gain: float,
) -> dict[str, Any]:
    """Delay and energy of a neuron without synapses; what one synapse of two sizes and signs adds to W x."""
    units = technology.transistors().units

    def run(weight: float) -> Measured:
        bench = neuron_bench(
            technology, np.array([weight]), np.array([INPUT_WINDOW - X]), point=point, corner=corner,
            temperature=temperature, input_window=INPUT_WINDOW, window=WINDOW, accuracy=CONVERGED,
        )  # fmt: skip
        m = measure(bench, simulator.run(bench.deck))
        if not np.isfinite(m.spike_time):
            raise SimulatorError(
                f"{technology.name}, corner {corner}, {temperature:g} C, {point.vdd:g} V: a neuron with weight "
                f"{weight:g} does not fire within {WINDOW:g} tau_c"
            )
        return m

    alone = run(0.0)
    turn_on, feed_through, charge = [], [], point.i_unit * point.tau_c
    for sign in (1.0, -1.0):
        small, large = (alone.spike_time - run(sign * w).spike_time - sign * w * X for w in (1 / units, 1.0))
        slope = (large - small) / (1.0 - 1 / units)
        turn_on.append(sign * slope * charge / units)
        feed_through.append((small - slope / units) * charge)
    return {
        "kick": (alone.crossing * slope_gain - 1.0) * charge + turn_on[0] * units,
        "delay": alone.delay * point.tau_c,
        "latch": sum(alone.energy["vdl"]),
        "turn_on": tuple(turn_on),
        "feed_through": tuple(feed_through),
    }
