"""Datasets of ours read whole, and what must be in them before anything is computed from them.

A store on disk can lose, double or change a byte anywhere, and nothing in zarr or netCDF notices a wrong
attribute, a variable along other dims, or text where numbers were: all that is looked at here, once.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import numpy as np
import xarray as xr

from circuits.errors import InputError
from circuits.model.operating_point import OperatingPoint
from circuits.model.shape import subset
from circuits.model.text_file import parse_json
from circuits.pdk.technology import Technology
from montecarlo.campaign.rows import Rows
from montecarlo.campaign.schema import CHARACTERIZATION, INPUTS, PHASES, VARIABLES, open_dataset
from montecarlo.mismatch.law import MismatchLaw
from montecarlo.stores.store import reading

ROOTS = (".zgroup", ".zarray", "zarr.json")
"""Of a zarr store."""
STATES = (-1, 0, 1)
"""Of a run."""
TEXTS = ("reason",)
LATER = ("alone", "nominal_alone", "trial_alone", "deviation_tail")
"""Variables that stores of earlier versions lack."""


class Attributes(TypedDict):
    """Of a characterization, those that are read."""

    technology: str
    operating_point: str
    entropy: int
    plan: str
    plan_hash: str
    extraction: str
    t_min: float
    window: float
    level: str
    ngspice_version: str


class PlanFields(TypedDict):
    """Of the plan that a characterization carried out, those that are read."""

    law: NotRequired[MismatchLaw | None]
    rows: NotRequired[Rows | None]
    corner: NotRequired[str | None]
    temperature: NotRequired[float | None]
    area: NotRequired[float | None]
    comparator: NotRequired[str | None]


def load_dataset(path: str | Path, schema: str = CHARACTERIZATION) -> xr.Dataset:
    """A dataset in memory; a characterization is checked.

    Parameters
    ----------
    path : str or Path
    schema : str
        The schema that it must have.

    Raises
    ------
    InputError
        If it is missing, cannot be read to its last byte, or is not what its schema says.
    """
    with reading(Path(path)), open_dataset(path, schema) as opened:
        dataset = opened.load()
    if schema == CHARACTERIZATION:
        check(dataset, str(path))
    return dataset


def schema_of(path: Path) -> str:
    """The schema that a dataset claims to have; "None": it has none.

    Raises
    ------
    InputError
        If it cannot be opened.
    """
    with (
        reading(path),
        xr.open_zarr(path, consolidated=False) if path.is_dir() else xr.open_dataset(path) as opened,
    ):
        return str(opened.attrs.get("schema"))


def layer_stores(folder: Path) -> tuple[list[Path], list[str]]:
    """Campaigns on the layers of a network, in order, and names of what else lies beside them.

    Parameters
    ----------
    folder : Path
        Of layer0, layer1 ...; any other path has none.

    Raises
    ------
    InputError
        If a layer is missing.
    """
    if not folder.is_dir() or any((folder / name).exists() for name in ROOTS):
        return [], []
    stores: dict[int, Path] = {}
    others = []
    for path in sorted(folder.iterdir()):
        match = re.fullmatch(r"layer(\d{1,6})", path.name)
        if match and path.is_dir():
            stores[int(match[1])] = path
        else:
            others.append(path.name)
    if missing := [n for n in range(max(stores, default=-1) + 1) if n not in stores]:
        raise InputError(f"{folder} has no layer{missing[0]}: characterize the network again, which resumes")
    return [stores[n] for n in sorted(stores)], others


def attributes(dataset: xr.Dataset, shape: Any, where: str) -> dict[str, Any]:
    """Attributes of a dataset in their types.

    Parameters
    ----------
    dataset : xarray.Dataset
    shape : TypedDict
        Of those that are read.
    where : str
        The file, for messages.
    """
    plain = {k: v.item() if isinstance(v, np.generic) else v for k, v in dataset.attrs.items()}
    return subset(plain, shape, where)


def check(dataset: xr.Dataset, where: str) -> None:
    """Refuse a characterization that is not what its schema says.

    Parameters
    ----------
    dataset : xarray.Dataset
    where : str
        The file, for messages.

    Raises
    ------
    InputError
        Naming variable or attribute, and what was expected.
    """
    about = attributes(dataset, Attributes, where)
    technology = Technology.load(about["technology"])
    OperatingPoint.from_json(about["operating_point"], f"{where}: operating_point")
    plan = parse_json(about["plan"], f"{where}: plan", infinite=True)
    rows = subset(plan, PlanFields, f"{where}: plan").get("rows")
    needed = {name: dims for name, (dims, _, _) in VARIABLES.items() if set(dims) <= set(dataset.sizes)}
    needed |= {"weight": INPUTS["weight"][0], "spike_time": VARIABLES["spike_time"][0]}
    ends = ("input_time", "theta")
    for prefix, there in (("", not rows), ("pattern_", bool(rows)), ("nominal_", "run" in dataset.sizes)):
        needed |= {f"{prefix}{name}": INPUTS[f"{prefix}{name}"][0] for name in ends if there}
    needed = {name: dims for name, dims in needed.items() if name in dataset or name not in LATER}
    if missing := sorted(set(needed) - set(dataset.data_vars)):
        raise InputError(f"{where} lacks {', '.join(missing)}: take a copy, or characterize again")
    for name, dims in needed.items():
        stored = dataset[name]
        if stored.dims != dims or (name not in TEXTS and stored.dtype.kind not in "fiu"):
            raise InputError(
                f"{where}: {name} is {stored.dtype} along {', '.join(map(str, stored.dims))}; numbers along "
                f"{', '.join(dims)} were expected"
            )
    if empty := [d for d, n in dataset.sizes.items() if not n]:
        raise InputError(f"{where}: {empty[0]} has no entry: characterize again")
    _check_names(dataset, about["extraction"], where)
    for name in (n for n in needed if n.endswith("status")):
        if not np.isin(dataset[name].values, STATES).all():
            raise InputError(f"{where}: {name} must be one of {STATES}")
    for name in (n for n in needed if n in INPUTS):
        values = dataset[name].values
        if not (np.isfinite(values) | (np.isposinf(values) & name.endswith("time"))).all():
            raise InputError(f"{where}: {name} must be finite numbers{', or inf' * name.endswith('time')}")
    if about["t_min"] <= 0 or about["window"] < 0:
        raise InputError(
            f"{where}: t_min must be > 0 and window >= 0, got {about['t_min']}, {about['window']}"
        )
    if bool(technology.process) != ("line" in dataset.sizes):
        raise InputError(f"{where}: bias lines are those of transistors; technology {technology.name!r}")


def _check_names(dataset: xr.Dataset, extraction: str, where: str) -> None:
    """Refuse coordinates that are not those by which values are looked up."""
    stimuli = ["reference", "ramp_low", "ramp_high"] if extraction == "spike_times" else []
    synapses = [f"synapse_{j}" for j in range(dataset.sizes["synapse"])] if stimuli else []
    expected = {
        "stimulus": {*stimuli, *synapses},
        "phase": set(PHASES),
        "supply": {"source", "comparator", "latch"},
    }
    if dataset.sizes.get("supply") == 1:  # of ideal sources and of read-outs
        expected["supply"] = {"source"}
    for name in ("sample", "stimulus", "phase", "supply", "synapse", "pattern", "line", "device"):
        if name not in dataset.sizes:
            continue
        if name not in dataset.indexes or not dataset.indexes[name].is_unique:
            raise InputError(f"{where}: the entries of {name} have no names, or one twice")
        there = set(dataset[name].values.tolist())
        needed = expected.get(name, set())
        if missing := sorted(needed - there):
            raise InputError(f"{where}: {name} lacks {', '.join(missing)}")
        if name != "stimulus" and needed and there != needed:
            raise InputError(f"{where}: {name} is {sorted(map(str, there))}, {sorted(needed)} was expected")
        if name in ("sample", "synapse", "pattern") and dataset[name].dtype.kind not in "iu":
            raise InputError(f"{where}: {name} must be whole numbers, is {dataset[name].dtype}")
    if (dataset["sample"] < 0).any():
        raise InputError(f"{where}: sample must be >= 0")
