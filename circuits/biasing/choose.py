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
from numpy.typing import NDArray

from circuits.benches.phases import Phases
from circuits.benches.synapses import explicit_capacitance
from circuits.biasing.bounds import DRAWN, Bounds, Worth, refusal, worth
from circuits.biasing.cell_figures import Figures
from circuits.biasing.layer_demand import Demand, choose_units, in_units, propagate
from circuits.errors import InputError
from circuits.model.closed_form import IDEAL, Constants
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
    """One layer ready for the benches: its bias numbers, and what they are worth where they were chosen."""

    layer: Layer  #: with weights and slopes in whole unit devices
    technology: Technology  #: with this layer's unit devices
    point: OperatingPoint
    delays: Array  #: (neuron,) expected of the comparator, longer at a slower slope [tau_c]
    constants: Constants = IDEAL  #: of the equation, from the figures of the cells
    worth: Worth | None = None  #: arrays (neuron,)
    rounded: float = 0.0  #: largest change of a weight or slope by whole unit devices
    unreached: int = 0  #: neurons whose threshold lies beyond the swing, and is put at its end
    gm_over_i: tuple[float, float] = (0.0, 0.0)  #: of a unit source and a unit sink [1/V]

    @property
    def delay(self) -> float:
        """The longest delay: by so much the windows shift [tau_c]."""
        return float(self.delays.max())

    @property
    def unit_current(self) -> float:
        """Current of one unit device [A]."""
        return self.point.i_unit / self.technology.transistors().units

    @property
    def phases(self) -> Phases:
        """The firing window is longer by the delay."""
        return Phases.of(self.layer.t_min, self.layer.window + self.delay, self.point.tau_c)

    @property
    def capacitors(self) -> Array:
        """What is drawn, shape (neuron,) [F]."""
        counts, process = np.count_nonzero(self.layer.weights, axis=1), self.technology.transistors()
        return np.array([explicit_capacitance(self.point, int(n), process) for n in counts])

    @property
    def v_th(self) -> Array:
        """Thresholds, shape (neuron,) [V]."""
        return self.point.volts(self.layer.theta if self.layer.spiking else np.zeros(self.layer.n_out))

    @property
    def slope_units(self) -> NDArray[np.int_]:
        """Unit devices of each slope source, shape (neuron,)."""
        return np.rint(self.layer.slope * self.technology.transistors().units).astype(int)


def _units(layer: Layer, x: Array, technology: Technology, bounds: Bounds) -> int:
    return choose_units(layer, x, technology.transistors().units, bounds.most_units, bounds.rounding)


def of_units(technology: Technology, units: int) -> Technology:
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
    with_units = of_units(technology, units)
    delays = np.broadcast_to(evaluated.delay, (layer.n_out,))
    unit, charge = point.i_unit / units, point.i_unit * point.tau_c
    current = np.abs(rounded.weights) * point.i_unit
    gain = np.where(rounded.weights > 0, f.gain("source", current), f.gain("sink", current))
    extra = f.extra(rounded.weights, units) / charge
    # read-outs have neither comparator nor slope source
    kick = f.kick / charge - f.extra(rounded.slope, units) / charge if layer.spiking else 0.0
    return LayerBias(
        layer=rounded,
        technology=with_units,
        point=point,
        delays=delays,
        constants=Constants(
            gain_source=gain,
            gain_sink=gain,
            gain_slope=f.gain("slope", rounded.slope * point.i_unit),
            feed_through_source=extra,
            feed_through_sink=extra,
            kick=kick,
            leakage=evaluated.leakage,
            delay=delays,
        ),
        worth=evaluated,
        rounded=change,
        unreached=int(unreached.sum()) if layer.spiking else 0,
        gm_over_i=(float(f.gm_over_i(1, unit)), float(f.gm_over_i(-1, unit))),
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
