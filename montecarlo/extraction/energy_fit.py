r"""What predicts the supply energy of a neuron: joules by supply and part, per unit of what they go with.

=====================  ==========================================================  =====================
supply, part           energy                                                      coefficient
=====================  ==========================================================  =====================
source, synapse        k V_DD I_u tau_c sum over sources of W (1+e)(g x + delta)   k, 1 in ideal sources
source, slope          k V_DD I_u tau_c B (1+beta) min(s, T)                       k
source, switching      C V_DD^2 a neuron                                           C [F]
comparator, bias       I V_DD tau_c min(s, T)                                      I [A]
comparator, switching  C V_DD^2 a neuron                                           C [F]
latch, switching       C V_DD^2 a spike                                            C [F]
=====================  ==========================================================  =====================

with s the spike time after t_min, the delay included. Sinks take nothing from the supply: they discharge the
membrane. Ideal sources have the first two parts only. Coefficients come from least squares over all neurons
and stimuli; their intervals count neurons, not transients, as independent (sandwich estimator).

Not modeled: the spread of a comparator's bias current from one neuron to the next, which averages out over a
layer.

Source of the intervals: Liang & Zeger, Biometrika 73(1), 13-22 (1986).
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import xarray as xr
from scipy import stats

from circuits.model.closed_form import charges
from circuits.model.layer import Array
from circuits.model.operating_point import OperatingPoint
from montecarlo.extraction.prediction import Devices, activations, stimulus_layer, weights_of

CHARGE, CURRENT, CAPACITANCE = "vdd * i_unit * tau_c per unit charge", "A", "F"
UNITS = {"synapse": CHARGE, "slope": CHARGE, "switching": CAPACITANCE, "bias": CURRENT}
IDEAL_PARTS = (("source", "synapse"), ("source", "slope"))
PARTS = (
    *IDEAL_PARTS,
    ("source", "switching"),
    ("comparator", "bias"),
    ("comparator", "switching"),
    ("latch", "switching"),
)
INPUT = (("source", "synapse"),)
"""Parts of the input window; all others are of the firing window."""


class Coefficient(NamedTuple):
    """A coefficient with its 95 % interval."""

    value: float
    low: float
    high: float


def scale(part: str, point: OperatingPoint) -> float:
    """Joules of a coefficient 1 times a regressor 1 (charge, on-time or count).

    Parameters
    ----------
    part : str
        A key of UNITS.
    """
    per_unit = {CHARGE: point.unit_energy, CURRENT: point.vdd * point.tau_c, CAPACITANCE: point.vdd**2}
    return per_unit[UNITS[part]]


def fit(dataset: xr.Dataset, devices: Devices) -> dict[tuple[str, str], Coefficient]:
    """Coefficients by (supply, part).

    Parameters
    ----------
    dataset : xarray.Dataset
        Good samples.
    devices : Devices
        Theirs.
    """
    dataset = _supplied(dataset)
    regressors = _regressors(dataset, devices)
    result: dict[tuple[str, str], Coefficient] = {}
    for group in _groups(list(regressors)):
        supply, phase = group[0][0], "input" if group[0] in INPUT else "firing"
        energy = dataset["energy"].sel(supply=supply, phase=phase).values
        result |= dict(zip(group, _least_squares(energy, [regressors[p] for p in group]), strict=True))
    return result


def predict(dataset: xr.Dataset, devices: Devices, coefficients: dict[tuple[str, str], Coefficient]) -> Array:
    """Supply energy of every neuron and stimulus [J], shape (sample, stimulus)."""
    regressors = _regressors(_supplied(dataset), devices)
    return sum((coefficients[p].value * r for p, r in regressors.items()), np.zeros(()))


def measured(dataset: xr.Dataset) -> Array:
    """The same as it was measured."""
    return _supplied(dataset)["energy"].sum(("supply", "phase")).values


def _supplied(dataset: xr.Dataset) -> xr.Dataset:
    """Without the stimulus whose test current has a supply of its own."""
    return dataset.isel(stimulus=dataset["stimulus"].values != "reference")


def _groups(parts: list[tuple[str, str]]) -> list[list[tuple[str, str]]]:
    """Parts that one measured energy is made of: those of one supply and window."""
    groups: dict[tuple[str, bool], list[tuple[str, str]]] = {}
    for part in parts:
        groups.setdefault((part[0], part in INPUT), []).append(part)
    return list(groups.values())


def _regressors(dataset: xr.Dataset, devices: Devices) -> dict[tuple[str, str], Array]:
    """Joules per unit coefficient of every part, shape (sample, stimulus)."""
    point = OperatingPoint.from_json(dataset.attrs["operating_point"])
    weights, mismatch, time = weights_of(dataset), devices.mismatch, dataset["spike_time"].values
    sources = stimulus_layer(dataset, np.maximum(weights, 0.0), 0.0)
    constants = replace(devices.constants, feed_through_source=0.0, feed_through_sink=0.0)
    charge = charges(sources, activations(dataset), mismatch, constants)[0].T
    on = np.minimum(time, dataset.attrs["window"])
    values = {
        "synapse": charge,
        "slope": (1.0 + mismatch.slope[0, :, None]) * on,
        "bias": on,
        "switching": np.ones_like(on),
    }
    parts = IDEAL_PARTS if dataset.sizes["supply"] == 1 else PARTS
    regressors = {(supply, part): scale(part, point) * values[part] for supply, part in parts}
    if ("latch", "switching") in regressors:
        regressors["latch", "switching"] = regressors["latch", "switching"] * np.isfinite(time)
    return regressors


def _least_squares(energy: Array, regressors: list[Array]) -> list[Coefficient]:
    """Coefficients of one measured energy (neuron, stimulus), with intervals over neurons."""
    design = np.stack(regressors, axis=-1)
    flat = design.reshape(-1, design.shape[-1])
    size = np.sqrt((flat**2).sum(0))  # so that amperes and farads do not look like rounding
    size = np.where(size > 0, size, 1.0)
    value, *_ = np.linalg.lstsq(flat / size, energy.ravel(), rcond=None)
    residual = energy - (design / size) @ value
    bread = np.linalg.pinv((flat / size).T @ (flat / size))
    score = np.einsum("nsp,ns->np", design / size, residual)
    neurons = len(energy)
    covariance = bread @ (score.T @ score) @ bread * neurons / max(neurons - 1, 1)
    half = stats.t.ppf(0.975, max(neurons - 1, 1)) * np.sqrt(np.diag(covariance))
    rows = zip(value.tolist(), half.tolist(), size.tolist(), strict=True)
    return [Coefficient(v / n, (v - h) / n, (v + h) / n) for v, h, n in rows]
