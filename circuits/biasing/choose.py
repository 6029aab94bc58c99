r"""The operating point of a layer of transistors: chosen from calibration data, or given and checked.

Bounds and figures are those of `circuits.biasing.bounds`. As many unit devices make W = 1 as the weights need
to lie on their grid, fewer where the bounds ask for it; V_0 puts the swing in the middle, but thresholds
above the comparator's lowest.

==========  ==========================================================================================
objective   rule, among all (tau_c, C, s_V) that hold every bound
==========  ==========================================================================================
spread      least spread of spike times,
            sigma^2 = sigma_o^2 + sigma_u^2 (sum |W| x^2 + B t^2) / n + (sigma_C theta)^2 + sigma_eta^2:
            the largest s_V that the swing allows, large currents (g_m / I_D falls) and capacitors
energy      least E: the smallest Q whose jitter, offset and charge at turn-on hold, and a short tau_c
speed       shortest tau_c whose delay and headroom hold, then least E
==========  ==========================================================================================
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from circuits.benches.neuron import explicit_capacitance
from circuits.benches.phases import Phases
from circuits.biasing.bounds import DRAWN, Bounds, refusal, worth
from circuits.biasing.cell_figures import Figures
from circuits.biasing.layer_demand import Demand, choose_units, in_units, propagate
from circuits.errors import InputError
from circuits.model.layer import Array, Layer
from circuits.model.operating_point import OperatingPoint
from circuits.pdk.technology import Technology

OBJECTIVES = ("spread", "energy", "speed")
TAUS = 2.0 ** np.arange(-5, 5.25, 0.25)
"""Conversion times that are tried, as multiples of the technology's."""
SCALES = np.geomspace(1.0, 1 / 8, 19)
"""s_V that are tried, as multiples of the largest that the swing allows."""
STEPS = 25
"""Membranes that are tried, from the smallest that the fan-in allows."""


@dataclass(frozen=True)
class LayerBias:
    """One layer ready for the benches: its bias numbers and what they are worth. SI units."""

    layer: Layer  #: with weights and slopes in whole unit devices
    rounded: float  #: largest change of a weight or slope by that
    technology: Technology  #: with this layer's unit devices
    point: OperatingPoint
    unreached: int  #: neurons whose threshold lies beyond the swing, and is put at its end
    capacitors: Array  #: (neuron,) to draw [F]
    v_th: Array  #: (neuron,) [V]
    slope_units: Array  #: (neuron,) unit devices of the slope source
    phases: Phases  #: the firing window is longer by `delay`
    delays: Array  #: (neuron,) expected of the comparator, longer at a slower slope [tau_c]
    leakage: Array  #: (neuron,) shift of the potential if no synapse is ever on [unit]
    offset: float  #: sigma [unit]
    jitter: Array  #: (neuron,) sigma [tau_c]
    spread: Array  #: (neuron,) sigma of spike times over chips and trials [tau_c]
    extra: Array  #: (neuron, synapse) what an active synapse adds beyond W x [unit]
    slope_extra: Array  #: (neuron,) the same of the slope source
    kick: float  #: what comparator and switches take from the membrane at t_min [unit]
    gain: Array  #: (neuron, synapse) current of each synapse over the ideal one
    slope_gain: Array  #: (neuron,) current of each slope source over the ideal one
    gm_over_i: tuple[float, float]  #: of a unit source and a unit sink [1/V]
    energy: Array  #: (neuron,) expected of one inference [J]

    @property
    def delay(self) -> float:
        """The longest delay: by so much the windows shift [tau_c]."""
        return float(self.delays.max())

    @property
    def unit_current(self) -> float:
        """Current of one unit device [A]."""
        return self.point.i_unit / self.technology.transistors().units


def _units(layer: Layer, x: Array, technology: Technology, bounds: Bounds) -> int:
    return choose_units(layer, x, technology.transistors().units, bounds.most_units, bounds.rounding)


def _of_units(technology: Technology, units: int) -> Technology:
    """The technology with another number of unit devices for W = 1."""
    return dataclasses.replace(technology, process=dataclasses.replace(technology.transistors(), units=units))


def bias(
    layer: Layer,
    x: Array,
    technology: Technology,
    f: Figures,
    point: OperatingPoint,
    *,
    units: int | None = None,
    bounds: Bounds | None = None,
    name: str = "layer 0",
) -> LayerBias:
    """The bias numbers of a layer at a given operating point.

    Parameters
    ----------
    x : array, shape (image, n_in), calibration inputs: activations [tau_c]; 0 = silent
    f : Figures
        Of this technology, at the corner, temperature and supply of `point`.
    units : int, optional
        Unit devices of W = 1; default: as many as the weights need.
    name : of the layer, for messages

    Raises
    ------
    InputError
        If a trajectory leaves the swing, partial sums included, or a bound is missed: naming the layer, the
        neuron and the remedy.
    """
    bounds = bounds or Bounds()
    units = units or _units(layer, x, technology, bounds)
    rounded, change = in_units(layer, units)
    demand = Demand.of(rounded, x)
    for i in range(layer.n_out):
        point.check_swing(float(demand.low[i]), float(demand.high[i]), f"{name}, neuron {i}")
    reach = point.unit_free(point.v_high) * (1 - 1e-6)  # beyond it no input that stays in the swing comes
    unreached = rounded.theta > reach
    if layer.spiking and unreached.any():
        reachable_bias = np.where(unreached, rounded.window - reach / rounded.slope, rounded.bias)
        rounded = dataclasses.replace(rounded, bias=reachable_bias)
        demand = dataclasses.replace(demand, theta=rounded.theta)
    candidate = [np.array([v]) for v in (point.tau_c, point.c_mem, point.v_unit, point.v_reset)]
    evaluated = worth(demand, technology, f, units, dataclasses.replace(bounds, margin=0.0), *candidate)
    if not evaluated.passed():
        raise refusal(evaluated, bounds, f, demand, name)
    with_units, process = _of_units(technology, units), technology.transistors()
    delays = np.broadcast_to(evaluated.delay, (layer.n_out,))
    late = float(delays.max())
    counts = (demand.sources + demand.sinks).tolist()
    unit, charge = point.i_unit / units, point.i_unit * point.tau_c
    return LayerBias(
        layer=rounded,
        rounded=change,
        technology=with_units,
        point=point,
        unreached=int(unreached.sum()) if layer.spiking else 0,
        capacitors=np.array([explicit_capacitance(point, n, process) for n in counts]),
        v_th=point.volts(demand.theta),
        slope_units=np.rint(rounded.slope * units).astype(int),
        phases=Phases.of(layer.t_min, layer.window + late, point.tau_c),
        delays=delays,
        leakage=evaluated.leakage,
        offset=float(np.max(evaluated.offset)),
        jitter=evaluated.jitter,
        spread=evaluated.spread,
        extra=f.extra(rounded.weights, units) / charge,
        slope_extra=f.extra(rounded.slope, units) / charge,
        kick=f.kick / charge,
        gain=np.where(
            rounded.weights > 0,
            f.gain("source", np.abs(rounded.weights) * point.i_unit),
            f.gain("sink", np.abs(rounded.weights) * point.i_unit),
        ),
        slope_gain=f.gain("slope", rounded.slope * point.i_unit),
        gm_over_i=(float(f.gm_over_i(1, unit)), float(f.gm_over_i(-1, unit))),
        energy=evaluated.energy,
    )


def choose(
    layers: Sequence[Layer],
    x: Array,
    technology: Technology,
    f: Figures,
    *,
    objective: str = "spread",
    bounds: Bounds | None = None,
    units: int | None = None,
) -> list[LayerBias]:
    """Operating points of a network's layers; tau_c is common, since spikes carry it between them.

    Parameters
    ----------
    x : array, shape (image, n_in)
        Calibration inputs of the first layer: activations t_min - t [tau_c]; 0 = silent.
    f : Figures
        Of this technology, at the corner, temperature and supply that the points are for.
    units : int, optional
        Unit devices of W = 1; default: as many as the weights need.

    Raises
    ------
    InputError
        If no operating point holds the bounds: naming layer, neuron, the bound, and what to change.
    """
    if objective not in OBJECTIVES:
        raise InputError(f"unknown objective {objective!r}; choose from {', '.join(OBJECTIVES)}")
    bounds = bounds or Bounds()
    inputs = list(propagate(layers, x))
    keys, grids, counts = [], [], []
    for n, (layer, activations) in enumerate(zip(layers, inputs, strict=True)):
        count = units or _units(layer, activations, technology, bounds)
        while True:
            demand = Demand.of(in_units(layer, count)[0], activations)
            evaluated = worth(demand, technology, f, count, bounds, *_grid(demand, technology, f, bounds))
            if evaluated.passed().any():
                break
            if units or count == technology.transistors().units:
                raise refusal(evaluated, bounds, f, demand, f"layer {n}")
            count //= 2  # a coarser grid of weights, but more current a device
        cost = (evaluated.spread**2 if objective == "spread" else evaluated.energy).mean(axis=-1)
        keys.append(np.where(evaluated.passed(), cost, np.inf))
        grids.append(evaluated.point)
        counts.append(count)
    together = np.sum([key.min(axis=(1, 2)) for key in keys], axis=0)
    if not np.isfinite(together).any():
        raise InputError(
            "every layer has operating points, but at no common tau_c: bring the layers' windows and ranges "
            "of weights closer together, or allow more leakage or delay"
        )
    speed = objective == "speed"
    t = int(np.flatnonzero(np.isfinite(together))[0] if speed else np.argmin(together))
    chosen = []
    for n, (layer, activations) in enumerate(zip(layers, inputs, strict=True)):
        row, column = divmod(int(np.argmin(keys[n][t])), keys[n].shape[2])
        shape = (*keys[n].shape, 1)
        tau, c, s, v_reset = (float(np.broadcast_to(v, shape)[t, row, column, 0]) for v in grids[n])
        point = dataclasses.replace(f.point, tau_c=tau, c_mem=c, i_unit=c * s / tau, v_reset=v_reset)
        chosen.append(
            bias(layer, activations, technology, f, point, units=counts[n], bounds=bounds, name=f"layer {n}")
        )
    return chosen


def _grid(demand: Demand, technology: Technology, f: Figures, bounds: Bounds) -> tuple[Array, Array, Array]:
    """tau_c, C and s_V that are tried, shape (tau, C, s_V, 1)."""
    process = technology.transistors()
    fan_in = float((demand.sources + demand.sinks).max())
    least = (process.fixed_capacitance + fan_in * process.synapse_capacitance) / (1 - DRAWN)
    most = bounds.capacitance * max(f.point.c_mem, least)
    low, high = min(float(demand.low.min()), 0.0), max(float(demand.high.max()), 0.0)
    scale = (f.point.v_high - f.point.v_low) / (max(high - low, 1e-3) * (1 + bounds.margin))
    return (
        (TAUS * f.point.tau_c)[:, None, None, None],
        np.geomspace(least, most, STEPS)[None, :, None, None],
        (scale * SCALES)[None, None, :, None],
    )
