r"""A sweep: the same neurons, or the same chips of a network, at every point of a grid of conditions.

Every point draws the same random numbers, so that curves differ by the conditions and not by chance.

.. math:: \sigma(a) = \sigma(1) / \sqrt{a} \qquad I_u = s_V C / \tau_c

A device that is `size` times as large has the first law (area a); the swing fixes volts per unit s_V, so a
larger `current` makes the circuit faster and a larger `capacitance` alone takes more of it.

Source of the area law: Pelgrom et al., IEEE JSSC 24(5), 1433 (1989), area term only.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import math
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from circuits.errors import InputError
from circuits.operating_point import OperatingPoint
from circuits.technology import Technology
from montecarlo import store
from montecarlo.mismatch import TERMS, MismatchLaw
from montecarlo.schema import open_dataset, package_version, with_units

SCHEMA = "ttfs-analog/sweep/1"
SIGMAS = ("sigma", *(f"sigma_{term}" for term in TERMS))
ELECTRICAL = ("current", "capacitance", "supply")
AXES = {**dict.fromkeys(SIGMAS, "1"), "size": "1", "window": "tau_c"}
AXES |= {"current": "A", "capacitance": "F", "supply": "V", "bits": "1"}
"""Axis -> unit. `window` is the threshold of neurons, and a factor on the windows of a network."""
ABSENT = {"corner": "its devices have no process corners", "temperature": "its devices know no temperature"}
"""Axes that other technologies have."""
Settings = dict[str, float]
Variables = dict[str, tuple[tuple[str, ...], str, str]]
"""Name -> (dims behind the axes, units, long_name)."""


@dataclass(frozen=True)
class Sweep:
    """Plan of a sweep. Two plans with the same hash give the same dataset, bit for bit."""

    technology: str
    axes: tuple[tuple[str, tuple[float, ...]], ...]  #: name and values, in the order of the dims
    samples: int = 200  #: neurons, or chips of the network, at every point
    synapses: int = 8  #: of a neuron
    entropy: int = 0
    network: str = ""  #: network file; none: single neurons
    noise: str = ""  #: noise model of the network's chips; none: the technology's sigmas
    data: str = ""  #: dataset of the network; none: its own
    files: tuple[str, ...] = ()  #: fingerprints of the network and the noise model

    def __post_init__(self) -> None:
        Technology.load(self.technology)
        for item in ("samples", "synapses"):
            value = getattr(self, item)
            if not isinstance(value, int) or isinstance(value, bool) or value < 2:
                raise InputError(f"sweep: {item} must be a whole number >= 2, got {value!r}")
        if not self.axes:
            raise InputError(f"sweep: the table [axes] is empty; known: {', '.join(AXES)}")
        for name, values in self.axes:
            self._check_axis(name, values)

    def _check_axis(self, name: str, values: tuple[float, ...]) -> None:
        if name in ABSENT:
            raise InputError(f"the {self.technology} technology has no {name}: {ABSENT[name]}")
        if name not in AXES:
            raise InputError(f"sweep: unknown axis {name!r}; known: {', '.join(AXES)}")
        if self.network and name in ELECTRICAL:
            raise InputError(
                f"sweep: the {name} of a linear technology does not change what a network decides; "
                "sweep it without a network"
            )
        if name == "bits" and not self.network:
            raise InputError("sweep: bits are those of a network's weights: name one with network = 'net.pt'")
        good = [isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v) for v in values]
        if not values or not all(good) or len(set(values)) != len(values):
            raise InputError(f"sweep: {name} must be a list of different numbers, got {list(values)!r:.80}")
        if min(values) < 0 or (min(values) == 0 and name not in (*SIGMAS, "bits")):
            raise InputError(f"sweep: {name} must be > 0, got {min(values)}")

    @classmethod
    def from_toml(cls, path: str | Path, entropy: int = 0) -> Sweep:
        """Read a SWEEP.toml; files that it names are looked for beside it.

        Parameters
        ----------
        entropy : int
            Seed, if the file has none.
        """
        try:
            table = tomllib.loads(Path(path).read_text())
        except FileNotFoundError:
            raise InputError(f"{path} does not exist") from None
        except (OSError, ValueError) as error:
            raise InputError(f"{path} is not a TOML file: {error}") from None
        axes = table.pop("axes", {})
        known = {f.name for f in dataclasses.fields(cls)} - {"axes", "files", "entropy"} | {"seed"}
        if unknown := sorted(set(table) - known):
            raise InputError(
                f"{path}: unknown {', '.join(unknown)}; known: {', '.join(sorted(known))}, [axes]"
            )
        seed = table.pop("seed", entropy)
        if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
            raise InputError(f"{path}: seed must be a whole number >= 0, got {seed!r}")
        if not isinstance(axes, dict) or not all(isinstance(v, list) for v in axes.values()):
            raise InputError(f"{path}: [axes] must hold lists of numbers, such as sigma = [0.02, 0.05]")
        files = []
        for item in ("network", "noise"):
            if item in table:
                table[item] = str(Path(path).parent / str(table[item]))
                if not Path(table[item]).is_file():
                    raise InputError(f"{path}: {item} {table[item]} does not exist")
                files.append(hashlib.sha256(Path(table[item]).read_bytes()).hexdigest()[:16])
        if ("noise" in table or "data" in table) and "network" not in table:
            raise InputError(f"{path}: noise and data belong to a network; name one with network = 'net.pt'")
        table.setdefault("technology", "ideal")
        return cls(
            axes=tuple((k, tuple(v)) for k, v in axes.items()), files=tuple(files), entropy=seed, **table
        )

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(len(values) for _, values in self.axes)

    def points(self) -> Iterator[tuple[tuple[int, ...], Settings]]:
        """Place in the grid and settings of every point."""
        names = [name for name, _ in self.axes]
        places = itertools.product(*(range(n) for n in self.shape))
        grid = itertools.product(*(values for _, values in self.axes))
        for place, values in zip(places, grid, strict=True):
            yield place, dict(zip(names, values, strict=True))

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @property
    def hash(self) -> str:
        """Identifies the plan; where a file lies does not matter, what is in it does."""
        anywhere = dataclasses.replace(self, network=Path(self.network).name, noise=Path(self.noise).name)
        return hashlib.sha256(anywhere.to_json().encode()).hexdigest()[:16]


def law_at(settings: Settings, base: MismatchLaw) -> MismatchLaw:
    """The mismatch of one point: a term's own sigma before `sigma` before the base, then the size."""
    sigma = dict.fromkeys(TERMS, settings["sigma"]) if "sigma" in settings else base.sigma
    sigma |= {term: settings[f"sigma_{term}"] for term in TERMS if f"sigma_{term}" in settings}
    shrink = math.sqrt(settings.get("size", 1.0))
    return base.replace(**{term: value / shrink for term, value in sigma.items()})


def point_at(settings: Settings, point: OperatingPoint, low: float, high: float) -> OperatingPoint:
    """The operating point for potentials low..high; `current` sets the speed, not the swing."""
    given = {"c_mem": settings.get("capacitance"), "vdd": settings.get("supply")}
    point = dataclasses.replace(point, **{k: v for k, v in given.items() if v is not None})
    point = point.fit_swing(low, high)
    if "current" not in settings:
        return point
    current = settings["current"]
    return dataclasses.replace(point, i_unit=current, tau_c=point.v_unit * point.c_mem / current)


def run(
    plan: Sweep,
    folder: Path,
    variables: Variables,
    coords: dict[str, Any],
    measure: Callable[[int, Settings], dict[str, Any]],
) -> xr.Dataset:
    """Measure every point that FOLDER/sweep.zarr does not hold yet.

    Parameters
    ----------
    variables, coords : dict
        What `measure` gives, and the coordinates of its dims.
    measure : callable
        (number of the point, its settings) -> values by variable.

    Raises
    ------
    InputError
        If the folder holds another sweep, or cannot be written.
    """
    path = folder / "sweep.zarr"
    with store.locked(path):
        if path.exists():
            if open_dataset(path, SCHEMA).attrs.get("plan_hash") != plan.hash:
                raise InputError(f"{path} belongs to another sweep; choose another --out, or remove it")
            store.clear(path)
        else:
            _create(plan, path, variables, coords)
        status = open_dataset(path, SCHEMA)["status"].values
        for number, (place, settings) in enumerate(plan.points()):
            if status[place] == 0:
                continue
            values = {**measure(number, settings), "status": np.int8(0)}
            one = {k: np.reshape(v, (1,) * len(place) + np.shape(v)) for k, v in values.items()}
            store.write(path, tuple(slice(i, i + 1) for i in place), one)
    return open_dataset(path, SCHEMA)


def _create(plan: Sweep, path: Path, variables: Variables, coords: dict[str, Any]) -> None:
    axes = [name for name, _ in plan.axes]
    units = {**AXES, "window": "1" if plan.network else "tau_c"}
    data: dict[str, Any] = {
        name: (
            (*axes, *dims),
            np.full((*plan.shape, *(len(coords[d]) for d in dims)), np.nan),
            {"units": unit, "long_name": text},
        )
        for name, (dims, unit, text) in variables.items()
    }
    about = {"units": "1", "long_name": "0 = measured, -1 = not run yet"}
    data["status"] = (axes, np.full(plan.shape, -1, np.int8), about)
    grid = {k: (k, np.array(v), {"units": units[k]}) for k, v in plan.axes}
    attrs = {
        "schema": SCHEMA,
        "technology": plan.technology,
        "entropy": plan.entropy,
        "plan": plan.to_json(),
        "plan_hash": plan.hash,
        "package_version": package_version(),
    }
    template = with_units(xr.Dataset(data, {**grid, **coords}, attrs))
    store.create(template, path, {}, dict.fromkeys(axes, 1))
