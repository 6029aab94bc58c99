r"""Nominal runs of a campaign of read-outs -> systematic constants, by least squares on what is sampled.

.. math:: u = Q - b\,Q^2 - v, \qquad
          Q = \sum_{j:\,x_j>0} \left[ W_j (g_\pm x_j + \delta_\pm) + \kappa_\pm \right]

is linear in every constant but b; the column of b is that of the charge of the last round. Deviations e and c
were measured at operating points, or drawn. A read-out has no threshold, slope, delay: nothing of them is
here. Leakage is counted in the kick v.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import xarray as xr

from circuits.errors import InputError
from circuits.model.closed_form import Constants, charges, read_out
from circuits.model.layer import Array
from montecarlo.extraction.from_operating_points import SHORTEST
from montecarlo.extraction.prediction import READ_OUT, Extraction, activations, stimulus_layer

LINEAR = (
    "kick",
    "gain_source",
    "gain_sink",
    "turn_on_source",
    "turn_on_sink",
    "feed_through_source",
    "feed_through_sink",
)
BEND = "bend_charge"
FITTED = (*LINEAR, BEND)
ROUNDS = 4
"""b moves the potential by a hundredth: the second round has converged to 1e-4 of that."""
NOTHING = Constants(gain_source=0.0, gain_sink=0.0, shortest=SHORTEST)
"""A membrane that nothing charges."""


def extract(dataset: xr.Dataset) -> Extraction:
    """Deviations and constants of a campaign of read-outs.

    Parameters
    ----------
    dataset : xarray.Dataset
        A characterization (see `montecarlo.campaign.schema`), of good samples.
    """
    constants, errors = systematic(dataset)
    deviations = xr.Dataset({name: dataset[f"deviation_{name}"] for name in READ_OUT})
    return Extraction(deviations, constants, errors)


def systematic(dataset: xr.Dataset) -> tuple[Constants, dict[str, float]]:
    """Constants of the nominal circuit, and their standard errors.

    Raises
    ------
    InputError
        If there are too few runs without mismatch, or they do not tell all constants apart.
    """
    sampled = dataset["nominal_v_t_min"].values if "nominal_v_t_min" in dataset else np.empty(0)
    good, least = np.isfinite(sampled), 2 * len(FITTED)
    if good.sum() < least:
        raise InputError(
            f"{good.sum()} of {len(sampled)} runs without mismatch were measured; {least} are needed for the "
            "systematic constants of a read-out"
        )
    columns, y = [_potentials(dataset, replace(NOTHING, **{k: 1.0}))[good] for k in LINEAR], sampled[good]
    constants = Constants(shortest=SHORTEST)
    for _ in range(ROUNDS):
        bend = -(_potentials(dataset, replace(constants, bend_charge=0.0, kick=0.0))[good] ** 2)
        a = np.stack([*columns, bend], axis=1)
        value, _, rank, _ = np.linalg.lstsq(a, y, rcond=None)
        if rank < len(FITTED):
            raise InputError(
                "the runs without mismatch do not tell all systematic constants of a read-out apart; use "
                "more synapses, sources and sinks"
            )
        constants = Constants(**dict(zip(FITTED, value.tolist(), strict=True)), shortest=SHORTEST)
    residual = y - a @ value
    variance = residual @ residual / (len(y) - len(value))
    error = np.sqrt(np.diag(np.linalg.inv(a.T @ a)) * variance)
    return constants, dict(zip(FITTED, error.tolist(), strict=True)) | {"shortest": 0.0}


def nominal_residual(dataset: xr.Dataset, constants: Constants) -> Array:
    """Samples of the runs without mismatch less their prediction, shape (run,) [1].

    Parameters
    ----------
    dataset : xarray.Dataset
        A characterization of read-outs; runs that failed are left out.
    constants : Constants
    """
    sampled = dataset["nominal_v_t_min"].values
    return (sampled - _potentials(dataset, constants))[np.isfinite(sampled)]


def _potentials(dataset: xr.Dataset, constants: Constants) -> Array:
    """Of every run without mismatch, shape (run,); run k is neuron k under input k."""
    layer = stimulus_layer(dataset, dataset["nominal_weight"].values, 0.0)
    charge = np.diagonal(charges(layer, activations(dataset, "nominal_input_time"), None, constants))
    return read_out(layer, charge, None, constants)
