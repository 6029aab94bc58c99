r"""How the devices of a campaign are spread: one column of numbers a term, and the law that they make.

Terms that multiply are columns of ln(1 + deviation), those that add (threshold, delay, jitter) of the
deviation itself. Where a synapse is made of unit devices in parallel, sigma(W) = sigma / sqrt(|W|): its
column is scaled to W = 1.

Synapses that were measured together, as a sum, make one number, scaled to the spread of one of them,

.. math:: \ln(1 + e) = m + \Big(\ln \frac{\sum_j W_j (1 + e_j)}{\sum_j W_j} - m\Big)
          \frac{f_1 \sum_j |W_j|}{\sqrt{\sum_j W_j^2 f_j^2}}

with f_j = sigma(W_j) / sigma, and m the mean of all. Sums are nearly normal whatever their parts are.

References are common to a layer. Those of mirrors multiply currents; that of the comparators' tails delays
all its spikes,

.. math:: t_d \propto I_{tail}^{-1/2}, \qquad \sigma = \tfrac12\,t_d\,\sigma(\ln I_{tail})

(measured: exponents -0.53, -0.50 and -0.52 on generic130, gf180mcu and sky130). The starve line is known but
not in the law: of a reference's sigma, 4 to 10 %, a spike moves by less than 2e-4 tau_c.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import xarray as xr

from circuits.model.layer import Array
from circuits.pdk.technology import Technology
from montecarlo.extraction.prediction import SUM, Extraction, plan_of, spiking, weights_of
from montecarlo.mismatch.law import OFFSETS, TERMS, MismatchLaw
from montecarlo.statistics.intervals import mean_interval

FROZEN = (*TERMS, "delay")
LINES = {
    "source": "synapse_source",
    "sink": "synapse_sink",
    "slope": "slope",
    "tail": "delay",
    "starve": None,
}
"""Bias line -> the term that it is common to; None: not in the law."""
TAIL_EXPONENT = -0.5
"""Of the comparator's delay, over its tail current."""


class Spread(NamedTuple):
    """Standard deviation and mean of a term."""

    std: float
    mean: float
    mean_low: float  #: 95 % interval of the mean
    mean_high: float


def unit_devices(dataset: xr.Dataset) -> int | None:
    """Unit devices of a synapse with W = 1; None: a synapse's sigma does not depend on W."""
    plan, process = plan_of(dataset), Technology.load(dataset.attrs["technology"]).process
    if plan.get("rows"):
        return int(plan["rows"]["units"])
    return plan["law"].get("units") if process is None else process.units


def columns(dataset: xr.Dataset, devices: Extraction) -> dict[str, Array]:
    """Values by term, shape (sample,) or (sample, synapse); NaN = not known, or of another term.

    Terms of which there is nothing are left out: sinks of a neuron with one synapse, delays of ideal
    comparators.

    Parameters
    ----------
    dataset : xarray.Dataset
        A characterization.
    devices : Extraction
        Of its samples.
    """
    weights, deviations = weights_of(dataset), devices.deviations
    synapse = np.log1p(deviations["synapse"].values)
    if SUM in deviations.coords:
        synapse = _of_sums(synapse, weights, deviations[SUM].values, unit_devices(dataset))
    values = {
        "synapse_source": np.where(weights > 0, synapse, np.nan),
        "synapse_sink": np.where(weights < 0, synapse, np.nan),
    }
    for name in ("slope", "threshold", "capacitance", "delay"):
        if name in deviations:
            column = deviations[name].values
            values[name] = column if name in OFFSETS else np.log1p(column)
    return {name: column for name, column in values.items() if np.isfinite(column).any()}


def _of_sums(values: Array, weights: Array, sums: np.ndarray, units: int | None) -> Array:
    """One number a sum, at its first synapse, as if that had been measured alone; all others are NaN."""
    _, first, member = np.unique(sums, return_index=True, return_inverse=True)
    of_sum = np.equal.outer(member, np.arange(len(first))).astype(float)
    single = weights * per_unit(np.ones_like(weights), weights, units) ** -1.0
    factor = (np.abs(weights) @ of_sum) / np.sqrt(single**2 @ of_sum)
    factor *= np.abs(single[:, first] / weights[:, first])
    result = np.full_like(values, np.nan)
    for sign in (1, -1):
        of_sign = np.sign(weights[:, first]) == sign
        own = values[:, first][of_sign]
        mean = np.nanmean(own) if np.isfinite(own).any() else 0.0
        scaled = mean + (values[:, first] - mean) * factor
        result[:, first] = np.where(of_sign, scaled, result[:, first])
    return result


def per_unit(values: Array, weights: Array, units: int | None) -> Array:
    """A column of synapses as it would be at W = 1; others, and ideal sources, as they are.

    Parameters
    ----------
    values, weights : array, shape (sample, synapse)
    units : int, optional
        Unit devices of W = 1.
    """
    if units is None or values.ndim == 1:
        return values
    return values * np.sqrt(np.maximum(np.abs(weights), 1.0 / units))


def reference_columns(dataset: xr.Dataset) -> dict[str, Array]:
    """ln(1 + deviation) of all currents of each bias line, shape (sample,); nothing without bias lines.

    A read-out needs those of its synapses only.
    """
    if "deviation_reference" not in dataset:
        return {}
    values, all_lines = np.log1p(dataset["deviation_reference"].values), spiking(dataset)
    return {
        str(line): values[:, k]
        for k, line in enumerate(dataset["line"].values)
        if all_lines or line in ("source", "sink")
    }


def jitter_column(dataset: xr.Dataset) -> Array:
    """Spike times of one neuron and input with new noise each time, shape (trial,) [tau_c].

    Of a read-out what is sampled [1].
    """
    name = "trial_spike_time" if spiking(dataset) else "trial_v_t_min"
    if name not in dataset:
        return np.empty(0)
    values = dataset[name].values
    return values[np.isfinite(values)]


def spreads(dataset: xr.Dataset, devices: Extraction) -> dict[str, Spread]:
    """Estimates of every frozen term, without the intervals of their standard deviations.

    Parameters
    ----------
    dataset : xarray.Dataset
        A characterization.
    devices : Extraction
        Of its samples.
    """
    weights, units = weights_of(dataset), unit_devices(dataset)
    return {
        name: Spread(float(np.nanstd(per_unit(values, weights, units), ddof=1)), *mean_interval(values))
        for name, values in columns(dataset, devices).items()
    }


def law_of(
    terms: Mapping[str, Spread],
    units: int | None = None,
    reference: Mapping[str, Spread] | None = None,
    delay: float = 0.0,
) -> MismatchLaw:
    """The law of fitted terms; a mean enters only where its interval excludes zero.

    Parameters
    ----------
    terms : mapping
        Estimates by term.
    units : int, optional
        Unit devices of W = 1.
    reference : mapping, optional
        Estimates of ln(1 + deviation) by bias line, see LINES.
    delay : float
        Of the nominal comparator [tau_c]; 0: no bias line acts on it.
    """
    lines: list[tuple[str, Spread]] = []
    for line, t in (reference or {}).items():
        term = LINES[line]
        if term == "delay":
            lines += [(term, _delayed(t, delay))] if delay else []
        elif term:
            lines.append((term, t))
    mean: dict[str, float] = {}
    for name, t in (*terms.items(), *lines):
        if not t.mean_low <= 0 <= t.mean_high:
            mean[name] = mean.get(name, 0.0) + t.mean
    shared: dict[str, float] = {}
    for name, t in lines:  # lines that move one term are independent
        shared[name] = math.hypot(shared[name], t.std) if name in shared else t.std
    law = MismatchLaw(units=units, mean=tuple(mean.items()), reference=tuple(shared.items()))
    return law.replace(**{name: t.std for name, t in terms.items()})


def _delayed(current: Spread, delay: float) -> Spread:
    """What ln(1 + deviation) of a tail current makes of a delay, in its unit."""
    factor = TAIL_EXPONENT * delay
    ends = sorted((factor * current.mean_low, factor * current.mean_high))
    return Spread(abs(factor) * current.std, factor * current.mean, *ends)
