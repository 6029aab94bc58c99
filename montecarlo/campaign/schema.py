"""The dataset that leaves a campaign: names, dimensions, units. It is the door to `ttfs_analog`."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from circuits.errors import InputError

CHARACTERIZATION = "ttfs-analog/characterization/1"
TRANSISTORS = "ttfs-analog/transistor-characterization/1"

VARIABLES = {
    "spike_time": (("sample", "stimulus"), "tau_c", "spike time after t_min; inf = silent"),
    "v_t_min": (("sample", "stimulus"), "1", "membrane potential at t_min"),
    "slope": (("sample", "stimulus"), "1", "dV/dt in the firing window, per tau_c"),
    "energy_synapse": (("sample", "stimulus"), "J", "supply energy of the source synapses"),
    "energy_slope": (("sample", "stimulus"), "J", "supply energy of the slope source"),
    "drawn_synapse": (("sample", "synapse"), "1", "injected synapse current deviation"),
    "drawn_slope": (("sample",), "1", "injected slope current deviation"),
    "drawn_threshold": (("sample",), "1", "injected comparator offset, units of potential"),
    "drawn_capacitance": (("sample",), "1", "injected capacitor deviation"),
    "reason": (("sample",), "1", "why a sample failed"),
    "status": (("sample",), "1", "0 = measured, 1 = failed, -1 = not run yet"),
}
"""Name -> (dims, units, long_name) of what a campaign measures, sample by sample."""
MEASURED = [v for v, (dims, _, _) in VARIABLES.items() if "stimulus" in dims]


FILL = {"status": np.array(-1, np.int8), "reason": np.array("", "<U160")}


HINTS = {TRANSISTORS: "; characterizations at transistor level are read by 'describe'"}
"""What to do with a dataset that is in the wrong place, by its schema."""


def schema_of(path: str | Path) -> str | None:
    """Schema of a zarr store; None if it is none."""
    try:
        return xr.open_zarr(path, consolidated=False).attrs.get("schema")
    except Exception:  # said better by `open_dataset`
        return None


def package_version() -> str:
    """Version of the installed package."""
    try:
        return version("ttfs-analog")
    except PackageNotFoundError:
        return "0+unknown"


def empty(samples: int, coords: Mapping[str, Any], attrs: Mapping[str, Any]) -> xr.Dataset:
    """A dataset in which nothing has been measured yet."""
    sizes = {"sample": samples, **{k: len(v) for k, v in coords.items()}}  # type: ignore[arg-type]
    data = {}
    for key, (dims, units, long_name) in VARIABLES.items():
        shape = [sizes[d] for d in dims]
        fill = FILL.get(key, np.array(np.nan))
        data[key] = (dims, np.full(shape, fill), {"units": units, "long_name": long_name})
    coords = {"sample": np.arange(samples), **coords}
    return with_units(xr.Dataset(data, coords=coords, attrs={"schema": CHARACTERIZATION, **attrs}))


def with_units(dataset: xr.Dataset) -> xr.Dataset:
    """The same dataset with units "1" on coordinates that have none (numbers and names)."""
    for coordinate in dataset.coords.values():
        coordinate.attrs.setdefault("units", "1")
    return dataset


def _first_line(error: Exception) -> str:
    """What an error of another library says, without its advice and addresses."""
    return str(error).split("\n")[0].split(" see:")[0].split("https:")[0].rstrip(" ,:.")


def open_dataset(path: str | Path, schema: str) -> xr.Dataset:
    """Open a zarr or netCDF dataset and check what it claims to be.

    Raises
    ------
    InputError
        If it is missing, unreadable, or of another schema.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path} does not exist")
    try:
        dataset = xr.open_zarr(path, consolidated=False) if path.is_dir() else xr.open_dataset(path)
    except Exception as error:  # zarr and netCDF4 raise many kinds
        raise InputError(f"{path} cannot be read as a dataset: {_first_line(error)}") from None
    found = dataset.attrs.get("schema")
    if found != schema:
        raise InputError(f"{path} has schema {found!r}, {schema!r} was expected{HINTS.get(str(found), '')}")
    return dataset
