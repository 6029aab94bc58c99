"""A technology: what the devices are, the operating point they suit, and how they deviate.

One small TOML file per technology, beside this module. `ideal` has sources and capacitors only, with
deviations injected at stated sigmas; the others have a `Process` of transistors, sized by role, whose
model cards and matching figures come from `circuits.pdk.model_cards`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from circuits.errors import InputError
from circuits.model.operating_point import OperatingPoint
from circuits.model.shape import checked
from circuits.model.text_file import read_toml

FOLDER = Path(__file__).parents[1] / "technologies"
KINDS = ("n", "p")
TEMPERATURES = (-40.0, 125.0)
"""Where model cards are trusted [degrees C]."""


@dataclass(frozen=True)
class Size:
    """A transistor of one role."""

    kind: str  #: "n" or "p"
    width: float  #: drawn, of one unit [m]
    length: float  #: drawn [m]

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(f"a transistor is of kind n or p, got {self.kind!r}")
        for what, value in (("width", self.width), ("length", self.length)):
            if not 1e-8 <= value <= 1e-3:
                raise InputError(f"transistor {what} {value!r}: sizes are in m, so 1 um is 1e-6")

    def scaled(self, area: float, least: tuple[float, float] = (0.0, 0.0)) -> Size:
        """The same shape with `area` times the gate area; no side below the rules' least.

        Parameters
        ----------
        area : factor
        least : width and length [m]; where one is reached the other takes the rest, down to its own
        """
        factor = math.sqrt(area)
        width, length = max(self.width * factor, least[0]), max(self.length * factor, least[1])
        over = width * length / (self.width * self.length * area)
        if over > 1.0 and area < 1.0:
            if length > least[1]:
                length = max(length / over, least[1])
            elif width > least[0]:
                width = max(width / over, least[0])
        return Size(self.kind, width, length)


class Levels(TypedDict):
    """Bias voltages and switch levels [V]."""

    vdd: float
    cascode_p: float
    cascode_n: float
    zero_idle: float


class Currents(TypedDict):
    """Bias currents [A]."""

    tail: float
    starve: float


class Capacitor(TypedDict):
    """Of the membrane."""

    density: float
    matching: float


@dataclass(frozen=True)
class Process:
    """What a transistor-level technology adds to the ideal one. SI units."""

    kit: Mapping[str, Any]  #: where model cards come from, see `circuits.pdk.model_cards`
    corners: tuple[str, ...]  #: process corners, the typical one first
    sizes: Mapping[str, Size]  #: by role
    levels: Levels
    currents: Currents
    matched: tuple[str, ...]  #: roles whose matching counts: those that are made larger for a smaller spread
    units: int  #: unit current sources in parallel that make W = 1
    diffusion: float  #: length of a drain or source [m], for its area and perimeter
    synapse_capacitance: float  #: what one unit synapse hangs on the membrane [F]
    silent_alike: bool  #: a silent synapse is its capacitance, to 1e-3 tau_c of 64 of them: measured
    fixed_capacitance: float  #: what slope source, comparator and reset hang on the membrane [F]
    least: Mapping[str, tuple[float, float]]  #: by kind: least width and length of a transistor [m]
    capacitor: Capacitor  #: density [F/m^2], matching: sigma * sqrt(area) of one capacitor [m]

    def __post_init__(self) -> None:
        if not self.corners or self.units < 1 or set(self.least) != set(KINDS):
            raise InputError("a process needs a corner, units >= 1, and the least sizes of n and p")
        positive: dict[str, Any] = {**self.currents, **self.capacitor, "diffusion": self.diffusion}
        if wrong := [name for name, value in positive.items() if value <= 0]:
            raise InputError(f"{wrong[0]} must be > 0, got {positive[wrong[0]]!r}")

    def size(self, role: str) -> Size:
        """Size of a role.

        Raises
        ------
        InputError
            If the technology has no such role.
        """
        if role not in self.sizes:
            raise InputError(f"no size for role {role!r}; there are {', '.join(sorted(self.sizes))}")
        return self.sizes[role]


@dataclass(frozen=True)
class Technology:
    """Description of one technology."""

    name: str
    description: str
    needs: str  #: programs and files, in words
    environment: tuple[str, ...]  #: environment variables that must be set
    operating_point: OperatingPoint
    mismatch: dict[str, float]  #: sigma by term name, see `montecarlo.mismatch.law`; empty with a process
    process: Process | None = field(default=None, compare=False)

    @classmethod
    def load(cls, name: str) -> Technology:
        """A built-in technology by name.

        Raises
        ------
        InputError
            If there is none of that name; the message lists those there are.
        """
        path = FOLDER / f"{name}.toml"
        if name not in cls.available():
            raise InputError(f"unknown technology {name!r}; available: {', '.join(cls.available())}")
        table = read_toml(path)
        process = table.get("process")
        if isinstance(process, dict) and isinstance(process.get("sizes"), dict):
            sizes = process["sizes"].items()  # role = [kind, W, L]
            named = {role: _named(size) for role, size in sizes}
            table["process"] = {**process, "sizes": named}
        fields = checked(table, TechnologyFile, str(path))
        return cls(**{"mismatch": {}, **fields})

    @staticmethod
    def available() -> list[str]:
        """Names of the built-in technologies."""
        return sorted(path.stem for path in FOLDER.glob("*.toml"))

    @property
    def corners(self) -> tuple[str, ...]:
        """Process corners, the typical one first; none in the ideal technology."""
        return self.process.corners if self.process else ()

    @property
    def temperatures(self) -> tuple[float, float] | None:
        """Range of temperatures [degrees C]; None in the ideal technology."""
        return TEMPERATURES if self.process else None

    def resized(self, area: float) -> Technology:
        """The same with `area` times the gate area of every matched transistor, as far as the rules allow.

        W / L stays as it is until one side is the least that the process can make.
        """
        if area == 1.0:
            return self
        process = self.transistors()
        sizes = {
            role: size.scaled(area, process.least[size.kind]) if role in process.matched else size
            for role, size in process.sizes.items()
        }
        return dataclasses.replace(self, process=dataclasses.replace(process, sizes=sizes))

    def transistors(self) -> Process:
        """The process.

        Raises
        ------
        InputError
            If the technology is ideal.
        """
        if self.process is None:
            having = ", ".join(n for n in self.available() if n != self.name)
            raise InputError(f"technology {self.name!r} has no transistors; choose one of {having}")
        return self.process


class TechnologyFile(TypedDict):
    """What a technology's file holds."""

    name: str
    description: str
    needs: str
    environment: tuple[str, ...]
    operating_point: OperatingPoint
    mismatch: NotRequired[dict[str, float]]
    process: NotRequired[Process]


def _named(size: Any) -> Any:
    """A list [kind, W, L] with its names."""
    return dict(zip(("kind", "width", "length"), size, strict=False)) if isinstance(size, list) else size
