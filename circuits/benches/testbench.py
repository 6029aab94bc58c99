"""A test bench: blocks placed in a circuit with sources around them, written as one ngspice deck.

The deck carries everything: model cards cut to the bins it uses, one subcircuit a block, sources on a grid
of femtoseconds. It starts from an operating point, not from initial conditions: with those the start-up of
the bias nodes would enter the energy.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from circuits.blocks.subcircuit import Block, Buffer, Capacitor, Current, Mos
from circuits.errors import InputError
from circuits.pdk.model_cards import Card, card
from circuits.pdk.technology import TEMPERATURES, Size, Technology
from circuits.spice.deck import Circuit, Deck, SubCircuit
from circuits.units import name, number, title

TICK = 1e-15
"""Grid of all times [s]: ngspice loses break points that are too close together."""
EDGE = 2e-3
"""Edge of a control signal [tau_c]: 0.2 ns at 100 ns."""


@dataclass(frozen=True)
class Accuracy:
    """What ngspice's integration is asked for."""

    reltol: float
    vntol: float  #: [V]
    abstol: float  #: [A]
    chgtol: float  #: [C]
    longest: float  #: longest step [tau_c]
    method: str = "trap"  #: as exact as gear at two thirds of its steps
    bypass: bool = False  #: keep a transistor as it was while its voltages hardly change: a quarter faster

    def tightened(self, tolerance: float = 10.0, step: float = 2.0) -> Accuracy:
        """Tolerances divided by one number, the longest step by another.

        Parameters
        ----------
        tolerance, step : the two divisors
        """
        return Accuracy(
            self.reltol / tolerance,
            self.vntol / tolerance,
            self.abstol,  # already far below every current here; less, and ngspice finds no time step
            self.chgtol / tolerance,
            self.longest / step,
            self.method,
        )


CAMPAIGN = Accuracy(1e-4, 1e-6, 1e-12, 1e-15, 1 / 50, bypass=True)
STEADY = dataclasses.replace(CAMPAIGN, bypass=False)
"""For nodes that hold a charge, and for small currents: with bypass a held node drifts by 65 uV in 100 ns."""
CONVERGED = Accuracy(1e-5, 1e-7, 1e-12, 1e-17, 1 / 200)


@dataclass(frozen=True)
class Device:
    """One transistor of a bench: what its deviation is drawn for."""

    path: str  #: instance and block names joined by underscores
    role: str
    size: Size
    count: float  #: units in parallel
    sigma_vth: float  #: of all units together [V]
    sigma_beta: float


class Bench:
    """A circuit under construction.

    Parameters
    ----------
    technology : Technology
        With a process.
    heading : str
        Title of the deck.
    corner : str
    temperature : float
        [degrees C]
    tau_c : float
        [s]
    deviations : mapping, optional
        (threshold shift [V], current factor) by path of the transistors that deviate.
    """

    def __init__(
        self,
        technology: Technology,
        heading: str,
        *,
        corner: str = "tt",
        temperature: float = 27.0,
        tau_c: float = 100e-9,
        deviations: Mapping[str, tuple[float, float]] | None = None,
    ) -> None:
        self.technology, self.process = technology, technology.transistors()
        if corner not in self.process.corners:
            raise InputError(
                f"technology {technology.name!r} has no corner {corner!r}; "
                f"it has {', '.join(self.process.corners)}"
            )
        low, high = TEMPERATURES
        if not low <= temperature <= high:
            raise InputError(f"temperature must lie in {low:g}..{high:g} C, got {temperature!r}")
        self.corner, self.temperature, self.tau_c = corner, float(temperature), tau_c
        self.deviations = dict(deviations or {})
        self.circuit = Circuit(title(heading))
        self.devices: list[Device] = []
        self._cards: dict[str, Card] = {}
        self._written: dict[str, Block] = {}
        self._saved: list[str] = []
        self._nodes: list[str] = []
        self._currents: list[str] = []
        self._used: set[str] = set()

    def place(self, label: str, block: Block, *nodes: str, **parameters: float) -> None:
        """An instance of a block.

        Parameters
        ----------
        label : start of its transistors' paths
        nodes : what its ports are connected to
        parameters : of the block, where they are not its defaults

        Raises
        ------
        InputError
            For a wrong count of nodes, an unknown parameter, or two different blocks of one name.
        """
        if len(nodes) != len(block.ports):
            raise InputError(f"{label}: block {block.name!r} has {len(block.ports)} ports, got {len(nodes)}")
        if unknown := set(parameters) - set(block.parameters):
            raise InputError(f"{label}: block {block.name!r} has no parameter {', '.join(sorted(unknown))}")
        for inner in block.blocks():
            self._define(inner)
        values = {**block.parameters, **parameters}
        text = {k: number(v) for k, v in parameters.items()}
        for path, mos, count in block.transistors():
            size, full = self.process.size(mos.role), f"{name(label)}_{path}"
            units = float(values[count]) if count in values else float(count)
            model_card = self._card(mos.role)
            root = units**0.5
            self.devices.append(
                Device(full, mos.role, size, units, model_card.sigma_vth / root, model_card.sigma_beta / root)
            )
            if full in self.deviations:
                self._used.add(full)
                shift, factor = self.deviations[full]
                text |= {f"dv_{path}": number(shift), f"mu_{path}": number(factor)}
        self.circuit.X(label, block.name, *nodes, **text)

    def _card(self, role: str) -> Card:
        if role not in self._cards:
            self._cards[role] = card(self.technology, self.process.size(role), self.corner)
        return self._cards[role]

    def _define(self, block: Block) -> None:
        if block.name in self._written:
            if self._written[block.name] != block:
                raise InputError(f"two different blocks are named {block.name!r}")
            return
        self._written[block.name] = block
        parameters = {k: number(v) for k, v in block.parameters.items()}
        if self.deviations:  # nominal decks stay readable
            for path, _, _ in block.transistors():
                parameters |= {f"dv_{path}": "0", f"mu_{path}": "1"}
        sub = SubCircuit(block.name, *block.ports, **parameters)
        for part in block.parts:
            if isinstance(part, Mos):
                sub.M(
                    part.name, part.drain, part.gate, part.source, part.bulk,
                    model=self._card(part.role).model,
                    raw_spice=self._geometry(part.role, part.name, _value(part.count)),
                )  # fmt: skip
            elif isinstance(part, Capacitor):
                sub.C(part.name, part.top, part.bottom, _value(part.farads))
            elif isinstance(part, Current):
                sub.I(part.name, part.start, part.end, _value(part.amps))
            elif isinstance(part, Buffer):
                sub.VCVS(part.name, part.output, "0", part.input, "0", voltage_gain="1")
            else:
                arguments = {k: _value(v) for k, v in part.parameters.items()}
                if self.deviations:
                    for path, _, _ in part.block.transistors():
                        inner = f"{part.name}_{path}"
                        arguments |= {f"dv_{path}": f"{{dv_{inner}}}", f"mu_{path}": f"{{mu_{inner}}}"}
                sub.X(part.name, part.block.name, *part.nodes, **arguments)
        self.circuit.subcircuit(sub)

    def _geometry(self, role: str, path: str, count: str) -> str:
        size, end = self.process.size(role), self.process.diffusion
        area, edge = number(size.width * end), number(2 * (size.width + end))
        shape = (
            f"w={number(size.width)} l={number(size.length)} m={count} ad={area} as={area} pd={edge} "
            f"ps={edge} nrd=0 nrs=0"
        )
        return f"{shape} delvto={{dv_{path}}} mulu0={{mu_{path}}}" if self.deviations else shape

    def time(self, seconds: float) -> str:
        """A time as text, on the grid."""
        return f"{round(seconds / TICK)}e-15"

    def level(self, node: str, volts: float) -> None:
        """A node held at a voltage.

        Parameters
        ----------
        volts : [V]
        """
        self.circuit.V(node, node, self.circuit.gnd, number(volts))

    def signal(self, node: str, first: float, *changes: tuple[float, float]) -> None:
        """A node whose voltage follows a staircase.

        Parameters
        ----------
        first : level at the start [V]
        changes : tuples (float, float), when each edge begins [s], and the level behind it [V]

        Raises
        ------
        InputError
            If changes lie closer together than an edge.
        """
        corners, now = [f"0 {number(first)}"], first
        edge = round(EDGE * self.tau_c / TICK)
        ticks = [round(t / TICK) for t, _ in changes]
        if any(b - a <= edge for a, b in pairwise([-edge, *ticks])):
            raise InputError(f"signal {node!r}: changes must lie more than an edge, {EDGE:g} tau_c, apart")
        for n, (_, volts) in zip(ticks, changes, strict=True):
            corners += [f"{n}e-15 {number(now)}", f"{n + edge}e-15 {number(volts)}"]
            now = volts
        if len(corners) == 1:
            return self.level(node, first)
        self.circuit.V(node, node, self.circuit.gnd, f"PWL({' '.join(corners)})")
        return None

    def save(self, *nodes: str) -> None:
        """Record the voltages of nodes."""
        self._nodes += nodes

    def save_current(self, *sources: str) -> None:
        """Record the currents through voltage sources, by their nodes."""
        self._currents += sources

    def transient(self, stop: float, accuracy: Accuracy, gmin: float | None = None) -> Deck:
        """The finished deck.

        Parameters
        ----------
        stop : end [s]
        gmin : what ngspice puts over every junction [S]; 1e-12 by default

        Raises
        ------
        InputError
            If a transistor that should deviate is not there.
        """
        longest = number(accuracy.longest * self.tau_c)
        options = (
            f".options reltol={number(accuracy.reltol)} abstol={number(accuracy.abstol)} "
            f"vntol={number(accuracy.vntol)} chgtol={number(accuracy.chgtol)} method={accuracy.method} "
            + ("bypass=1 " if accuracy.bypass else "")
        )
        if gmin is not None:
            options += f"gmin={number(gmin)} "
        return self._deck(
            options, f".tran {longest} {self.time(stop)} 0 {longest}", round(stop / TICK) * TICK
        )

    def operating_point(self, reltol: float = 1e-6) -> Deck:
        """The finished deck, for its DC solution alone: `Deck.stop` is 0."""
        return self._deck(f".options reltol={number(reltol)} abstol=1e-15 ", ".op", 0.0)

    def _deck(self, options: str, analysis: str, stop: float) -> Deck:
        if unknown := set(self.deviations) - self._used:
            raise InputError(f"deviations of transistors that are not there: {sorted(unknown)[:3]}")
        saved = "".join(
            f".save {what}\n"
            for what in [*(f"v({n})" for n in self._nodes), *(f"i(v{c})" for c in self._currents)]
        )
        cards = {c.model: c.text for c in self._cards.values()}
        self.circuit.raw_spice = "".join(cards.values())
        text = (
            f"{self.circuit}{options}temp={number(self.temperature)} num_threads=1\n{saved}{analysis}\n.end\n"
        )
        return Deck(
            text,
            tuple(self._nodes),
            stop,
            currents=tuple(f"v{c}" for c in self._currents),
            n_devices=len(self.devices),
        )


def _value(text: str) -> str:
    """A number as it is, a parameter's name in braces."""
    try:
        return number(float(text))
    except ValueError:
        return f"{{{name(text)}}}"
