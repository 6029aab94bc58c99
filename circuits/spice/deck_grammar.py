"""The part of the deck language that transistors need: subcircuits, instances, model cards, options.

Forms only; `circuits.spice.deck_check` puts them together. In a subcircuit every node has to be used at least
twice: ngspice takes a typing error for a new, floating node.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from circuits.errors import InputError

FLAGS = re.IGNORECASE | re.ASCII
NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?"
WORD = r"[a-z0-9_]+"
VALUE = rf"(?:{NUMBER}|\{{{WORD}\}})"
MOS = re.compile(
    rf"(m{WORD}) ({WORD}) ({WORD}) ({WORD}) ({WORD}) ({WORD}) "
    rf"(w={NUMBER} l={NUMBER} m={VALUE} ad={NUMBER} as={NUMBER} pd={NUMBER} ps={NUMBER} nrd=0 nrs=0"
    rf"(?: delvto={VALUE} mulu0={VALUE})?)\Z",
    FLAGS,
)
INSTANCE = re.compile(rf"(x{WORD}) ({WORD}(?: {WORD})+)((?: {WORD}={VALUE})*)\Z", FLAGS)
SUBCIRCUIT = re.compile(rf"\.subckt ({WORD}) ({WORD}(?: {WORD})*)((?: {WORD}={NUMBER})*)\Z", FLAGS)
SETTING = rf"(?:version=4(?:\.\d+){{1,2}}|[a-z]\w*={NUMBER})"
MOS_MODEL = re.compile(
    rf"\.model ({WORD}) [np]mos ?\(?(level=(?:14|54)(?: {SETTING})+)\)?\Z",
    FLAGS,
)
OPTIONS = re.compile(
    rf"\.options(?: (?:reltol|abstol|vntol|chgtol|gmin|temp)={NUMBER}| method=(?:gear|trap)"
    r"| bypass=1| num_threads=1)+\Z"
)
TRAN_FROM_OP = re.compile(rf"\.tran ({NUMBER}) ({NUMBER}) ({NUMBER}) ({NUMBER})\Z", FLAGS)
OP = re.compile(r"\.op\Z")


class Scope:
    """An open subcircuit: its ports, parameters, and how often each node is used."""

    def __init__(self, name: str, ports: list[str], parameters: list[str]) -> None:
        self.name, self.ports, self.parameters = name, ports, {p.lower() for p in parameters}
        self.used: Counter[str] = Counter()
        if len(set(ports)) < len(ports):
            raise InputError(f"subcircuit {name!r} has a port twice")

    def parameter(self, text: str) -> None:
        """Refuse a parameter that this subcircuit does not have."""
        if text.lower() not in self.parameters:
            raise InputError(f"subcircuit {self.name!r} has no parameter {text!r}")

    def connect(self, nodes: Iterable[str]) -> None:
        """Count the terminals at each node."""
        self.used.update(n.lower() for n in nodes)

    def close(self) -> None:
        """Refuse ports that nothing is connected to, and inner nodes with one terminal."""
        idle = [p for p in self.ports if not self.used[p]]
        lonely = [n for n, k in self.used.items() if k < 2 and n not in self.ports and n != "0"]
        if idle or lonely:
            raise InputError(
                f"subcircuit {self.name!r}: node {(idle + lonely)[0]!r} is connected once or never"
            )
