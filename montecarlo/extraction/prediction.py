"""The devices of every neuron of a campaign, and the spike times, or samples of read-outs, that they predict.

The equation is `circuits.model.closed_form`'s: the samples of a campaign are the neurons of one layer.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from circuits.errors import InputError
from circuits.model.closed_form import IDEAL, Constants, charges, fire, ramp_times, read_out
from circuits.model.layer import Array, Layer, LayerMismatch

REQUIRED = ("synapse", "slope", "threshold", "capacitance")
"""Deviations without which a neuron cannot be predicted; a read-out has those of READ_OUT."""
READ_OUT = ("synapse", "capacitance")
SUM = "sum"
"""Coordinate of synapses that were measured together: the number of their sum."""
LARGEST_LOSS = 0.01
"""Share of neurons that may be left out of a fit."""


@dataclass(frozen=True)
class Extraction:
    """What an extraction shows of the neurons of a campaign."""

    deviations: xr.Dataset
    """`synapse` (sample, synapse), `slope`, `threshold`, `capacitance`, `delay` (sample); NaN = not known.
    `delay` is left out where it cannot be told from the threshold, `slope` and `threshold` of read-outs."""
    constants: Constants = IDEAL
    errors: dict[str, float] = field(
        default_factory=dict
    )  #: standard errors of the constants that were fitted

    @property
    def complete(self) -> np.ndarray:
        """Which neurons are known whole, shape (sample,)."""
        whole = np.isfinite(self.deviations["synapse"].values).all(1)
        for name in self.required[1:]:
            whole = whole & np.isfinite(self.deviations[name].values)
        return whole

    @property
    def required(self) -> tuple[str, ...]:
        """Deviations without which these neurons cannot be predicted."""
        return REQUIRED if "slope" in self.deviations else READ_OUT

    @property
    def mismatch(self) -> LayerMismatch:
        """The samples as the neurons of one layer, arrays (1, sample[, synapse]); unknown delays are zero."""
        arrays = {name: np.zeros((1, self.deviations.sizes["sample"])) for name in REQUIRED}
        arrays |= {name: self.deviations[name].values[None] for name in self.required}
        if "delay" in self.deviations:
            arrays["delay"] = np.nan_to_num(self.deviations["delay"].values)[None]
        return LayerMismatch(**arrays)

    def isel(self, sample: np.ndarray) -> Extraction:
        """Those of some samples, by place."""
        return dataclasses.replace(self, deviations=self.deviations.isel(sample=sample))


def only_complete(dataset: xr.Dataset, devices: Extraction) -> tuple[xr.Dataset, Extraction, int]:
    """Neurons all of whose devices are known, with their devices, and how many are not.

    Those that are not are the extreme ones: leaving out many would bias every sigma.

    Parameters
    ----------
    dataset : xarray.Dataset
        Good samples.
    devices : Extraction
        Theirs.

    Returns
    -------
    dataset, devices, lost

    Raises
    ------
    InputError
        If more than LARGEST_LOSS of them are not known.
    """
    whole = devices.complete
    lost = int(np.sum(~whole))
    if lost > LARGEST_LOSS * len(whole):
        raise InputError(
            f"{lost} of {len(whole)} neurons spiked too early or not at all where the protocol needs them; "
            "sigmas from the rest would be biased: the mismatch is too large for this protocol"
        )
    keep = np.flatnonzero(whole)
    return dataset.isel(sample=keep), devices.isel(keep), lost


def weights_of(dataset: xr.Dataset) -> Array:
    """Nominal weights of every sample, shape (sample, synapse)."""
    return dataset["weight"].values[patterns_of(dataset)]


def plan_of(dataset: xr.Dataset) -> dict[str, Any]:
    """The fields of the plan that a campaign carried out."""
    return json.loads(dataset.attrs["plan"])


def patterns_of(dataset: xr.Dataset) -> np.ndarray:
    """The weight pattern that every sample carries, shape (sample,)."""
    return dataset["sample"].values % dataset.sizes["pattern"]


def spiking(dataset: xr.Dataset) -> bool:
    """Whether the neurons of a campaign spike; False: read-outs."""
    return bool((plan_of(dataset).get("rows") or {}).get("spiking", True))


def stimulus_layer(dataset: xr.Dataset, weights: Array, theta: Array | float) -> Layer:
    """Neurons of a campaign as one layer.

    Parameters
    ----------
    dataset : xarray.Dataset
        A characterization, for its windows.
    weights : array, shape (neuron, synapse)
    theta : float or array, shape (neuron,)
        Thresholds [1]; 0 of read-outs.
    """
    t_min, window = float(dataset.attrs["t_min"]), float(dataset.attrs["window"])
    bias = np.full(len(weights), window) - theta
    return Layer(weights, bias, t_min=t_min, t_max=t_min + window, spiking=spiking(dataset))


def activations(dataset: xr.Dataset, name: str = "input_time") -> Array:
    """x = t_min - t of the inputs, 0 = silent, shape (stimulus, synapse) [tau_c].

    Parameters
    ----------
    dataset : xarray.Dataset
        A characterization.
    name : {"input_time", "pattern_input_time", "nominal_input_time"}
        Of samples, (pattern, stimulus, synapse) of each pattern; or of the runs without mismatch: shape
        (run, synapse).
    """
    times = dataset[name].values
    return np.where(np.isfinite(times), dataset.attrs["t_min"] - times, 0.0)


def groups(dataset: xr.Dataset, neurons: int) -> Iterator[tuple[np.ndarray, Array, Array]]:
    """Neurons that have their inputs in common.

    Parameters
    ----------
    dataset : xarray.Dataset
        A characterization.
    neurons : int
        Its samples, in their order; or any number of neurons, if all samples carry one pattern.

    Yields
    ------
    neurons, x, theta
        Their places; activations (stimulus, synapse) [tau_c]; thresholds (stimulus,) [1].
    """
    if "pattern_input_time" not in dataset:
        yield np.arange(neurons), activations(dataset), dataset["theta"].values
        return
    carried = patterns_of(dataset)
    if neurons != len(carried):
        carried = np.full(neurons, carried[0])
    x = activations(dataset, "pattern_input_time")
    for k in np.unique(carried):
        yield np.flatnonzero(carried == k), x[k], np.full(x.shape[1], dataset["pattern_theta"].values[k])


def part_of(mismatch: LayerMismatch, neurons: np.ndarray) -> LayerMismatch:
    """The same of some neurons of a layer, by place."""
    names = [f.name for f in dataclasses.fields(mismatch)]
    return LayerMismatch(**{name: getattr(mismatch, name)[:, neurons] for name in names})


def charges_of(dataset: xr.Dataset, weights: Array, mismatch: LayerMismatch, constants: Constants) -> Array:
    """Charge at t_min of every neuron under every stimulus, shape (neuron, stimulus).

    Parameters
    ----------
    dataset, weights, mismatch, constants
        As of `spike_times`.
    """
    found = np.empty((len(weights), dataset.sizes["stimulus"]))
    for neurons, x, _ in groups(dataset, len(weights)):
        layer = stimulus_layer(dataset, weights[neurons], 0.0)
        found[neurons] = charges(layer, x, part_of(mismatch, neurons), constants)[0].T
    return found


def spike_times(
    dataset: xr.Dataset,
    weights: Array,
    mismatch: LayerMismatch | None = None,
    constants: Constants = IDEAL,
    *,
    bounded: bool = True,
) -> Array:
    """Predicted spike times under every stimulus of a campaign, after t_min, the delay included.

    Parameters
    ----------
    dataset : xarray.Dataset
        A characterization, for its stimuli.
    weights : array, shape (neuron, synapse)
    mismatch : LayerMismatch, shape (1, neuron), optional
        None: no neuron deviates.
    constants : Constants
        Of the nominal circuit.
    bounded : bool
        0 + d where a neuron is above threshold at t_min, inf where it is silent; else the bare ramp.

    Returns
    -------
    array, shape (neuron, stimulus) [tau_c]
    """
    times = np.empty((len(weights), dataset.sizes["stimulus"]))
    for neurons, inputs, thetas in groups(dataset, len(weights)):
        devices = None if mismatch is None else part_of(mismatch, neurons)
        for s, (x, theta) in enumerate(zip(inputs, thetas, strict=True)):
            layer = stimulus_layer(dataset, weights[neurons], theta)
            ramp = ramp_times(layer, charges(layer, x, devices, constants), devices, constants)
            ramp = ramp if devices is None else ramp[0]
            delay = constants.delays(layer.slope)
            times[neurons, s] = (fire(ramp, layer.window - delay) if bounded else ramp) + delay
    return times


def potentials(
    dataset: xr.Dataset, weights: Array, mismatch: LayerMismatch | None = None, constants: Constants = IDEAL
) -> Array:
    """Predicted potentials that read-outs sample under every stimulus, shape (neuron, stimulus) [1].

    Parameters
    ----------
    dataset, weights, mismatch, constants
        As of `spike_times`.
    """
    values = np.empty((len(weights), dataset.sizes["stimulus"]))
    for neurons, x, _ in groups(dataset, len(weights)):
        devices = None if mismatch is None else part_of(mismatch, neurons)
        layer = stimulus_layer(dataset, weights[neurons], 0.0)
        sampled = read_out(layer, charges(layer, x, devices, constants), devices, constants)
        values[neurons] = (sampled if devices is None else sampled[0]).T
    return values
