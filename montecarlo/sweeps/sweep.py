"""A sweep: the same neurons, or the same chips of a network, at every point of a grid of conditions.

Every point draws the same random numbers, so that curves differ by the conditions and not by chance.
`montecarlo.campaign.conditions` says what can be swept.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import itertools
import json
import math
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import numpy as np
import xarray as xr

from circuits.errors import InputError
from circuits.model.shape import checked
from circuits.model.text_file import read_toml
from circuits.pdk.technology import Technology
from montecarlo.campaign.conditions import AXES, CONDITIONS, Settings, check_axis, law_at
from montecarlo.campaign.schema import open_dataset, package_version, with_units
from montecarlo.mismatch.law import MismatchLaw
from montecarlo.mismatch.space_filling import DESIGNS
from montecarlo.stores import store

SCHEMA = "ttfs-analog/sweep/1"
Variables = dict[str, tuple[tuple[str, ...], str, str]]
"""Name -> (dims behind the axes, units, long_name)."""
Measurements = Generator[tuple[int, dict[str, Any]], None, None]
Each = Callable[[list[int]], Measurements]
"""Numbers of points -> (number, values by variable), in any order."""
VERSION = 2
"""Of the meaning of a plan's fields."""
LAW = ("distribution", "correlation", "common")
"""Fields that replace those of the law."""
MOST_POINTS = 100_000
Number = int | float


class SweepFile(TypedDict):
    """What a SWEEP.toml may hold."""

    axes: dict[str, list[Number | str]]
    technology: NotRequired[str]
    samples: NotRequired[int]
    synapses: NotRequired[int]
    seed: NotRequired[int]
    network: NotRequired[str]
    noise: NotRequired[str]
    data: NotRequired[str]
    extrapolate: NotRequired[bool]
    design: NotRequired[str]
    distribution: NotRequired[dict[str, str]]
    correlation: NotRequired[dict[str, dict[str, Number]]]
    common: NotRequired[dict[str, Number]]


@dataclass(frozen=True)
class Sweep:
    """Plan of a sweep. Two plans with the same hash give the same dataset, bit for bit."""

    technology: str
    axes: tuple[tuple[str, tuple[Any, ...]], ...]  #: name and values, in the order of the dims
    samples: int = 200  #: neurons, or chips of the network, at every point
    synapses: int = 8  #: of a neuron
    entropy: int = 0
    network: str = ""  #: network file; none: single neurons
    noise: str = ""  #: noise model of the network's chips; none: the technology's sigmas, or see `placed`
    data: str = ""  #: dataset of the network; none: its own
    extrapolate: bool = False  #: use the noise model beyond its range
    files: tuple[str, ...] = ()  #: fingerprints of the network and the noise model
    design: str = (
        "plain"  #: how neurons fill the space of deviations, see `montecarlo.mismatch.space_filling`
    )
    distribution: tuple[tuple[str, str], ...] = ()  #: as in `montecarlo.mismatch.law`; these three replace
    correlation: tuple[tuple[str, str, float], ...] = ()  #: what the technology, or the noise model, has
    common: tuple[tuple[str, float], ...] = ()
    version: int = VERSION

    def __post_init__(self) -> None:
        technology = Technology.load(self.technology)
        for item in ("samples", "synapses"):
            value = getattr(self, item)
            if not isinstance(value, int) or isinstance(value, bool) or value < 2:
                raise InputError(f"sweep: {item} must be a whole number >= 2, got {value!r}")
        if not isinstance(self.extrapolate, bool):
            raise InputError(f"sweep: extrapolate is true or false, got {self.extrapolate!r}")
        if not self.axes:
            raise InputError(f"sweep: the table [axes] is empty; known: {', '.join(AXES)}")
        if (points := math.prod(self.shape)) > MOST_POINTS:
            raise InputError(f"sweep: {points} points; take at most {MOST_POINTS}, or several sweeps")
        for name, values in self.axes:
            check_axis(technology, name, values, network=bool(self.network))
        if self.design not in DESIGNS:
            raise InputError(f"sweep: unknown design {self.design!r}; available: {', '.join(DESIGNS)}")
        if self.network and self.design != "plain":
            raise InputError("sweep: a design is for neurons; the chips of a network are drawn plainly")
        if self.network and technology.process:
            self._check_network_of_transistors()
        base = self.law(MismatchLaw.of(technology.mismatch))
        if not self.noise:  # better now than at the last point
            for _, settings in self.points():
                law_at(settings, base)

    def _check_network_of_transistors(self) -> None:
        names = [name for name, _ in self.axes]
        conditions = [name for name in names if name in CONDITIONS]
        if self.noise and conditions:
            raise InputError(
                f"sweep: a noise model holds at the {conditions[0]} that it was measured at; leave out "
                "noise, and the layers of a placed network are characterized at every point"
            )
        if not self.noise and len(conditions) < len(names):
            other = next(name for name in names if name not in CONDITIONS)
            raise InputError(
                f"sweep: {other}: chips of {self.technology} deviate as was measured: name a noise model "
                f"(noise = ...), or sweep a placed network over {', '.join(CONDITIONS)} alone"
            )
        if self.placed and (law := [name for name in LAW if getattr(self, name)]):
            raise InputError(f"sweep: [{law[0]}]: transistors deviate by the matching of their process")

    @property
    def placed(self) -> bool:
        """Whether a network on transistors is characterized at every point, where it is operated there."""
        return bool(self.network and not self.noise and Technology.load(self.technology).process)

    def law(self, base: MismatchLaw) -> MismatchLaw:
        """What `base` becomes under the distributions, correlations and common parts of this plan."""
        return dataclasses.replace(base, **{k: getattr(self, k) for k in LAW if getattr(self, k)})

    @classmethod
    def from_toml(cls, path: str | Path, entropy: int = 0) -> Sweep:
        """Read a SWEEP.toml; files that it names are looked for beside it.

        Parameters
        ----------
        path : str or Path
        entropy : int
            Seed, if the file has none.

        Raises
        ------
        InputError
            If the file does not exist or does not describe a sweep.
        """
        table = checked(read_toml(path), SweepFile, str(path))
        axes, seed = table.pop("axes"), table.pop("seed", entropy)
        if seed < 0:
            raise InputError(f"{path}: seed must be a whole number >= 0, got {seed!r}")
        table |= {name: _pairs(path, name, table[name]) for name in LAW if name in table}
        files = []
        for item in ("network", "noise"):
            if item in table:
                table[item] = str(Path(path).parent / table[item])
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
        """Values of each axis."""
        return tuple(len(values) for _, values in self.axes)

    def points(self) -> Iterator[tuple[tuple[int, ...], Settings]]:
        """Place in the grid and settings of every point."""
        names = [name for name, _ in self.axes]
        places = itertools.product(*(range(n) for n in self.shape))
        grid = itertools.product(*(values for _, values in self.axes))
        for place, values in zip(places, grid, strict=True):
            yield place, dict(zip(names, values, strict=True))

    def to_json(self) -> str:
        """All fields, as the dataset keeps them."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @property
    def hash(self) -> str:
        """Identifies the plan; where a file lies does not matter, what is in it does."""
        anywhere = dataclasses.replace(self, network=Path(self.network).name, noise=Path(self.noise).name)
        return hashlib.sha256(anywhere.to_json().encode()).hexdigest()[:16]


def _pairs(path: str | Path, name: str, table: dict[str, Any]) -> tuple[tuple[Any, ...], ...]:
    """A table of a SWEEP.toml as tuples: term -> value, or for correlations term -> term -> value."""
    rows: list[tuple[Any, ...]] = list(table.items())
    if name == "correlation":
        rows = [(a, b, rho) for a, more in rows for b, rho in more.items()]
    if not rows:
        shape = "slope.threshold = 0.6" if name == "correlation" else "slope = ..."
        raise InputError(f"{path}: [{name}] must hold lines such as {shape}")
    return tuple(rows)


def run(
    plan: Sweep,
    folder: Path,
    variables: Variables,
    coords: dict[str, Any],
    measure: Callable[[int, Settings], dict[str, Any]],
    each: Each | None = None,
) -> xr.Dataset:
    """Measure every point that FOLDER/sweep.zarr does not hold yet.

    Parameters
    ----------
    plan : Sweep
    folder : Path
    variables, coords : dict
        What `measure` gives, and the coordinates of its dims.
    measure : callable
        (number of the point, its settings) -> values by variable.
    each : callable, optional
        Measures many points instead, elsewhere and in any order.

    Raises
    ------
    InputError
        If the folder holds another sweep, or cannot be written.
    """
    path = folder / "sweep.zarr"
    with store.locked(path):
        if path.exists():
            if open_dataset(path, SCHEMA, to_resume=True).attrs.get("plan_hash") != plan.hash:
                raise InputError(f"{path} belongs to another sweep; choose another --out, or remove it")
            store.clear(path)
        else:
            _create(plan, path, variables, coords)
        status = open_dataset(path, SCHEMA, to_resume=True)["status"].values
        points = dict(enumerate(plan.points()))
        todo = [number for number, (place, _) in points.items() if status[place] != 0]
        here: Measurements = ((number, measure(number, points[number][1])) for number in todo)
        with contextlib.closing(each(todo) if each and todo else here) as measurements:
            for number, values in measurements:
                place = points[number][0]
                whole = {**values, "status": np.int8(0)}
                one = {k: np.reshape(v, (1,) * len(place) + np.shape(v)) for k, v in whole.items()}
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
