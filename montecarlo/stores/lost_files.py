"""What a store has lost on its way: files that a copy left out, or cut short.

zarr reads a chunk whose file is absent as its fill value, which looks like a measurement. A region that is
done has a file for every variable (`montecarlo.stores.store.write`), so an absent one is known, and the
region counts as not run.

Stores of earlier versions, and copies that xarray wrote, leave out files of fill values; that of `status` was
0 before, which means done. There a region is lost if a measurement has no file that it has elsewhere, or if
no measurement has any.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from circuits.errors import InputError
from montecarlo.stores.store import EVERY_FILE, NOT_RUN

DIMS = "_ARRAY_DIMENSIONS"
BLOSC, HEADER, SIZE = "blosc", 16, slice(12, 16)
"""Of a compressed chunk: bytes 12..15 of its header say how long the file is."""


@dataclass
class Lost:
    """What is missing of a store."""

    status: dict[str, NDArray[np.int8]] = field(default_factory=dict)
    """Every variable `status` as it counts: NOT_RUN where a file is missing."""
    absent: list[str] = field(default_factory=list)  #: files of regions that were done
    cut_short: list[str] = field(default_factory=list)  #: those that are there, but cannot be read


def lost(path: Path) -> Lost:
    """What is missing of a store, region by region.

    Parameters
    ----------
    path : Path
        Of a store of `montecarlo.stores.store`.

    Raises
    ------
    InputError
        If something is missing that belongs to no region, such as the weights: nothing can be run again then.
    """
    group = zarr.open_group(path, mode="r", use_consolidated=False)
    arrays = dict(group.arrays())
    statuses = {n: a for n, a in arrays.items() if n.endswith("status")}
    absent = sorted(_announced(path) - set(arrays))
    regions, missing = set(), Lost()
    for name, status in statuses.items():
        members = {n: a for n, a in arrays.items() if _divided_like(n, a, status)}
        missing.status[name] = _corrected(path, name, members, missing)
        regions |= set(members)
    every = any((path / name / EVERY_FILE).exists() for name in statuses)
    whole = sorted(n for n in arrays if n not in regions and not _usual(arrays[n], every))
    absent += [n for n in whole if not _complete(path, n, arrays[n])]
    if absent:
        raise InputError(
            f"{path} has lost its files of {', '.join(absent)[:200]}, without which nothing can be run "
            "again: copy it once more from where it was made, or choose another --out"
        )
    return missing


def _announced(path: Path) -> set[str]:
    """Arrays that the store had when it was made."""
    try:
        metadata = json.loads((path / ".zmetadata").read_text())["metadata"]
    except (OSError, ValueError, KeyError, TypeError):
        return set()
    return {key.removesuffix("/.zarray") for key in metadata if key.endswith("/.zarray")}


def _corrected(path: Path, name: str, members: dict[str, zarr.Array[Any]], missing: Lost) -> NDArray[np.int8]:
    """A `status` in which regions that were done, and have lost a file, are not run; files are noted."""
    status, there = members[name], {n: _files(path, n, a) for n, a in members.items()}
    corrected = np.full(status.shape, NOT_RUN, np.int8)
    needed = _needed((path / name / EVERY_FILE).exists(), members, there)
    for place in np.ndindex(*status.cdata_shape):
        region = tuple(slice(k * c, (k + 1) * c) for k, c in zip(place, status.chunks, strict=True))
        files = {n: _key(place, a) for n, a in members.items()}
        if not there[name].get(files[name], not _marks(status)):  # absent, or cut short
            if files[name] in there[name]:
                missing.cut_short.append(f"{name}/{files[name]}")
            continue
        try:
            corrected[region] = np.asarray(status[region])
        except Exception:  # codecs raise many kinds
            missing.cut_short.append(f"{name}/{files[name]}")
            continue
        gone = [n for n in needed if not there[n].get(files[n], False)]
        if gone and np.any(corrected[region] == 0 if not _marks(status) else corrected[region] != NOT_RUN):
            corrected[region] = NOT_RUN
            missing.absent += [f"{n}/{files[n]}" for n in gone if files[n] not in there[n]]
            missing.cut_short += [f"{n}/{files[n]}" for n in gone if files[n] in there[n]]
    return corrected


def _needed(every: bool, members: dict[str, zarr.Array[Any]], there: dict[str, dict[str, bool]]) -> list[str]:
    """Variables of which a region that is done has a file."""
    if every:
        return sorted(members)
    measured = sorted(n for n, a in members.items() if a.dtype.kind == "f")
    return [n for n in measured if there[n]] or measured[:1]  # what was never measured has none anywhere


def _marks(status: zarr.Array[Any]) -> bool:
    """Whether what is absent reads as not run."""
    return bool(status.fill_value == NOT_RUN)


def _divided_like(name: str, array: zarr.Array[Any], status: zarr.Array[Any]) -> bool:
    """Whether an array has the regions of a `status`; coordinates are whole."""
    dims, own = (_dims(array) for array in (status, array))
    return own[: len(dims)] == dims and name not in own


def _dims(array: zarr.Array[Any]) -> list[Any]:
    dims = array.attrs.get(DIMS, [])
    if not isinstance(dims, list):
        raise TypeError(f"dimensions of {array.basename} are {dims}")
    return dims


def _usual(array: zarr.Array[Any], every: bool) -> bool:
    """Whether an array has no file by right: it is empty, or left out as 0."""
    return array.size == 0 or (not every and array.dtype.kind in "iu" and array.size == 1)


def _complete(path: Path, name: str, array: zarr.Array[Any]) -> bool:
    files = _files(path, name, array)
    return all(files.get(_key(place, array), False) for place in np.ndindex(*array.cdata_shape))


def _key(place: tuple[int, ...], array: zarr.Array[Any]) -> str:
    """Name of the file of a chunk; what is not divided is one chunk along that dim."""
    whole = (*place, *(0,) * (array.ndim - len(place)))
    return ".".join(map(str, whole)) or "0"


def _files(path: Path, name: str, array: zarr.Array[Any]) -> dict[str, bool]:
    """Chunks of an array that are there, and whether they are whole."""
    packed = any(getattr(c, "codec_id", "") == BLOSC for c in array.compressors)
    folder = path / name
    files = folder.iterdir() if folder.is_dir() else ()
    return {p.name: _is_whole(p, packed) for p in files if not p.name.startswith(".")}


def _is_whole(file: Path, packed: bool) -> bool:
    size = file.stat().st_size
    if not packed or size < HEADER:
        return size > 0 and not packed
    with file.open("rb") as opened:
        return int.from_bytes(opened.read(HEADER)[SIZE], "little") == size
