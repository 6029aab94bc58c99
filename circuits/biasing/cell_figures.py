r"""What an operating point is chosen by, measured on the cells: one `.op`, and neurons with one synapse.

.. math:: \frac{g_m}{I_D} = \frac{\ln(I_2 / I_1)}{V_{GS,2} - V_{GS,1}}, \qquad
          \sigma(\ln I) = \sqrt{\Big(\frac{g_m}{I_D} \sigma_{VT}\Big)^2 + \sigma_\beta^2}, \qquad
          \sigma_o = \sqrt{2\,\Big(\sigma_{VT,pair}^2 +
                     \frac{g_{m,load}^2}{g_{m,pair}^2} \sigma_{VT,load}^2\Big)}

at a corner, a temperature and a supply. The transconductances are those of diode-connected devices at two
currents 2 % apart. Leakage is that of synapses that are off, on a membrane in the middle of the swing. From
spike times: beyond W x, an active synapse of m unit devices gives what is parked on its mirror's drain and
what its switch's gate feeds through,

.. math:: Q(m) \approx m\,C_x \Delta V(m\,i) + Q_{gate}, \qquad \delta = Q(m) / (m\,i\,\tau_c)

which weighs more the smaller the currents are. The slope source has its own; against it stands what the
comparator takes from the membrane when it is switched on.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from circuits.benches.bias_lines import references, source_level, supplies
from circuits.benches.neuron import neuron_bench
from circuits.benches.neuron_waveforms import Measured, measure
from circuits.benches.testbench import CONVERGED, Bench
from circuits.blocks.comparator import OTA
from circuits.blocks.slope_source import SLOPE_SOURCE
from circuits.blocks.subcircuit import Block, Current, Mos
from circuits.blocks.synapse import SINK, SOURCE
from circuits.errors import SimulatorError
from circuits.model.layer import Array
from circuits.model.operating_point import OperatingPoint
from circuits.pdk.technology import Technology
from circuits.spice.ngspice import Ngspice

UNIT_CURRENTS = np.geomspace(0.3e-9, 3e-6, 17)
"""Where the mirrors' g_m / I_D is measured [A]."""
APART = 1.02
LEVELS = np.linspace(0.25, 0.95, 29)
"""Thresholds at which the comparator's tail is looked at, in parts of the supply."""
TAIL = 0.85
"""Part of its current that the tail has to keep; a short one carries more at high levels."""
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
    gain_end: Array  #: least of the three where they have least room: sources at v_high, sinks at v_low
    offset: float  #: sigma of the comparator's threshold [V]
    gm_pair: float  #: transconductance of one device of the comparator's pair [S]
    tail: float  #: current of the comparator [A]
    lowest_threshold: float  #: below it the comparator's tail runs out of headroom [V]
    delay: float  #: of the comparator at `point` and B = 1 [s]
    latch: float  #: energy of a spike in latch and inverter [J]
    counts: Array  #: unit devices of the synapses of which the next two are
    extra_source: Array  #: charge that an active source gives beyond its current, at a spike and t_min [C]
    extra_sink: Array  #: the same of an active sink, < 0 where it takes charge
    kick: float  #: charge that the comparator and the switches take from the membrane at t_min [C]

    def gm_over_i(self, sign: int, unit: Array | float) -> Array:
        """g_m / I_D of a unit source or sink [1/V].

        Parameters
        ----------
        sign : > 0: source
        unit : its current [A]
        """
        table = self.gm_source if sign > 0 else self.gm_sink
        return np.interp(np.log(unit), np.log(UNIT_CURRENTS), table)

    def spread(self, sign: int, unit: Array | float) -> Array:
        """Sigma of ln(I) of one unit device.

        Parameters
        ----------
        sign, unit : as of `gm_over_i`
        """
        vth, beta = self.sigma_source if sign > 0 else self.sigma_sink
        return np.hypot(self.gm_over_i(sign, unit) * vth, beta)

    def gain(self, kind: str, current: Array | float) -> Array:
        """Current over the ideal one.

        Parameters
        ----------
        kind : {"source", "sink", "slope"}
        current : of all unit devices behind one switch [A]
        """
        return np.interp(np.log(np.maximum(current, 1e-15)), np.log(COUNTS * self.unit), self._gains[kind])

    def extra(self, weights: Array, units: int) -> Array:
        """Charge that active synapses give beyond their current, shape of `weights` [C]; 0 where W = 0.

        Parameters
        ----------
        weights : array
        units : unit devices of W = 1
        """
        m = np.abs(weights) * units
        beyond = np.maximum(m / self.counts[-1], 1.0)
        tables = (np.interp(m, self.counts, t) * beyond for t in (self.extra_source, self.extra_sink))
        source, sink = tables
        return np.where(weights > 0, source, np.where(weights < 0, sink, 0.0))

    @property
    def turn_on(self) -> tuple[float, float]:
        """Charge that one more unit device of a source, of a sink adds to that [C]."""
        step = self.counts[1] - self.counts[0]
        source, sink = (float((t[1] - t[0]) / step) for t in (self.extra_source, self.extra_sink))
        return source, -sink

    @property
    def _gains(self) -> dict[str, Array]:
        return {"source": self.gain_source, "sink": self.gain_sink, "slope": self.gain_slope}

    def largest(self, loss: float) -> float:
        """Current through one switch of which no more than `loss` is lost, anywhere in the swing [A]."""
        gain = self.gain_end / self.gain_end[0]
        short = np.flatnonzero(gain < 1.0 - loss)
        if len(short) == 0:
            return self.unit * float(COUNTS[-1])
        k = int(short[0])
        share = (gain[k - 1] - (1.0 - loss)) / (gain[k - 1] - gain[k])
        return self.unit * float(COUNTS[k - 1] * (COUNTS[k] / COUNTS[k - 1]) ** share)


def _at_supply(point: OperatingPoint, supply: float | None) -> OperatingPoint:
    """The operating point to design with at another supply: sources lose their headroom, sinks do not."""
    if supply is None:
        return point
    return dataclasses.replace(point.at_supply(supply), v_high=point.v_high + supply - point.vdd)


def figures(
    technology: Technology,
    *,
    corner: str | None = None,
    temperature: float = 27.0,
    supply: float | None = None,
    simulator: Ngspice | None = None,
) -> Figures:
    """Measure a technology.

    Parameters
    ----------
    corner, temperature, supply
        Where; default: typical, 27 C, the technology's own; [degrees C], [V].

    Raises
    ------
    SimulatorError
        If a neuron without synapses does not fire there: the cells do not work at this corner.
    """
    process, simulator = technology.transistors(), simulator or Ngspice()
    corner = corner or process.corners[0]
    point = _at_supply(technology.operating_point, supply)
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
        end = point.v_high if label == "p" else point.v_low
        for tag, gate, count, volts in [
            ("leak", "off", 1, middle),
            *((f"m{m}", "on", int(m), middle) for m in COUNTS),
            *((f"e{m}", "on", int(m), end) for m in COUNTS),
        ]:
            out = f"{tag}{label}"
            bench.level(out, volts)
            bench.place(f"s{out}", block, out, f"{gate}{label}", *rails, count=count)
            bench.save_current(out)
    for m in COUNTS:
        for tag, volts in (("m", middle), ("e", point.v_high)):
            out = f"{tag}{m}b"
            bench.level(out, volts)
            bench.place(f"s{out}", SLOPE_SOURCE, out, "0", "onp", "pbb", "vds", count=int(m))
            bench.save_current(out)
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

    def gains(tag: str, label: str) -> Array:
        return np.array([current(f"{tag}{m}", label) for m in COUNTS]) / (COUNTS * unit)

    starved = int(np.flatnonzero(np.append(True, tails < TAIL * min(tails.max(), tail)))[-1])
    slope_gain = float(np.interp(process.units, COUNTS, gains("m", "b")))
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
        gain_source=gains("m", "p"),
        gain_sink=gains("m", "n"),
        gain_slope=gains("m", "b"),
        gain_end=np.min([gains("e", label) for label in "pnb"], axis=0),
        offset=math.sqrt(2) * math.hypot(sigma["pair"][0], load / pair * sigma["load"][0]),
        gm_pair=pair,
        tail=tail,
        lowest_threshold=float(LEVELS[min(starved, len(LEVELS) - 1)] * point.vdd),
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
                f"{technology.name}, corner {corner}, {temperature:g} C, {point.vdd:g} V: a neuron with "
                f"weight {weight:g} does not fire within {WINDOW:g} tau_c"
            )
        return m

    alone = run(0.0)
    counts, charge = np.unique([1, round(units**0.5), units]), point.i_unit * point.tau_c
    extra = {
        sign: charge
        * np.array(
            [alone.spike_time - run(sign * m / units).spike_time - sign * m / units * X for m in counts]
        )
        for sign in (1.0, -1.0)
    }
    return {
        "kick": (alone.crossing * slope_gain - 1.0) * charge + float(extra[1.0][-1]),
        "delay": alone.delay * point.tau_c,
        "latch": sum(alone.energy["vdl"]),
        "counts": counts,
        "extra_source": extra[1.0],
        "extra_sink": extra[-1.0],
    }
