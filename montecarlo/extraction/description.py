"""What a characterization holds, before any model of it: statistics of its devices and measurements.

For every technology: the terms of `montecarlo.extraction.terms` with moments, quantiles, tolerance limits and
tests of their law, and every measured quantity by weight pattern and stimulus.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from montecarlo.campaign.schema import MEASURED, package_version, with_units
from montecarlo.extraction.by_technology import extract
from montecarlo.extraction.prediction import patterns_of, spiking, weights_of
from montecarlo.extraction.terms import (
    columns,
    jitter_column,
    per_unit,
    reference_columns,
    unit_devices,
)
from montecarlo.mismatch.law import OFFSETS, UNIT
from montecarlo.statistics.by_dimension import describe

DESCRIPTION = "ttfs-analog/description/2"
CARRIED = ("technology", "operating_point", "entropy", "plan_hash", "ngspice_version", "deck_hash")


def term_values(dataset: xr.Dataset) -> dict[str, xr.DataArray]:
    """Every value of every term, as a noise model sees it; one dimension, `sample`.

    Synapses of unit devices are scaled to W = 1. Unknown values are NaN.
    """
    weights, units = weights_of(dataset), unit_devices(dataset)
    values = {}
    for name, column in columns(dataset, extract(dataset)).items():
        scaled = per_unit(column, weights, units)
        if name.startswith("synapse"):
            scaled = scaled[weights > 0 if name == "synapse_source" else weights < 0]
        values[name] = scaled.ravel()
    values |= {f"reference_{line}": column for line, column in reference_columns(dataset).items()}
    if len(jitter := jitter_column(dataset)):
        values["jitter" if spiking(dataset) else "sampling"] = jitter - jitter.mean()
    return {name: _labeled(name, column) for name, column in values.items()}


def _labeled(name: str, values: np.ndarray) -> xr.DataArray:
    text = f"{name} deviation" if name in (*OFFSETS, "jitter", "sampling") else f"ln(1 + {name})"
    attrs = {"units": UNIT.get(name, "1"), "long_name": text}
    return xr.DataArray(values, dims="sample", name=name, attrs=attrs)


def statistics(dataset: xr.Dataset, terms: dict[str, xr.DataArray]) -> xr.Dataset:
    """Moments, quantiles, limits and tests as one dataset.

    Parameters
    ----------
    dataset : xarray.Dataset
        Samples that were run; failed ones are counted.
    terms : dict
        From `term_values`.

    Returns
    -------
    xarray.Dataset
        `deviation_<term>_<statistic>`, and `<quantity>_<statistic>` (pattern, stimulus); statistics are those
        of `montecarlo.statistics.by_dimension.describe`.
    """
    parts = []
    for name, values in terms.items():
        row = describe(values, heavy_tails=True)
        parts.append(row.rename({k: f"deviation_{name}_{k}" for k in row.data_vars}))
    parts += [_by_pattern(dataset, name) for name in MEASURED if name in dataset]
    whole = xr.merge(parts, combine_attrs="override", compat="equals", join="exact")
    whole.attrs = {"schema": DESCRIPTION, "package_version": package_version()}
    whole.attrs |= {key: dataset.attrs[key] for key in CARRIED if key in dataset.attrs}
    return with_units(whole)


def _by_pattern(dataset: xr.Dataset, name: str) -> xr.Dataset:
    """One measured quantity: samples of other weights are another population."""
    pattern = patterns_of(dataset)
    rows = [describe(dataset[name].isel(sample=pattern == k)) for k in range(dataset.sizes["pattern"])]
    whole = xr.concat(rows, "pattern", combine_attrs="override")
    return whole.rename({k: f"{name}_{k}" for k in whole.data_vars})
