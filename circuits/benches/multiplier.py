r"""A four-quadrant multiplier on a bench: one input vector, one transient, the pulses that come out.

Its scale is that of a neuron with a lower reset, since nothing pulls down, and a larger unit of potential,

.. math:: V_0 = V_{0,neuron} - 0.6\,s_V, \qquad s_V' = 1.6\,s_V, \qquad I_B' = 1.6\,I_B

For N inputs beyond six, units, current and capacitor of a membrane grow as N / 6. The threshold is THETA =
1.2 units: one for the result and the shortest pulses, 0.2 for the comparator, which needs that much ramp
after it has been switched on (with 0.1, the largest results are 0.8 % of full scale off; with none, 3 %).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from circuits.benches.bias_lines import references, source_level, supplies
from circuits.benches.neuron import clocks
from circuits.benches.neuron_waveforms import DOMAINS, rising
from circuits.benches.phases import Phases
from circuits.benches.synapses import explicit_capacitance
from circuits.benches.testbench import EDGE, STEADY, Accuracy, Bench
from circuits.blocks.multiplier import LINES, PAIR, WEIGHT
from circuits.errors import InputError
from circuits.model.layer import Array
from circuits.model.operating_point import OperatingPoint
from circuits.pdk.technology import Technology
from circuits.spice.deck import Deck
from circuits.spice.rawfile import Plot
from circuits.spice.waveforms import supply_energy

LOWER = 0.6
"""How far the reset lies below that of a neuron, in its units of potential."""
INPUTS = 6
"""Inputs that the operating point is meant for before it is scaled."""
THETA, WAKE = 1.2, 0.2
"""Threshold, and the part of it that has to be left when phase 2 begins, in units of potential."""
MARK = 0.05
"""x_0: shortest pulse, on both lines of every input [tau_c]."""
PARKED = 0.06
"""Head room for delta, the charge dumped at turn-on, on top of the pulse [tau_c]."""
UNITS_A_FINGER = 16
"""Of the slope source, to one finger of its switches."""


@dataclass(frozen=True)
class MultiplierPoint:
    """Electrical scale of a multiplier."""

    point: OperatingPoint  #: of one membrane
    units: int  #: unit sources that make a weight of 1, and B

    @classmethod
    def of(cls, technology: Technology, inputs: int) -> MultiplierPoint:
        """For a number of inputs.

        Parameters
        ----------
        inputs : N, see the module
        """
        neuron, process = technology.operating_point, technology.transistors()
        base = 2 * process.units
        units = round(base * max(inputs / INPUTS, 1.0))
        factor = units / base
        point = dataclasses.replace(
            neuron,
            v_reset=round(neuron.v_reset - LOWER * neuron.v_unit, 9),
            i_unit=neuron.i_unit * (1.0 + LOWER) * factor,
            c_mem=neuron.c_mem * factor,
        )
        return cls(point, units)

    @property
    def fingers(self) -> int:
        """Fingers of the slope source's switches."""
        return max(round(self.units / UNITS_A_FINGER), 1)


@dataclass(frozen=True)
class MultiplierBench:
    """The deck of one multiplier and one input vector."""

    deck: Deck
    bench: Bench
    phases: Phases
    point: OperatingPoint
    theta: float  #: threshold in units of potential
    product: float  #: sum of w x
    lines: tuple[str, ...]  #: sources of the input lines


def multiplier_bench(
    technology: Technology,
    weights: Array,
    inputs: Array,
    *,
    scale: MultiplierPoint | None = None,
    starts: Array | None = None,
    mark: float = MARK,
    window: float = 1.6,
    theta: float = THETA,
    corner: str = "tt",
    temperature: float = 27.0,
    deviations: Mapping[str, tuple[float, float]] | None = None,
    accuracy: Accuracy = STEADY,
    heading: str = "four-quadrant multiplier",
) -> MultiplierBench:
    """One output, one input vector.

    Parameters
    ----------
    weights : array, shape (input,)
        Whole multiples of 1 / scale.units.
    inputs : array, shape (input,)
        Signed lengths in -1..1 [tau_c].
    starts : array, shape (input,), optional
        Where the longer pulse of each input starts in phase 1 [tau_c]; default 0. The other line's
        starts at 0.
    mark : float
        Shortest pulse, on every line [tau_c]; 0: only the line of the input's sign has a pulse.
    theta : float
        Threshold in units of potential.

    Raises
    ------
    InputError
        For weights that cannot be built, pulses outside phase 1, sums beyond the threshold.
    """
    weights, inputs = np.asarray(weights, float), np.asarray(inputs, float)
    scale = scale or MultiplierPoint.of(technology, len(weights))
    point = scale.point
    starts = np.zeros_like(inputs) if starts is None else np.asarray(starts, float)
    units = np.rint(weights * scale.units)
    _check(weights, inputs, starts, scale, mark, theta)
    phases = Phases.of(1.0 + mark, window, point.tau_c)
    bench = Bench(
        technology, heading, corner=corner, temperature=temperature, tau_c=point.tau_c, deviations=deviations
    )
    supplies(bench, point)
    references(bench, point.i_unit / scale.units, units=scale.units)
    clocks(bench, phases, point.vdd)
    bench.level("vth", point.volts(theta))
    for j in np.flatnonzero(units):
        for sign, text in ((1.0, "p"), (-1.0, "m")):
            longer = max(sign * inputs[j], 0.0)
            _line(bench, f"x{text}{j}", mark + longer, starts[j] if longer else 0.0, phases, point.vdd)
        ends = ("p", "m") if units[j] > 0 else ("m", "p")
        bench.place(f"w{j}", WEIGHT, *ends, f"xp{j}", f"xm{j}", "pb", "vds", count=abs(units[j]))
    bench.place(
        "pair", PAIR, "p", "m", "sp", "sm", "rp", "rm", *LINES,
        cm=explicit_capacitance(point, int(np.count_nonzero(units)), bench.process),
        units=scale.units,
        fingers=scale.fingers,
    )  # fmt: skip
    bench.save("p", "m", "sp", "sm", "rp", "rm")
    lines = tuple(f"x{text}{j}" for j in np.flatnonzero(units) for text in "pm")
    bench.save_current(*DOMAINS, "vr", *lines)
    deck = bench.transient(phases.end, accuracy)
    return MultiplierBench(deck, bench, phases, point, theta, float(weights @ inputs), lines)


def _check(
    weights: Array, inputs: Array, starts: Array, scale: MultiplierPoint, mark: float, theta: float
) -> None:
    if weights.ndim != 1 or not weights.shape == inputs.shape == starts.shape:
        raise InputError(
            f"need one input and one start a weight, got {weights.shape}, {inputs.shape}, {starts.shape}"
        )
    units = weights * scale.units
    if np.any(np.abs(units - np.rint(units)) > 1e-6) or not np.any(np.rint(units)):
        raise InputError(f"weights must be whole multiples of 1/{scale.units}, not all of them zero")
    if np.any(starts < 0) or np.any(np.abs(inputs) + starts > 1.0 + 1e-12):
        raise InputError("input pulses must lie within phase 1: start >= 0, start + |x| <= 1")
    if mark and mark <= 2 * EDGE:
        raise InputError(f"the shortest pulse {mark:g} must be longer than two edges, {2 * EDGE:g} tau_c")
    product, always = weights * inputs, np.abs(weights).sum() * (mark + PARKED)
    largest = max(product[product > 0].sum(), -product[product < 0].sum()) + always
    if largest > theta - WAKE:
        raise InputError(
            f"a membrane reaches {largest:.2f} in phase 1, but {theta - WAKE:g} is the most that leaves the "
            "comparator room below the threshold: scale the weights down (more units), or raise theta"
        )


def _line(bench: Bench, line: str, length: float, start: float, phases: Phases, vdd: float) -> None:
    """One input line: on for `length` [tau_c]."""
    if length <= 2 * EDGE:
        bench.level(line, vdd)
        return
    begin = phases.start + start * phases.tau_c
    bench.signal(line, vdd, (begin, source_level(bench.process, vdd)), (begin + length * phases.tau_c, vdd))


@dataclass(frozen=True)
class Product:
    """One transient of a multiplier. Times in tau_c."""

    y: float  #: t_M - t_P
    t_p: float  #: from the start of phase 2
    t_m: float
    positive: float  #: length of the pulse "P and not M"; 0 = none
    negative: float  #: of "M and not P"
    energy: dict[str, float]  #: by domain; "lines": what drives the gates of the inputs [J]
    membranes: float  #: of "vds", what charges both membranes to the threshold, by hand analysis [J]
    reference: float  #: energy of the bias lines, shared by all outputs of a layer [J]

    @property
    def total(self) -> float:
        """Energy of one output, without the shared references [J]."""
        return sum(self.energy.values())


def measure_product(bench: MultiplierBench, plot: Plot) -> Product:
    """Read one transient of `multiplier_bench`.

    Parameters
    ----------
    plot : of the bench's deck
    """
    phases, vdd, time = bench.phases, bench.point.vdd, plot["time"]
    tau, half = phases.tau_c, 0.5 * bench.point.vdd
    t_p, t_m = (
        (rising(time, plot[f"v({s})"], half, phases.start) - phases.t_min) / tau for s in ("sp", "sm")
    )

    def spent(source: str) -> float:
        current, ends = plot[f"i(v{source})"], (phases.start, phases.t_max)
        before, after = (supply_energy(time, current, vdd, end, stepped=False) for end in ends)
        return after - before

    def line_energy(line: str) -> float:
        """A line takes charge from the supply when it is switched off again."""
        return supply_energy(time, np.minimum(plot[f"i(v{line})"], 0.0), vdd, phases.t_max, stepped=False)

    energy = {domain: spent(domain) for domain in DOMAINS}
    energy["lines"] = sum(line_energy(line) for line in bench.lines)
    return Product(
        y=t_m - t_p,
        t_p=t_p,
        t_m=t_m,
        positive=_length(time, plot["v(rp)"], half) / tau,
        negative=_length(time, plot["v(rm)"], half) / tau,
        energy=energy,
        membranes=2 * vdd * bench.point.c_mem * bench.point.v_unit * bench.theta,
        reference=spent("vr"),
    )


def _length(time: Array, volts: Array, half: float) -> float:
    """How long a signal is above a level [s], all pulses together; 0 = never."""
    above = volts >= half
    edges = np.flatnonzero(above[1:] != above[:-1])
    share = (half - volts[edges]) / (volts[edges + 1] - volts[edges])
    crossings = time[edges] + share * (time[edges + 1] - time[edges])
    if len(crossings) % 2:
        crossings = np.append(crossings, time[-1])
    return float(np.sum(crossings[1::2] - crossings[::2]))
