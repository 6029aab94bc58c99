"""A deck: all that one ngspice run needs. PySpice's netlist objects write it, and nothing else of PySpice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from PySpice.Spice.Netlist import Circuit as Circuit
from PySpice.Spice.Netlist import SubCircuit as SubCircuit


@dataclass(frozen=True)
class Deck:
    """Everything one ngspice run needs, and what to expect back."""

    text: str  #: the netlist; its first line is the title
    nodes: tuple[str, ...]  #: saved voltages
    stop: float  #: end time [s]
    files: Mapping[str, str] = field(default_factory=dict)  #: tables beside the deck
    currents: tuple[str, ...] = ()  #: saved branch currents
    n_devices: int = 0
