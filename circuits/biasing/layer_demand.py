"""What a layer asks of its circuit: ranges and charges over calibration data, weights in whole unit devices.

All unit-free. Calibration data are activations x = t_min - t of the inputs, shape (image, n_in), 0 = silent.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from circuits.errors import InputError
from circuits.model.closed_form import charges, fire, ramp_times, trajectory_range
from circuits.model.coding import decode, relative
from circuits.model.layer import Array, Layer

BEYOND = 1.5
"""Thresholds up to so many times the highest potential of a layer have room in its swing; those above lie
at its end, where no input that stays in the swing reaches them."""


@dataclass(frozen=True)
class Demand:
    """What calibration data ask of a layer, unit-free. Arrays (neuron,)."""

    low: Array  #: lowest potential over phase 1 of any input, partial sums included
    high: Array  #: highest, the threshold and the ramp of a silent neuron included
    sources: Array  #: synapses with W > 0
    sinks: Array
    moved: Array  #: mean charge through the membrane, sum |W| x + B t
    supplied: Array  #: mean charge from the supply, sum over W > 0 of W x + B t
    waiting: Array  #: mean time that the comparator runs [tau_c]
    squared: Array  #: mean of sum |W| x^2 + B t^2
    fired: Array  #: share of inputs with a spike
    theta: Array
    slope: Array
    largest: float  #: weight or slope
    windows: float  #: both together [tau_c]

    @classmethod
    def of(cls, layer: Layer, x: Array) -> Demand:
        """What a layer asks for.

        Parameters
        ----------
        x : array, shape (image, n_in), activations t_min - t of the inputs [tau_c]; 0 = silent
        """
        low, high = trajectory_range(layer, x)
        charge = charges(layer, x)
        late = fire(ramp_times(layer, charge), layer.window)
        ramp = np.minimum(late, layer.window) if layer.spiking else np.zeros_like(charge)
        top = high.max(axis=0)
        if layer.spiking:  # room for thresholds that no calibration input has reached, but others may
            top = np.maximum(top, np.minimum(layer.theta, BEYOND * max(float(top.max()), 0.0)))
        return cls(
            low=low.min(axis=0),
            high=top,
            sources=(layer.weights > 0).sum(axis=1),
            sinks=(layer.weights < 0).sum(axis=1),
            moved=(x @ np.abs(layer.weights).T + layer.slope * ramp).mean(axis=0),
            supplied=(x @ np.maximum(layer.weights, 0).T + layer.slope * ramp).mean(axis=0),
            waiting=ramp.mean(axis=0),
            squared=(x**2 @ np.abs(layer.weights).T + layer.slope * ramp**2).mean(axis=0),
            fired=np.isfinite(late).mean(axis=0) if layer.spiking else np.zeros(layer.n_out),
            theta=layer.theta if layer.spiking else np.zeros(layer.n_out),
            slope=layer.slope if layer.spiking else np.zeros(layer.n_out),
            largest=float(max(np.abs(layer.weights).max(), layer.slope.max() if layer.spiking else 0.0)),
            windows=layer.t_min + layer.window,
        )


def propagate(layers: Sequence[Layer], x: Array) -> Iterator[Array]:
    """Ideal activations at the input of each layer.

    Parameters
    ----------
    x : array, shape (image, n_in), those of the first layer [tau_c]

    Raises
    ------
    InputError
        If they do not fit a layer, or lie outside 0..t_min.
    """
    for layer in layers:
        if x.ndim != 2 or x.shape[1] != layer.n_in or not np.all((x >= 0) & (x <= layer.t_min * (1 + 1e-9))):
            raise InputError(
                f"calibration inputs must be (image, {layer.n_in}) activations in 0..{layer.t_min:g} tau_c, "
                f"got shape {x.shape} with values in {np.min(x, initial=0):g}..{np.max(x, initial=0):g}"
            )
        yield x
        delay = fire(ramp_times(layer, charges(layer, x)), layer.window)
        x = relative(decode(delay, layer.window), layer.dummies)


def in_units(layer: Layer, units: int) -> tuple[Layer, float]:
    """Weights and slopes in whole unit devices, thresholds kept, and the largest change.

    Parameters
    ----------
    units : unit devices of W = 1
    """
    weights = np.rint(layer.weights * units) / units
    slope = np.maximum(np.rint(layer.slope * units), 1) / units
    bias = layer.window - layer.theta / slope if layer.spiking else layer.bias
    change = max(np.abs(weights - layer.weights).max(), np.abs(slope - layer.slope).max())
    return dataclasses.replace(layer, weights=weights, slope=slope, bias=bias), float(change)


def choose_units(layer: Layer, x: Array, least: int, most: int, rounding: float) -> int:
    """Unit devices of W = 1: least times a power of two, as few as the weights need, at the most `most`.

    Parameters
    ----------
    rounding : float
        What the rounding of weights may change of a neuron's potential at t_min, rms over inputs.
    """
    units = least
    while 2 * units <= most:
        moved = x @ (in_units(layer, units)[0].weights - layer.weights).T
        if np.sqrt((moved**2).mean(axis=0)).max() <= rounding:
            break
        units *= 2
    return units
