r"""Operating points and nominal runs of a campaign -> deviations of devices, and systematic constants.

The frozen deviations e, beta, o, c of every neuron were measured at operating points. The constants come from
the runs without mismatch alone, by least squares: at B = 1 the spike time is linear in them, so the column of
a constant is what `circuits.model.closed_form` changes when it goes from 0 to 1. Only the bend b Q^2 is of a
charge that the other constants make: its column is worked out again with what was fitted.

Such runs only tell the sum of delay and kick. The delay is what transients show from a comparator's trip
voltage to its spike, mean over samples, or in a layer of a network that by which its windows are shifted; the
kick is the rest. Only ramps that take longer than two delays count here: what comes earlier of others shows
early_1 to early_3. The deviation of a neuron's delay is what its transients leave, on average; how it comes
about: `montecarlo.extraction.delay_law`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import xarray as xr

from circuits.benches.testbench import EDGE
from circuits.errors import InputError
from circuits.model.closed_form import Constants, charges, ramp_times
from circuits.model.layer import Array
from montecarlo.extraction.prediction import (
    REQUIRED,
    Extraction,
    activations,
    plan_of,
    spike_times,
    stimulus_layer,
    weights_of,
)

FITTED = (
    "theta_scale",
    "kick",
    "gain_source",
    "gain_sink",
    "turn_on_source",
    "turn_on_sink",
    "feed_through_source",
    "feed_through_sink",
    "bend_theta",
    "bend_charge",
)
BEND, PASSES = FITTED.index("bend_charge"), 6
"""Its column; fits, of which each is some fifty times closer to the end."""
EARLY = ("early_1", "early_2", "early_3")
EARLIEST, LEAST_EARLY = 0.4, 8
"""Ramps that cross sooner, in delays, say nothing (their spikes count from t_min); runs that are needed."""
SHORTEST = 2 * EDGE
"""Pulses that `circuits.benches.synapses.attach` does not send [tau_c]."""
NOTHING = Constants(theta_scale=0.0, gain_source=0.0, gain_sink=0.0, shortest=SHORTEST)
"""A circuit that does nothing but ramp; leakage is counted in the kick."""


def extract(dataset: xr.Dataset) -> Extraction:
    """Deviations and constants of a campaign of transistors.

    Parameters
    ----------
    dataset : xarray.Dataset
        A characterization (see `montecarlo.campaign.schema`), of good samples.
    """
    constants, errors = systematic(dataset)
    deviations = xr.Dataset({name: dataset[f"deviation_{name}"] for name in REQUIRED})
    devices = Extraction(deviations, constants, errors)
    known = devices.complete
    late = np.full(len(known), np.nan)
    some = dataset.isel(sample=np.flatnonzero(known))
    mismatch = devices.isel(np.flatnonzero(known)).mismatch
    predicted = spike_times(some, weights_of(some), mismatch, constants, bounded=False)
    time = some["spike_time"].values
    settled = _inside(time) & (predicted > 3.0 * constants.delay)
    count = np.maximum(settled.sum(axis=1), 1)
    left = np.where(settled, time, 0.0) - np.where(settled, predicted, 0.0)
    late[known] = np.where(settled.any(axis=1), left.sum(axis=1) / count, np.nan)
    return replace(devices, deviations=deviations.assign(delay=("sample", late)))


def systematic(dataset: xr.Dataset) -> tuple[Constants, dict[str, float]]:
    """Constants of the nominal circuit, and their standard errors.

    Raises
    ------
    InputError
        If too few runs without mismatch fired, or they do not tell all constants of a test neuron apart.
    """
    time = dataset["nominal_spike_time"].values if "nominal_spike_time" in dataset else np.empty(0)
    fired = _inside(time)
    least = 2 * len(FITTED) + 2
    if fired.sum() < least:
        raise InputError(
            f"{fired.sum()} of {len(time)} runs without mismatch fired; {least} are needed for the "
            "systematic constants (the points of a sweep have none: characterize at that condition with --at)"
        )
    delay = _delay(dataset)
    unbent = replace(NOTHING, gain_source=1.0, gain_sink=1.0)
    columns = np.stack(
        [_bend(dataset, unbent) if name == "bend_charge" else _column(dataset, name) for name in FITTED],
        axis=1,
    )
    settled = fired & (time > 3.0 * delay.value)
    if settled.sum() < least:
        settled = fired
    y, of_layer = time[settled], plan_of(dataset).get("rows") is not None
    usual = np.array([getattr(Constants(), name) for name in FITTED])
    usual[FITTED.index("kick")] = delay.value
    for _ in range(PASSES):
        a = columns[settled]
        # from the ideal neuron on: what a layer of few neurons does not tell apart stays as it is there
        left, _, rank, _ = np.linalg.lstsq(a, y - a @ usual, rcond=None)
        value = usual + left
        if rank < len(FITTED) and not of_layer:
            raise InputError(
                "the runs without mismatch do not tell all systematic constants apart; use more synapses"
            )
        columns[:, BEND] = _bend(dataset, Constants(**dict(zip(FITTED, value.tolist(), strict=True))))
    residual = y - a @ value
    variance = residual @ residual / (len(y) - len(value))
    error = np.sqrt(np.diag(np.linalg.pinv(a.T @ a)) * variance)
    fitted = dict(zip(FITTED, value.tolist(), strict=True))
    errors = dict(zip(FITTED, error.tolist(), strict=True)) | {"delay": delay.error}
    fitted |= {"delay": delay.value, "kick": fitted["kick"] - delay.value}
    errors["kick"] = float(np.hypot(errors["kick"], delay.error))
    constants = Constants(**fitted, shortest=SHORTEST)
    early, doubt = _early(columns @ value - delay.value, time - delay.value, fired, constants)
    return replace(constants, **early), errors | doubt | {"shortest": 0.0}


def _column(dataset: xr.Dataset, name: str) -> Array:
    """What a constant does to the times of the runs without mismatch, per unit, shape (run,)."""
    return _nominal_times(dataset, replace(NOTHING, **{name: 1.0}))


def _bend(dataset: xr.Dataset, constants: Constants) -> Array:
    """The same of bend_charge, where the other constants make the charge."""
    charge_only = replace(
        constants, theta_scale=0.0, kick=0.0, bend_theta=0.0, bend_charge=0.0, shortest=SHORTEST
    )
    return _nominal_times(dataset, replace(charge_only, bend_charge=1.0)) - _nominal_times(
        dataset, charge_only
    )


class _Delay(NamedTuple):
    value: float  #: [tau_c]
    error: float


def _delay(dataset: xr.Dataset) -> _Delay:
    """Of the nominal comparator, as far as it is told from the kick."""
    if rows := plan_of(dataset).get("rows"):
        return _Delay(float(rows["delay"]), 0.0)
    delay = np.nanmean(
        np.where(np.isfinite(dataset["delay"].values), dataset["delay"].values, np.nan), axis=1
    )
    delay = delay[np.isfinite(delay)]
    return _Delay(float(delay.mean()), float(delay.std(ddof=1) / np.sqrt(len(delay))))


def _early(
    ramp: Array, after: Array, fired: np.ndarray, constants: Constants
) -> tuple[dict[str, float], dict[str, float]]:
    """What spikes come earlier of comparators that are overdriven at t_min, and its standard errors.

    Parameters
    ----------
    ramp, after : array, shape (run,)
        When the ramps cross, and the spikes less the delay [tau_c].
    fired : array of bool, shape (run,)
    constants : Constants
        Without early_1 to early_3.
    """
    near = fired & (ramp > EARLIEST * constants.delay) & (ramp < 2.0 * constants.delay)
    if near.sum() < LEAST_EARLY or not constants.delay > 0:
        return {}, {}
    a, y = np.stack(constants.hats(ramp[near]), axis=1), (ramp - after)[near]
    value, _, rank, _ = np.linalg.lstsq(a, y, rcond=None)
    if rank < a.shape[1]:
        return {}, {}
    residual = y - a @ value
    error = np.sqrt(np.diag(np.linalg.inv(a.T @ a)) * (residual @ residual) / (len(y) - len(value)))
    return dict(zip(EARLY, value.tolist(), strict=True)), dict(zip(EARLY, error.tolist(), strict=True))


def nominal_residual(dataset: xr.Dataset, constants: Constants) -> Array:
    """Spike times of the runs without mismatch less their prediction, shape (run,) [tau_c].

    Parameters
    ----------
    dataset : xarray.Dataset
        A characterization; runs that did not fire on the ramp are left out.
    constants : Constants
    """
    time = dataset["nominal_spike_time"].values
    delay = float(constants.delay)
    predicted = np.maximum(_nominal_times(dataset, constants), 0.0)
    return (np.maximum(time - delay, 0.0) - predicted)[_inside(time)]


def _nominal_times(dataset: xr.Dataset, constants: Constants) -> Array:
    """Ramp of every run without mismatch, shape (run,); run k is neuron k under input k."""
    layer = stimulus_layer(dataset, dataset["nominal_weight"].values, dataset["nominal_theta"].values)
    charge = np.diagonal(charges(layer, activations(dataset, "nominal_input_time"), None, constants))
    return ramp_times(layer, charge, None, constants)


def _inside(time: Array) -> np.ndarray:
    """Which spikes fell on the ramp."""
    return np.isfinite(time) & (time > 0)
