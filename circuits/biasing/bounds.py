r"""What an operating point of a layer is worth, and the bounds that it has to hold.

A layer is unit-free; its membrane takes the charge Q = C s_V = I_u tau_c per unit of potential.

.. math::
    C &= C_{drawn} + C_{fixed} + N c_{syn}, & C_{drawn} &\ge \tfrac14 C \\
    v_{low} &\le V_0 + s_V V_i(t) \le v_{high} & &\text{all of phase 1, and } \vartheta_i + B_i t_d \\
    l_i &= (N_i^+ l_p - N_i^- l_n)\,(T_{in} + T)\,\tau_c / Q & &\text{leakage of synapses that are off} \\
    \sigma_o &= \sigma_{offset} / s_V \\
    \sigma_\eta^2 &= k T C / Q^2 + q\,n / Q + 2 q I_{tail} / (g_m^2 s^2 t_d) & &n = \sum |W| x + B t \\
    t_d / \tau_c &= t_{d0} \sqrt{I_0 / I_{tail}}\,(s_0 / s)^{0.4} / \tau_c & &s = B s_V / \tau_c \\
    \delta &= Q_{on} n / Q & &\text{charge at turn-on: acts as so much extra input time} \\
    v &= Q_{kick} / Q & &\text{charge of comparator and slope source when they are switched on} \\
    E &= V_{DD} Q\,\Big(\sum_{W>0} W x + B t\Big) + V_{DD} I_{tail} \tau_c t + E_{latch}

so jitter and the energy of the membrane depend on Q alone, leakage and the comparator's energy grow with
tau_c, delay in tau_c falls with it, and an offset is worth less at a larger s_V. A unit device carries
i = I_u / n; it is kept far above leakage, and the largest current through one switch below what its cascode
leaves headroom for.

Source: shot noise of a current I is 2 q I; the rest is scaling of what `circuits.biasing.cell_figures`
measures, the exponent 0.4 of the delay measured too. Not modeled: 1/f noise, wires.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from circuits.benches.device_noise import BOLTZMANN, CHARGE
from circuits.biasing.cell_figures import Figures
from circuits.biasing.layer_demand import Demand
from circuits.errors import InputError
from circuits.model.layer import Array
from circuits.pdk.technology import Technology

SLOPE_EXPONENT = 0.4
DRAWN = 0.25
"""Least share of the membrane that is a drawn capacitor: the rest is not linear and matches badly."""


@dataclass(frozen=True)
class Bounds:
    """What an operating point has to hold."""

    margin: float = 0.1  #: part of the swing to keep free for deviations
    leakage: float = 0.05  #: shift by leakage over both windows, of a unit of potential
    offset: float = 0.12  #: sigma of the comparator's offset, of a unit of potential
    jitter: float = 0.01  #: sigma of a spike's time from trial to trial [tau_c]
    delay: float = 0.3  #: of the comparator [tau_c]
    turn_on: float = 0.1  #: what an active synapse acts longer than its pulse [tau_c]
    kick: float = math.inf  #: shift by comparator and slope source at switching on, of a unit of potential
    headroom: float = 0.01  #: part of its current that the largest synapse or slope may lose for lack of room
    above_leakage: float = 50.0  #: current of a unit device over the leakage of a synapse that is off
    rounding: float = 0.05  #: rms over calibration of what whole unit devices change [unit of potential]
    most_units: int = 64  #: unit devices of W = 1
    capacitance: float = 4.0  #: membrane, of the technology's own or the fan-in's, whichever is larger


@dataclass(frozen=True)
class Worth:
    """What operating points are worth. Arrays that broadcast to (..., neuron)."""

    point: tuple[Array, Array, Array, Array]  #: tau_c [s], C [F], s_V [V], V_0 [V]
    leakage: Array  #: shift of the potential if no synapse is ever on [unit]
    offset: Array  #: sigma [unit]
    jitter: Array  #: sigma [tau_c]
    delay: Array  #: [tau_c]
    spread: Array  #: sigma of spike times over chips and trials [tau_c]
    energy: Array  #: mean of one inference [J]
    ratios: dict[str, Array]  #: by bound: 1 is just allowed

    def passed(self) -> Array:
        """Which points hold every bound for every neuron, shape (...)."""
        return np.all([(r <= 1.0 + 1e-9).all(axis=-1) for r in np.broadcast_arrays(*self.ratios.values())], 0)


def worth(
    demand: Demand,
    technology: Technology,
    f: Figures,
    units: int,
    bounds: Bounds,
    tau: Array,
    c: Array,
    s: Array,
    v_reset: Array | None = None,
) -> Worth:
    """Figures of operating points by the equations of this module.

    Parameters
    ----------
    tau, c, s : array, shape (..., 1)
        tau_c [s], C [F], s_V [V].
    v_reset : array, optional
        [V]; default: the best one.
    """
    process, base = technology.transistors(), f.point
    kt, vdd = BOLTZMANN * (f.temperature + 273.15), base.vdd
    charge, rate = c * s, demand.slope * s / tau
    spikes = np.maximum(demand.slope, 1e-9)
    late = f.delay * (base.v_unit / base.tau_c / np.maximum(rate, 1e-3)) ** SLOPE_EXPONENT
    late = np.where(demand.slope > 0, late, 0.0) * (f.tail / process.currents["tail"]) ** 0.5
    delay = late / tau
    top = np.maximum(demand.high, np.where(demand.fired > 0, demand.theta + demand.slope * delay, 0.0))
    low, high = np.minimum(demand.low, 0.0).min(), np.maximum(top, 0.0).max(axis=-1, keepdims=True)
    if v_reset is None:
        v_reset = 0.5 * (base.v_low + base.v_high) - 0.5 * s * (low + high)
        v_reset = np.maximum(
            v_reset, f.lowest_threshold - s * demand.theta.min() if demand.slope.any() else 0.0
        )
        v_reset = np.clip(
            v_reset, base.v_low - s * low, np.maximum(base.v_high - s * high, base.v_low - s * low)
        )
    unit = charge / tau / units
    sigma_u = np.maximum(f.spread(1, unit), f.spread(-1, unit))
    leakage = (demand.sources * f.leak_source - demand.sinks * f.leak_sink) * demand.windows * tau / charge
    comparator = 2 * CHARGE * f.tail / (f.gm_pair**2 * np.maximum(rate, 1e-3) ** 2 * np.maximum(late, 1e-12))
    jitter2 = (kt * c / charge**2 + CHARGE * demand.moved / charge) / spikes**2
    jitter2 = np.where(demand.slope > 0, jitter2 + comparator / tau**2, jitter2 * spikes**2)
    offset = np.where(demand.slope > 0, f.offset / s, 0.0)
    parasitic = process.fixed_capacitance + (demand.sources + demand.sinks) * process.synapse_capacitance
    plate = process.capacitor["matching"] ** 2 * process.capacitor["density"]
    matching = plate * np.maximum(c - parasitic, 0.0) / c**2 * demand.theta**2  # of the drawn part of c
    frozen = offset**2 + sigma_u**2 * demand.squared / units + matching
    busy = np.where(demand.slope > 0, demand.waiting + delay, 0.0)
    supplied = demand.supplied + demand.slope * delay
    kicked = np.where(demand.slope > 0, f.kick - f.extra(demand.slope, units), 0.0)
    leaks = max(abs(f.leak_source), abs(f.leak_sink))
    swing = base.v_high - base.v_low
    return Worth(
        (tau, c, s, v_reset),
        leakage=leakage,
        offset=offset,
        jitter=np.sqrt(jitter2),
        delay=delay,
        spread=np.sqrt(frozen + jitter2),
        energy=vdd * charge * supplied + vdd * f.tail * busy * tau + demand.fired * f.latch,
        ratios={
            "swing": s * (np.maximum(top, 0) - low) * (1 + bounds.margin) / swing,
            "threshold": np.where(
                demand.slope > 0, f.lowest_threshold / np.maximum(v_reset + s * demand.theta, 1e-3), 0.0
            ),
            "leakage": np.abs(leakage) / bounds.leakage,
            "offset": offset / bounds.offset,
            "jitter": np.sqrt(jitter2) / bounds.jitter,
            "delay": delay / bounds.delay,
            "turn_on": np.max(np.abs(f.turn_on)) / (unit * tau) / bounds.turn_on,
            "kick": np.abs(kicked) / charge / bounds.kick,
            "headroom": demand.largest * charge / tau / f.largest(bounds.headroom),
            "unit": leaks * bounds.above_leakage / unit,
            "drawn": parasitic / ((1 - DRAWN) * c),
        },
    )


REMEDIES = {
    "swing": "scale the layer's weights down or narrow its windows",
    "threshold": "raise the thresholds (longer window, smaller bias) or let partial sums fall less",
    "leakage": "shorten tau_c or the windows, raise i_unit and c_mem, or lengthen source_switch "
    "and sink_switch",
    "offset": "make pair and load of the comparator larger, or shrink the range of potentials",
    "jitter": "raise c_mem and i_unit",
    "delay": "raise the comparator's tail current, or lengthen tau_c",
    "turn_on": "raise i_unit or tau_c, or take fewer unit devices",
    "kick": "raise c_mem and i_unit, or lengthen tau_c",
    "headroom": "lower i_unit, lengthen tau_c, or scale the largest weights down",
    "unit": "raise i_unit, shorten tau_c, take fewer unit devices, or make the switches longer",
    "drawn": "raise c_mem, and i_unit with it",
}


def refusal(evaluated: Worth, bounds: Bounds, f: Figures, demand: Demand, where: str) -> InputError:
    """The bound that is missed by most at the best of the points, in words.

    Parameters
    ----------
    evaluated : of all points that were tried
    where : the layer, for the message
    """
    ratios = dict(zip(evaluated.ratios, np.broadcast_arrays(*evaluated.ratios.values()), strict=True))
    worst = np.max([r.max(axis=-1) for r in ratios.values()], axis=0)
    at = np.unravel_index(int(np.argmin(worst)), worst.shape)
    key = max(ratios, key=lambda k: float(ratios[k][at].max()))
    neuron = int(np.argmax(ratios[key][at]))
    ratio = float(ratios[key][at][neuron])
    synapses = int(demand.sources[neuron] + demand.sinks[neuron])
    free = 1 - DRAWN
    says = {
        "swing": f"partial sums and threshold span {ratio:.3g} times the swing that is free",
        "threshold": f"its threshold lies at {1 / ratio:.3g} times the {f.lowest_threshold:.3g} V that the "
        "comparator needs",
        "leakage": f"leakage of {synapses} synapses shifts its spike by "
        f"{ratio * bounds.leakage:.3g} tau_c at {f.temperature:g} C, more than {bounds.leakage:g}",
        "offset": f"the comparator's offset is {ratio * bounds.offset:.3g} of a unit, more than "
        f"{bounds.offset:g}",
        "jitter": f"jitter is {ratio * bounds.jitter:.3g} tau_c, more than {bounds.jitter:g}",
        "delay": f"the comparator's delay is {ratio * bounds.delay:.3g} tau_c, more than {bounds.delay:g}",
        "turn_on": f"charge parked on a synapse that is off acts like "
        f"{ratio * bounds.turn_on:.3g} tau_c of input, more than {bounds.turn_on:g}",
        "kick": f"its comparator and slope source shift the membrane by {ratio * bounds.kick:.3g} of a unit "
        f"when they are switched on, more than {bounds.kick:g}",
        "headroom": f"its largest weight draws {ratio:.3g} times the current that its switch has room for",
        "unit": f"a unit device carries {bounds.above_leakage / ratio:.3g} times the leakage of a synapse at "
        f"{f.temperature:g} C, less than {bounds.above_leakage:g}",
        "drawn": f"{synapses} synapses are {free * ratio:.3g} of its membrane, more than {free:g}",
    }
    return InputError(f"{where}, neuron {neuron}: {says[key]}; {REMEDIES[key]}")
