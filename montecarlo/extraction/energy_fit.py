r"""What predicts the supply energy of a neuron: joules by supply and part, per unit of what they go with.

=====================  ==========================================================  =====================
supply, part           energy                                                      coefficient
=====================  ==========================================================  =====================
source, synapse        k V_DD I_u tau_c sum over sources W ((1+e) g x + delta)     k, 1 in ideal sources
source, slope          k V_DD I_u tau_c B (1+beta) min(s, T)                       k
source, switching      C V_DD^2 a neuron                                           C [F]
comparator, bias       I V_DD tau_c min(s, T)                                      I [A]
comparator, switching  C V_DD^2 a neuron                                           C [F]
latch, switching       C V_DD^2 a spike                                            C [F]
reference, bias        I V_DD tau_c (T_in + T) a layer, once for all its neurons   I [A], known
=====================  ==========================================================  =====================

with s the spike time after t_min, the delay included. Sinks take nothing from the supply: they discharge the
membrane. Ideal sources have the first two parts only. A comparator's bias current differs from one neuron to
the next (by 14 % on generic130): each neuron has a factor of its own with mean 1, so that coefficients are
those of the mean neuron. Least squares over all neurons and stimuli; intervals by the grouped jackknife over
neurons.

Nothing is fitted to the last row: the references' current is what the circuit is given
(`circuits.benches.bias_lines.reference_current`), and no neuron's supply shows it. Read-outs have the rows of
READ_OUT and the references of their synapses.

Not modeled: that factor in predictions; it averages out over a layer.

Source of the intervals: Tukey, Ann. Math. Stat. 29, 614 (1958).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import xarray as xr
from scipy import stats

from circuits.model.layer import Array
from circuits.model.operating_point import OperatingPoint
from montecarlo.extraction.prediction import Extraction, charges_of, spiking, weights_of

CHARGE, CURRENT, CAPACITANCE = "vdd * i_unit * tau_c per unit charge", "A", "F"
UNITS = {"synapse": CHARGE, "slope": CHARGE, "switching": CAPACITANCE, "bias": CURRENT}
IDEAL_PARTS = (("source", "synapse"), ("source", "slope"))
READ_OUT = (("source", "synapse"), ("source", "switching"))
"""Of a read-out, which has no slope source, comparator or latch."""
FITTED = (
    *IDEAL_PARTS,
    ("source", "switching"),
    ("comparator", "bias"),
    ("comparator", "switching"),
    ("latch", "switching"),
)
REFERENCE = ("reference", "bias")
PARTS = (*FITTED, REFERENCE)
INPUT = (("source", "synapse"),)
"""Parts of the input window; all others are of the firing window."""
ROUNDS = 20
"""Of alternating least squares: currents that differ by 20 % converge to 1e-4 within ten."""
GROUPS = 50
"""Of the jackknife."""
Part = tuple[str, str]
"""Supply and part."""


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
    point : OperatingPoint
        Sets volts, amperes and seconds.
    """
    per_unit = {CHARGE: point.unit_energy, CURRENT: point.vdd * point.tau_c, CAPACITANCE: point.vdd**2}
    return per_unit[UNITS[part]]


def fit(dataset: xr.Dataset, devices: Extraction) -> dict[Part, Coefficient]:
    """Coefficients by (supply, part), with jackknife intervals over neurons.

    Parameters
    ----------
    dataset : xarray.Dataset
        Good samples.
    devices : Extraction
        Theirs.
    """
    whole = estimates(dataset, devices)
    samples = dataset.sizes["sample"]
    groups = np.array_split(np.arange(samples), min(GROUPS, samples))
    rest = [np.setdiff1d(np.arange(samples), group) for group in groups]
    without = [estimates(dataset.isel(sample=keep), devices.isel(keep)) for keep in rest]
    result = {}
    for part, value in whole.items():
        others = np.array([w[part] for w in without])
        error = np.sqrt((len(groups) - 1) * others.var())
        half = float(stats.t.ppf(0.975, len(groups) - 1) * error)
        result[part] = Coefficient(value, value - half, value + half)
    return result


def estimates(dataset: xr.Dataset, devices: Extraction) -> dict[Part, float]:
    """The coefficients alone, by (supply, part) in the units of UNITS.

    Parameters
    ----------
    dataset : xarray.Dataset
        Good samples.
    devices : Extraction
        Theirs.
    """
    dataset = _supplied(dataset)
    regressors = _regressors(dataset, devices)
    result: dict[Part, float] = {}
    for group in _groups(list(regressors)):
        supply, phase = group[0][0], "input" if group[0] in INPUT else "firing"
        energy = dataset["energy"].sel(supply=supply, phase=phase).values
        design = np.stack([regressors[part] for part in group], axis=-1)
        result |= dict(zip(group, _least_squares(energy, design).tolist(), strict=True))
    return result


def predict(dataset: xr.Dataset, devices: Extraction, coefficients: Mapping[Part, float]) -> Array:
    """Supply energy of every neuron and stimulus, shape (sample, stimulus) [J].

    Parameters
    ----------
    dataset : xarray.Dataset
        Good samples.
    devices : Extraction
        Theirs.
    coefficients : mapping
        From `estimates`.
    """
    regressors = _regressors(_supplied(dataset), devices)
    return sum((coefficients[part] * r for part, r in regressors.items()), np.zeros(()))


def measured(dataset: xr.Dataset) -> Array:
    """The same as it was measured."""
    return _supplied(dataset)["energy"].sum(("supply", "phase")).values


def _supplied(dataset: xr.Dataset) -> xr.Dataset:
    """Without the stimulus whose test current has a supply of its own."""
    return dataset.isel(stimulus=dataset["stimulus"].values != "reference")


def _groups(parts: list[Part]) -> list[list[Part]]:
    """Parts that one measured energy is made of: those of one supply and window."""
    groups: dict[tuple[str, bool], list[Part]] = {}
    for part in parts:
        groups.setdefault((part[0], part in INPUT), []).append(part)
    return list(groups.values())


def _regressors(dataset: xr.Dataset, devices: Extraction) -> dict[Part, Array]:
    """Joules per unit coefficient of every part, shape (sample, stimulus)."""
    point = OperatingPoint.from_json(dataset.attrs["operating_point"])
    weights, mismatch, time = weights_of(dataset), devices.mismatch, dataset["spike_time"].values
    constants = replace(devices.constants, feed_through_source=0.0, feed_through_sink=0.0)
    charge = charges_of(dataset, np.maximum(weights, 0.0), mismatch, constants)
    on = np.minimum(time, dataset.attrs["window"])
    values = {
        "synapse": charge,
        "slope": (1.0 + mismatch.slope[0, :, None]) * on,
        "bias": on,
        "switching": np.ones_like(on),
    }
    parts = IDEAL_PARTS if dataset.sizes["supply"] == 1 else FITTED
    parts = parts if spiking(dataset) else READ_OUT
    regressors = {(supply, part): scale(part, point) * values[part] for supply, part in parts}
    if ("latch", "switching") in regressors:
        regressors["latch", "switching"] = regressors["latch", "switching"] * np.isfinite(time)
    return regressors


def _least_squares(energy: Array, design: Array) -> Array:
    """Coefficients common to all neurons, each of which has a factor of its own with mean 1: alternating.

    Parameters
    ----------
    energy : array, shape (neuron, stimulus)
    design : array, shape (neuron, stimulus, part)
    """
    size = np.sqrt((design**2).sum((0, 1)))  # so that amperes and farads do not look like rounding
    size = np.where(size > 0, size, 1.0)
    factor = np.ones(len(energy))
    value: Array = np.zeros(len(size))
    for _ in range(ROUNDS):
        scaled = (design / size * factor[:, None, None]).reshape(-1, len(size))
        before, value = value, np.linalg.lstsq(scaled, energy.ravel(), rcond=None)[0].astype(float)
        if np.allclose(value, before, rtol=1e-9, atol=0.0):
            break
        model = design / size @ value
        weight = (model**2).sum(1)
        factor = np.where(weight > 0, (energy * model).sum(1) / np.where(weight > 0, weight, 1.0), 1.0)
        factor = factor / factor.mean()
    return value / size
