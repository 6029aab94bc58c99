"""A zarr store on disk that outlives its writer: made whole, written region by region, one writer at a time.

A region is a chunk, so no two writes touch one file. zarr replaces a file in one step; what a killed
writer leaves are files named `*.partial`, which the next one removes.

What is absent was not run: the fill value of `status` is -1, and a region that is done has a file for every
variable, be it all NaN. So files that a copy has lost are known (`montecarlo.stores.lost_files`). Every
file carries a checksum: one with a flipped bit is refused.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import xarray as xr
import zarr

from circuits.errors import InputError
from circuits.input_file import regular
from circuits.one_writer import locked as locked

NOT_RUN = -1
"""Of `status`, and its fill value."""
EMPTY_TOO = {"array.write_empty_chunks": True}
"""Setting of zarr under which chunks of fill values are files like any other."""
EVERY_FILE = ".every_file"
"""Marks a `status` whose finished regions have a file for every variable; copies that xarray writes have no
such file, and leave out chunks of fill values."""
ADVICE = "what was done is safe: free some space and give the same command again"


def create(template: xr.Dataset, path: Path, sizes: Mapping[str, int], chunk: Mapping[str, int]) -> None:
    """Make a store like `template`, but longer, without ever holding all of it in memory.

    Parameters
    ----------
    template : xarray.Dataset
        A few entries along each dim of `sizes`; the rest is filled with what zarr calls the fill value
        (NaN, or 0; NOT_RUN of `status`), except for coordinates, which count on.
    path : Path
        Of the store.
    sizes : dict
        Final length by dim.
    chunk : dict
        Length of a region by dim; other dims are not divided.

    Raises
    ------
    InputError
        If the place cannot be written; nothing is left there then.
    """
    partial = path.with_name(path.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    whole = {str(d): n for d, n in template.sizes.items()} | dict(sizes)
    encoding: dict[Any, dict[str, Any]] = {
        name: {
            "chunks": tuple(
                whole[str(d)] if name in template.coords else chunk.get(str(d), whole[str(d)]) for d in v.dims
            ),
            "filters": [numcodecs.CRC32()],
        }
        for name, v in template.variables.items()
    }
    statuses = [name for name in encoding if str(name).endswith("status")]
    for name in statuses:
        encoding[name]["_FillValue"] = np.int8(NOT_RUN)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        template.to_zarr(partial, encoding=encoding, consolidated=False, zarr_format=2)
        group = zarr.open_group(partial, mode="r+")
        for name, variable in template.variables.items():
            if not set(variable.dims) & set(sizes):
                continue
            array = _array(group, str(name))
            array.resize(tuple(whole[str(d)] for d in variable.dims))
            if name in sizes and name in template.coords and np.issubdtype(variable.dtype, np.integer):
                array[:] = np.arange(sizes[str(name)])
        _write_whole(partial, template, set(sizes) | set(chunk))
        zarr.consolidate_metadata(partial)
        for name in statuses:
            (partial / str(name) / EVERY_FILE).touch()
        partial.rename(path)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise InputError(f"cannot write {path}: {error.strerror or error}") from None


def _write_whole(path: Path, template: xr.Dataset, divided: set[str]) -> None:
    """Write what is not divided again, so that files are there for all of it."""
    with zarr.config.set(EMPTY_TOO):
        group = zarr.open_group(path, mode="r+")
        for name, variable in template.variables.items():
            if (name in template.coords and variable.dims) or not divided & set(map(str, variable.dims)):
                array = _array(group, str(name))
                array[...] = array[...]


def clear(path: Path) -> None:
    """Remove what a killed writer left half written."""
    for file in path.rglob("*.partial"):
        file.unlink(missing_ok=True)


def write(path: Path, region: tuple[slice, ...], values: Mapping[str, Any]) -> None:
    """Write one region; `status` last, so that what is cut off in mid-write counts as not done.

    Parameters
    ----------
    path : Path
        Of the store.
    region : tuple of slice
        Place along the first dims of every variable.
    values : dict
        By variable; `status` among them.

    Raises
    ------
    InputError
        If the disk is full or gone: the store stays valid, and the work can be resumed.
    """
    try:
        with zarr.config.set(EMPTY_TOO):
            group = zarr.open_group(path, mode="r+")
            for name in sorted(values, key=lambda n: n.endswith("status")):
                if name in group:  # stores of earlier versions lack some
                    _array(group, name)[region] = values[name]
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}; {ADVICE}") from None


def _array(group: zarr.Group, name: str) -> zarr.Array[Any]:
    array = group[name]
    if not isinstance(array, zarr.Array):
        raise InputError(f"{name} of the store is no array: take a copy, or make it again")
    return array


@contextlib.contextmanager
def reading(path: Path) -> Generator[None, None, None]:
    """Say in one way that a dataset cannot be read: zarr, its codecs and netCDF4 raise many kinds.

    Raises
    ------
    InputError
        For any error of another kind.
    """
    regular(path)
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        words = " ".join(str(error).split(" see:")[0].split("https:")[0].split())[:120].rstrip(" ,:.")
        raise InputError(f"{path} cannot be read ({words}): take a copy, or make it again") from None
