"""The dataset that leaves a campaign: names, dimensions, units. It is the door to `ttfs_analog`.

One schema for every technology. What a kind of neuron lacks (bias lines, runs without mismatch, trials with
noise) is left out with its dimension.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from circuits import whole_file
from circuits.errors import InputError, Notice
from montecarlo.mismatch.law import UNIT
from montecarlo.stores import metadata
from montecarlo.stores.lost_files import lost
from montecarlo.stores.store import reading

CHARACTERIZATION = "ttfs-analog/characterization/2"
LARGEST = 2**63
"""Whole numbers below it are attributes of a netCDF file."""
Values = dict[str, np.ndarray]
"""Variable name -> array (sample, ...), (nominal, ...) or (trial, ...) of one batch."""

ALONE = "decks run alone, after a process that ran several had failed"
VARIABLES: dict[str, tuple[tuple[str, ...], str, str]] = {
    "spike_time": (("sample", "stimulus"), "tau_c", "spike time after t_min; inf = silent"),
    "v_t_min": (("sample", "stimulus"), "1", "membrane potential at t_min"),
    "slope": (("sample", "stimulus"), "1", "dV/dt of the ramp, per tau_c"),
    "delay": (("sample", "stimulus"), "tau_c", "from the comparator's trip voltage to the spike"),
    "energy": (("sample", "stimulus", "supply", "phase"), "J", "supply energy"),
    "deviation_synapse": (("sample", "synapse"), "1", "relative deviation of a synapse's current"),
    "deviation_slope": (("sample",), "1", "relative deviation of the slope current"),
    "deviation_capacitance": (("sample",), "1", "relative deviation of the membrane capacitance"),
    "deviation_threshold": (("sample",), UNIT["threshold"], "offset of a comparator, nominal capacitor"),
    "deviation_delay": (("sample",), UNIT["delay"], "deviation of the comparator's delay; NaN = not apart"),
    "deviation_tail": (("sample",), "1", "relative deviation of the comparator's tail current"),
    "shift": (("sample", "device"), "V", "threshold shift of a transistor of comparator or latch"),
    "factor": (("sample", "device"), "1", "current factor of a transistor of comparator or latch"),
    "deviation_reference": (("sample", "line"), "1", "relative deviation of all currents of one bias line"),
    "retried": (("sample",), "1", "transients that converged at the second, more exact setting only"),
    "alone": (("sample",), "1", ALONE),
    "status": (("sample",), "1", "0 = measured, 1 = failed, -1 = not run yet"),
    "reason": (("sample",), "1", "why a sample failed"),
    "nominal_spike_time": (("nominal",), "tau_c", "spike time without mismatch"),
    "nominal_slope": (("nominal",), "1", "dV/dt of the ramp without mismatch"),
    "nominal_v_t_min": (("nominal",), "1", "membrane potential at t_min without mismatch"),
    "nominal_energy": (("nominal", "supply", "phase"), "J", "supply energy without mismatch"),
    "nominal_alone": (("nominal",), "1", ALONE),
    "nominal_status": (("nominal",), "1", "0 = measured, 1 = failed, -1 = not run yet"),
    "trial_spike_time": (("trial",), "tau_c", "spike time with device noise, first pattern and input"),
    "trial_v_t_min": (("trial",), "1", "membrane potential at t_min with device noise"),
    "trial_alone": (("trial",), "1", ALONE),
    "trial_status": (("trial",), "1", "0 = measured, 1 = failed, -1 = not run yet"),
}
"""Name -> (dims, units, long_name) of what a campaign measures, batch by batch."""
MEASURED = [v for v, (dims, _, _) in VARIABLES.items() if "stimulus" in dims]
INPUTS: dict[str, tuple[tuple[str, ...], str, str]] = {
    "weight": (("pattern", "synapse"), "1", "weight; sample k carries pattern k modulo their number"),
    "input_time": (("stimulus", "synapse"), "tau_c", "input spike time; inf = silent"),
    "theta": (("stimulus",), "1", "nominal threshold"),
    "pattern_input_time": (("pattern", "stimulus", "synapse"), "tau_c", "input spike time, by pattern"),
    "pattern_theta": (("pattern",), "1", "nominal threshold, by pattern"),
    "nominal_weight": (("run", "synapse"), "1", "weights of the runs without mismatch"),
    "nominal_input_time": (("run", "synapse"), "tau_c", "inputs of the runs without mismatch"),
    "nominal_theta": (("run",), "1", "thresholds of the runs without mismatch"),
}
"""The same of what a campaign is asked: known before anything runs."""
PHASES = ("input", "firing")
FILL = {"reason": np.array("", "<U160"), "retried": np.array(0, np.int16)}
FILL |= dict.fromkeys(("alone", "nominal_alone", "trial_alone"), np.array(0, np.int16))
STATUS = np.array(-1, np.int8)


def package_version() -> str:
    """Version of the installed package."""
    try:
        return version("ttfs-analog")
    except PackageNotFoundError:
        return "0+unknown"


def blank(lengths: Mapping[str, int]) -> Values:
    """Values of every variable whose dimensions there are, before anything is measured.

    Parameters
    ----------
    lengths : dict
        Length by dimension.
    """
    values = {}
    for name, (dims, _, _) in VARIABLES.items():
        if set(dims) <= set(lengths):
            fill = STATUS if name.endswith("status") else FILL.get(name, np.array(np.nan))
            values[name] = np.full([lengths[d] for d in dims], fill)
    return values


def empty(
    lengths: Mapping[str, int], coords: Mapping[str, Any], inputs: Values, attrs: Mapping[str, Any]
) -> xr.Dataset:
    """A dataset in which nothing has been measured yet.

    Parameters
    ----------
    lengths : dict
        Samples, and runs without mismatch and trials where there are any, by dimension.
    coords : dict
        Coordinates of all other dimensions.
    inputs : dict
        Values of INPUTS.
    attrs : mapping
        Of the dataset; the schema is added.
    """
    sizes = {**lengths, **{k: len(v) for k, v in coords.items()}}
    data: dict[str, Any] = {k: (VARIABLES[k], v) for k, v in blank(sizes).items()}
    data |= {k: (INPUTS[k], v) for k, v in inputs.items()}
    variables = {
        k: (dims, v, {"units": units, "long_name": text}) for k, ((dims, units, text), v) in data.items()
    }
    numbers = {d: np.arange(n) for d, n in lengths.items()}
    return with_units(xr.Dataset(variables, {**numbers, **coords}, {"schema": CHARACTERIZATION, **attrs}))


def with_units(dataset: xr.Dataset) -> xr.Dataset:
    """The same dataset with units "1" on coordinates that have none (numbers and names)."""
    for coordinate in dataset.coords.values():
        coordinate.attrs.setdefault("units", "1")
    return dataset


def open_dataset(path: str | Path, schema: str = CHARACTERIZATION, *, to_resume: bool = False) -> xr.Dataset:
    """Open a zarr or netCDF dataset and check what it claims to be.

    Runs of which a copy of the store has lost a file count as not run; a warning names the files.

    Parameters
    ----------
    path : str or Path
    schema : str
        The schema that it must have.
    to_resume : bool
        Only the status is read: what is missing will be run again, files that are cut short too.

    Raises
    ------
    InputError
        If it is missing, unreadable, or of another schema; if files are missing that no run makes.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path} does not exist")
    if files := metadata.damaged(path):
        if not to_resume:
            raise InputError(
                f"{path} has lost {_some(sorted(files))}, or they are damaged; give the command that made it "
                "once more, which writes them again"
            )
        metadata.restore(path, files)
    with reading(path):
        dataset = (
            xr.open_zarr(path, consolidated=False, use_zarr_fill_value_as_mask=False)
            if path.is_dir()
            else xr.open_dataset(path)
        )
    stored = dataset.attrs.get("schema")
    if stored != schema:
        old = schema == CHARACTERIZATION and "characterization/" in str(stored)
        raise InputError(
            f"{path} has schema {stored!r}, {schema!r} was expected{'; characterize again' if old else ''}"
        )
    with reading(path):
        return _as_it_counts(dataset, path, to_resume) if path.is_dir() else dataset


def save_dataset(dataset: xr.Dataset, path: str | Path) -> Path:
    """Write a netCDF file, whole or not at all (`circuits.whole_file`); folders that it needs are made.

    Parameters
    ----------
    dataset : xarray.Dataset
    path : str or Path

    Raises
    ------
    InputError
        If the place cannot be written, or an attribute is a whole number that no netCDF file holds.
    """
    for name, value in dataset.attrs.items():
        if isinstance(value, int) and value >= LARGEST:
            raise InputError(
                f"{path}: {name} is {value}, a file holds numbers below 2^63; take a smaller seed"
            )
    # made in memory: HDF5 has no one way to say that a disk is full
    return whole_file.write(path, dataset.to_netcdf(engine="netcdf4"))


def _as_it_counts(dataset: xr.Dataset, path: Path, to_resume: bool) -> xr.Dataset:
    """The same dataset; what has lost a file is not run."""
    missing = lost(path)
    if missing.cut_short and not to_resume:
        raise InputError(
            f"{path}: files are cut short ({_some(missing.cut_short)}); give the command that made it once "
            "more, and their runs will be done again"
        )
    if missing.absent:
        warnings.warn(
            f"{path} has lost {_some(missing.absent)}: their runs count as not run", Notice, stacklevel=4
        )
    statuses = {name: dataset[name].copy(data=status) for name, status in missing.status.items()}
    return dataset.assign(statuses)


def _some(files: Sequence[str]) -> str:
    more = f" and {len(files) - 3} more" if len(files) > 3 else ""
    return f"{', '.join(files[:3])}{more}"
