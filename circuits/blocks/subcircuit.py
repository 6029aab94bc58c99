"""What a transistor-level block is made of, independent of any process.

A block names its transistors by role; sizes and model cards come from the technology when a deck is
written (`circuits.benches.testbench`). Every transistor can deviate: a block has, for each of them, the
parameters dv_<path> (shift of the threshold, `delvto` [V]) and mu_<path> (factor of the current, `mulu0`),
passed down through blocks inside blocks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from circuits.errors import InputError
from circuits.units import name


@dataclass(frozen=True)
class Mos:
    """A transistor, or `count` equal ones in parallel."""

    name: str
    role: str  #: key of the technology's sizes
    drain: str
    gate: str
    source: str
    bulk: str
    count: str = "1"  #: a number, or the name of one of the block's parameters


@dataclass(frozen=True)
class Capacitor:
    """A linear capacitor; its value is a number or one of the block's parameters [F]."""

    name: str
    top: str
    bottom: str
    farads: str


@dataclass(frozen=True)
class Buffer:
    """An ideal buffer: the voltage of `output` is that of `input`."""

    name: str
    output: str
    input: str


@dataclass(frozen=True)
class Current:
    """An ideal current from one node to another; a number or one of the block's parameters [A]."""

    name: str
    start: str
    end: str
    amps: str


@dataclass(frozen=True)
class Use:
    """Another block inside this one; `parameters` are numbers, or names of this block's own."""

    name: str
    block: Block
    nodes: tuple[str, ...]
    parameters: Mapping[str, str] = field(default_factory=dict)


Part = Mos | Capacitor | Buffer | Current | Use


@dataclass(frozen=True)
class Block:
    """A subcircuit."""

    name: str
    ports: tuple[str, ...]
    parts: tuple[Part, ...]
    parameters: Mapping[str, float] = field(default_factory=dict)  #: with their defaults

    def __post_init__(self) -> None:
        names = [part.name for part in self.parts]
        if len(set(names)) < len(names) or any("_" in n for n in names):
            raise InputError(f"block {self.name!r}: parts need different names without underscores")
        for text in (self.name, *names, *self.ports, *self.parameters):
            if text != "0":
                name(text)

    def transistors(self) -> Iterator[tuple[str, Mos, str]]:
        """(path, transistor, count in terms of this block's parameters) of all, inner blocks included."""
        for part in self.parts:
            if isinstance(part, Mos):
                yield part.name, part, part.count
            elif isinstance(part, Use):
                for path, mos, count in part.block.transistors():
                    default = part.block.parameters.get(count)
                    resolved = part.parameters.get(count, count if default is None else repr(default))
                    yield f"{part.name}_{path}", mos, resolved

    def blocks(self) -> Iterator[Block]:
        """This block and all inside it, inner ones first, each once."""
        seen: set[str] = set()
        for part in self.parts:
            if isinstance(part, Use):
                for inner in part.block.blocks():
                    if inner.name not in seen:
                        seen.add(inner.name)
                        yield inner
        yield self


def inverter(label: str, to: str, of: str, roles: tuple[str, str] = ("gate_p", "gate_n")) -> tuple[Part, ...]:
    """Two transistors of a static inverter between `vdd` and ground.

    Parameters
    ----------
    to, of : nodes of its output and its input
    roles : of the P and of the N device
    """
    return (
        Mos(f"{label}p", roles[0], to, of, "vdd", "vdd"),
        Mos(f"{label}n", roles[1], to, of, "0", "0"),
    )
