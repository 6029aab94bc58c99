r"""Operating points and nominal runs of a campaign -> deviations of devices, and systematic constants.

The frozen deviations e, beta, o, c of every neuron were measured at operating points. The constants come from
the runs without mismatch alone, by least squares: at B = 1 the spike time is linear in them, so the column of
a constant is what `circuits.model.closed_form` changes when it goes from 0 to 1.

Such runs only tell the sum of delay and kick. The delay is what transients show from a comparator's trip
voltage to its spike, mean over samples; the kick is the rest. The deviation of a neuron's delay is what its
first transient leaves: a number that acts alike under every stimulus.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import xarray as xr

from circuits.errors import InputError
from circuits.model.closed_form import Constants, charges, ramp_times
from circuits.model.layer import Array
from montecarlo.extraction.prediction import (
    REQUIRED,
    Extraction,
    activations,
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
)
NOTHING = Constants(theta_scale=0.0, gain_source=0.0, gain_sink=0.0)
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
    first = dataset.isel(sample=np.flatnonzero(known), stimulus=[0])
    predicted = spike_times(
        first, weights_of(first), devices.isel(np.flatnonzero(known)).mismatch, constants, bounded=False
    )
    late[known] = np.where(
        _inside(first["spike_time"].values), first["spike_time"].values - predicted, np.nan
    )[:, 0]
    return replace(devices, deviations=deviations.assign(delay=("sample", late)))


def systematic(dataset: xr.Dataset) -> tuple[Constants, dict[str, float]]:
    """Constants of the nominal circuit, and their standard errors.

    Raises
    ------
    InputError
        If too few runs without mismatch fired, or they do not tell all constants apart.
    """
    time = dataset["nominal_spike_time"].values if "nominal_spike_time" in dataset else np.empty(0)
    fired = _inside(time)
    least = 2 * len(FITTED) + 2
    if fired.sum() < least:
        raise InputError(
            f"{fired.sum()} of {len(time)} runs without mismatch fired; {least} are needed for the "
            "systematic constants (the points of a sweep have none: characterize at that condition with --at)"
        )
    columns = np.stack([_nominal_times(dataset, replace(NOTHING, **{n: 1.0})) for n in FITTED], axis=1)
    a, y = columns[fired], time[fired]
    value, _, rank, _ = np.linalg.lstsq(a, y, rcond=None)
    if rank < len(FITTED):
        raise InputError(
            "the runs without mismatch do not tell all systematic constants apart; use more synapses"
        )
    residual = y - a @ value
    variance = residual @ residual / (len(y) - len(value))
    error = np.sqrt(np.diag(np.linalg.inv(a.T @ a)) * variance)
    fitted = dict(zip(FITTED, value.tolist(), strict=True))
    errors = dict(zip(FITTED, error.tolist(), strict=True))
    delay = np.nanmean(
        np.where(np.isfinite(dataset["delay"].values), dataset["delay"].values, np.nan), axis=1
    )
    delay = delay[np.isfinite(delay)]
    errors["delay"] = float(delay.std(ddof=1) / np.sqrt(len(delay)))
    fitted |= {"delay": float(delay.mean()), "kick": fitted["kick"] - float(delay.mean())}
    errors["kick"] = float(np.hypot(errors["kick"], errors["delay"]))
    return Constants(**fitted), errors


def nominal_residual(dataset: xr.Dataset, constants: Constants) -> Array:
    """Spike times of the runs without mismatch less their prediction, shape (run,) [tau_c].

    Parameters
    ----------
    dataset : xarray.Dataset
        A characterization; runs that did not fire on the ramp are left out.
    constants : Constants
    """
    time = dataset["nominal_spike_time"].values
    return (time - _nominal_times(dataset, constants) - constants.delay)[_inside(time)]


def _nominal_times(dataset: xr.Dataset, constants: Constants) -> Array:
    """Ramp of every run without mismatch, shape (run,); run k is neuron k under input k."""
    layer = stimulus_layer(dataset, dataset["nominal_weight"].values, dataset["nominal_theta"].values)
    charge = np.diagonal(charges(layer, activations(dataset, "nominal_input_time"), None, constants))
    return ramp_times(layer, charge, None, constants)


def _inside(time: Array) -> np.ndarray:
    """Which spikes fell on the ramp."""
    return np.isfinite(time) & (time > 0)
