"""Model cards of a technology's transistors, and how much two of the same size differ.

Whatever the kit, a deck gets plain transistor lines in SI units and one `.model` statement of plain
numbers for each size: no library, no file to include, no subcircuit reaches ngspice. A kit is thereby cut
to the one bin that holds a size, which is also what makes it quick to load.
"""

from __future__ import annotations

import json
import os
from functools import lru_cache
from typing import Any, Literal, TypedDict

from circuits.errors import InputError
from circuits.model.shape import checked
from circuits.pdk import generic130 as generic
from circuits.pdk import gf180mcu, sky130
from circuits.pdk.bins import Card
from circuits.pdk.installation import VARIABLE
from circuits.pdk.technology import Size, Technology

__all__ = ["Card", "card"]

Kind = Literal["n", "p"]


class OwnCards(TypedDict):
    """A table [process.kit] of cards beside the technologies."""

    reader: Literal["cards"]
    file: str
    models: dict[Kind, str]
    vth: dict[Kind, float]
    beta: dict[Kind, float]
    corners: dict[str, dict[Kind, tuple[float, float, float]]]


class GF180MCU(TypedDict):
    """The same of that kit."""

    reader: Literal["gf180mcu"]
    places: list[str]
    models: dict[Kind, list[str]]
    corners: dict[str, str]
    parameters: dict[str, float]


class SKY130(TypedDict):
    """The same of that kit."""

    reader: Literal["sky130"]
    models: dict[Kind, str]
    corners: dict[str, str]
    layouts: list[tuple[str, str]]
    settings: dict[str, float]
    shares: dict[Kind, dict[str, float]]


READERS: dict[str, tuple[Any, Any]] = {
    "cards": (generic.card, OwnCards),
    "gf180mcu": (gf180mcu.card, GF180MCU),
    "sky130": (sky130.card, SKY130),
}
"""Name -> what reads the kit, and its table."""


def card(technology: Technology, size: Size, corner: str = "tt") -> Card:
    """Card of the transistors of one size at one process corner.

    Parameters
    ----------
    technology : with transistors
    corner : such as "tt"

    Raises
    ------
    InputError
        If the technology has no transistors or no such corner, its kit is missing or not readable, or no
        bin of the kit holds the size.
    """
    process = technology.transistors()
    if corner not in process.corners:
        raise InputError(f"{technology.name} has corners {', '.join(process.corners)}, not {corner!r}")
    # the description as text, since a dictionary is no key; the folder, since a test may move it
    kit = json.dumps(dict(process.kit), sort_keys=True)
    return _card(technology.name, kit, os.environ.get(VARIABLE, ""), size, corner)


@lru_cache(maxsize=4096)
def _card(what: str, kit: str, root: str, size: Size, corner: str) -> Card:
    fields = json.loads(kit)
    reader = fields.get("reader")
    if not isinstance(reader, str) or reader not in READERS:
        raise InputError(f"{what}: the kit's reader {reader!r} is unknown; there are {', '.join(READERS)}")
    read, shape = READERS[reader]
    table = checked(fields, shape, what, "process.kit")
    if corner not in table["corners"]:
        raise InputError(f"{what}: process.kit has no corner {corner!r}")
    return read(table, what, size, corner)
