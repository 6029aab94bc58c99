"""What ngspice accepts in silence is refused here, before it runs.

ngspice takes a capacitor without a value, a source list of odd length, an unknown option, a unit letter
that scales by 1e-18, a typing error in a saved vector, and it executes control blocks and some
comments. Every deck therefore has to be in the small language that this package writes: known elements,
bare finite numbers, even and monotone point lists, existing nodes, models and tables.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from itertools import pairwise

from circuits.errors import InputError
from circuits.spice.deck_grammar import INSTANCE, MOS, MOS_MODEL, OP, OPTIONS, SUBCIRCUIT, TRAN_FROM_OP, Scope

FLAGS = re.IGNORECASE | re.ASCII
NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?"
NUMBER_ONLY = re.compile(rf"{NUMBER}\Z", FLAGS)
NODE = r"[a-z0-9][a-z0-9_]*"
NAME = r"[a-z0-9_]+"
PASSIVE = re.compile(rf"([rcl]{NAME}) ({NODE}) ({NODE}) ({NUMBER})(?: ic=({NUMBER}))?\Z", FLAGS)
PARAMETRIC = re.compile(rf"([ic]{NAME}) ({NODE}) ({NODE}) \{{({NAME})\}}\Z", FLAGS)
SOURCE = re.compile(rf"([iv]{NAME}) ({NODE}) ({NODE}) (?:({NUMBER})|(pulse|pwl)\(([^()]*)\))\Z", FLAGS)
CONTROLLED = re.compile(rf"([eg]{NAME}) ({NODE}) ({NODE}) ({NODE}) ({NODE}) ({NUMBER})\Z", FLAGS)
SWITCH = re.compile(rf"(s{NAME}) ({NODE}) ({NODE}) ({NODE}) ({NODE}) ({NODE})\Z", FLAGS)
BEHAVIORAL = re.compile(rf"(b{NAME}) ({NODE}) ({NODE}) v=([a-z0-9_(),*-]+)\Z", FLAGS)
READS = re.compile(rf"v\(({NODE})\)", FLAGS)
TABLE = re.compile(rf"(a{NAME}) %i\[({NODE}(?: {NODE})*)\] ({NODE})\Z", FLAGS)
SWITCH_MODEL = re.compile(
    rf"\.model ({NODE}) sw ?\(roff=({NUMBER}) ron=({NUMBER}) vh=({NUMBER}) vt=({NUMBER})\)\Z", FLAGS
)
TABLE_MODEL = re.compile(
    rf"\.model ({NODE}) filesource ?\(amploffset=\[(0(?: 0)*)\] amplscale=\[({NUMBER}(?: {NUMBER})*)\] "
    r'amplstep=true file="([a-z][a-z0-9_]*\.txt)" timeoffset=0 timerelative=false timescale=1\)\Z',
    re.ASCII,
)
TRAN = re.compile(rf"\.tran ({NUMBER}) ({NUMBER}) ({NUMBER}) ({NUMBER}) uic\Z", FLAGS)
SAVE = re.compile(rf"\.save ([vi])\(({NODE})\)\Z", FLAGS)


def check(text: str, files: Mapping[str, str], stop: float) -> None:
    """Refuse a deck that is not in the language this package writes.

    Parameters
    ----------
    files : mapping
        Tables beside the deck.
    stop : float
        The end time that is expected [s].

    Raises
    ------
    InputError
        Naming the line.
    """
    lines = text.split("\n")
    if not text.isascii():
        raise InputError("deck: characters that are not ASCII")
    if not re.match(r"(\.title |\* )[ -~]*\Z", lines[0]):
        raise InputError(f"deck: the first line must be a title, got {lines[0][:60]!r}")
    seen = _Seen(files)
    for number, line in _joined(lines):
        try:
            seen.statement(line)
        except InputError as error:
            raise InputError(f"deck line {number}: {error}: {line[:80]!r}") from None
    seen.finish(stop)


def _joined(lines: list[str]) -> Iterable[tuple[int, str]]:
    """Statements with their line numbers; continuations joined, plain comments dropped."""
    number, statement = 0, ""
    for k, line in enumerate(lines[1:], 2):
        if line.startswith("+"):
            statement += " " + line[1:].strip()
            continue
        if statement:
            yield number, statement
        number, statement = k, line.strip()
        if statement.startswith("* "):
            statement = ""
    if statement:
        yield number, statement


class _Seen:
    """What a deck has named so far."""

    def __init__(self, files: Mapping[str, str]) -> None:
        self.files = files
        self.nodes: set[str] = {"0"}
        self.names: set[str] = set()
        self.models: dict[str, tuple[str, int]] = {}
        self.wanted: list[tuple[str, str]] = []
        self.uses: list[tuple[str, str, int]] = []
        self.stop = math.nan
        self.trans = 0
        self.ended = False
        self.from_op = False  # the analysis starts from an operating point
        self.initial = False  # an element has an initial condition
        self.scope: Scope | None = None  # of the subcircuit that is open
        self.outside: tuple[set[str], set[str]] = (set(), set())
        self.subcircuits: dict[str, Scope] = {}

    def statement(self, line: str) -> None:
        kind = line[0].lower()
        if self.ended:
            raise InputError("text after .end")
        if kind == ".":
            self._card(line)
            return
        reads: list[str] = []
        if kind == "m":
            name, *nodes, model, values = _match(MOS, line)
            self._values(values)
            self.uses.append(("mos", model.lower(), 0))
        elif kind == "x":
            name, nodes = self._instance(line)
        elif self.scope and (match := PARAMETRIC.match(line)):
            name, *nodes, parameter = match.groups()
            self.scope.parameter(parameter)
        elif kind in "rcl":
            name, *nodes, value, initial = _match(PASSIVE, line)
            if not 0 < float(value) < math.inf or not math.isfinite(float(initial or 0)):
                raise InputError("the value must be > 0 and finite")
            self.initial |= bool(initial)
        elif kind in "iv":
            name, *nodes, value, shape, points = _match(SOURCE, line)
            _finite(value) if value else _points(shape.lower(), points)
        elif kind in "eg":
            name, *nodes, value = _match(CONTROLLED, line)
            nodes, reads = nodes[:2], nodes[2:]
            _finite(value)
        elif kind == "s":
            name, *nodes, model = _match(SWITCH, line)
            nodes, reads = nodes[:2], nodes[2:]
            self.uses.append(("sw", model.lower(), 0))
        elif kind == "b":
            name, *nodes, expression = _match(BEHAVIORAL, line)
            self._expression(expression)
        elif kind == "a":
            name, ports, model = _match(TABLE, line)
            nodes = ports.split()
            self.uses.append(("filesource", model.lower(), len(nodes)))
        else:
            raise InputError("unknown element")
        if self.scope:
            self.scope.connect([*nodes, *reads])
        else:
            self.wanted += [("node", n.lower()) for n in reads]
        self.nodes.update(n.lower() for n in nodes)
        if name.lower() in self.names:
            raise InputError(f"a second element {name!r}")
        self.names.add(name.lower())

    def _values(self, text: str) -> None:
        """Values of an element: finite numbers, or in a subcircuit its parameters in braces."""
        for word in text.split():
            value = word.partition("=")[2]
            if value.startswith("{") and self.scope:
                self.scope.parameter(value[1:-1])
            else:
                _finite(value)

    def _instance(self, line: str) -> tuple[str, list[str]]:
        name, words, values = _match(INSTANCE, line)
        *nodes, block = words.split()
        definition = self.subcircuits.get(block.lower())
        if definition is None:
            raise InputError(f"no subcircuit {block!r} before this line")
        if len(nodes) != len(definition.ports):
            raise InputError(f"subcircuit {block!r} has {len(definition.ports)} ports, {len(nodes)} nodes")
        for word in values.split():
            definition.parameter(word.partition("=")[0])
        self._values(values)
        return name, nodes

    def _subcircuit(self, line: str) -> None:
        if self.scope:
            raise InputError("a subcircuit inside a subcircuit")
        name, ports, values = _match(SUBCIRCUIT, line)
        self._values(values)
        self.scope = Scope(name.lower(), ports.lower().split(), [w.partition("=")[0] for w in values.split()])
        self.outside = (self.nodes, self.names)
        self.nodes, self.names = set(), set()

    def _end_subcircuit(self, line: str) -> None:
        if not self.scope or line.lower() != f".ends {self.scope.name}":
            raise InputError("closes no subcircuit that is open")
        self.scope.close()
        if self.scope.name in self.subcircuits:
            raise InputError(f"a second subcircuit {self.scope.name!r}")
        self.subcircuits[self.scope.name] = self.scope
        self.nodes, self.names = self.outside
        self.scope = None

    def _expression(self, text: str) -> None:
        """Products, differences from 1, max and min of node voltages; nothing else."""
        self.wanted += [("node", n.lower()) for n in READS.findall(text)]
        rest = READS.sub("v", text.lower())
        before = ""
        while rest != before:
            before = rest
            rest = re.sub(r"(?:max|min)\(v,v\)|\(1-v\)|v\*v", "v", rest)
        if rest != "v":
            raise InputError("only products, 1 - v, max and min of node voltages are allowed")

    def _card(self, line: str) -> None:
        word = line.split()[0].lower()
        if word == ".subckt":
            self._subcircuit(line)
        elif word == ".ends":
            self._end_subcircuit(line)
        elif self.scope:
            raise InputError(f"{word} is not allowed in a subcircuit")
        elif word == ".options":
            _match(OPTIONS, line)
        elif word == ".op":
            _match(OP, line)
            self.from_op = True
            self.stop, self.trans = 0.0, self.trans + 1
        elif word == ".save":
            what, name = _match(SAVE, line)
            self.wanted.append(("source" if what.lower() == "i" else "node", name.lower()))
        elif word == ".tran":
            match = TRAN_FROM_OP.match(line)
            self.from_op |= bool(match)
            step, stop, start, longest = (float(v) for v in (match.groups() if match else _match(TRAN, line)))
            self.stop, self.trans = stop, self.trans + 1
            if not (0 < step < math.inf and 0 <= start < stop < math.inf and 0 < longest < math.inf):
                raise InputError("need step > 0, 0 <= start < stop and longest step > 0")
        elif word == ".model":
            self._model(line)
        elif line == ".end":
            self.ended = True
        else:
            raise InputError(f"{word} is not allowed")

    def _model(self, line: str) -> None:
        if re.match(rf"\.model {NODE} sw\b", line, FLAGS):
            name, *values = _match(SWITCH_MODEL, line)
            kind, size = "sw", 0
        elif re.match(rf"\.model {NODE} [np]mos\b", line, FLAGS):
            name, settings = _match(MOS_MODEL, line)
            values = [w.partition("=")[2] for w in settings.split() if not w.lower().startswith("version=")]
            kind, size = "mos", 0
        else:
            name, offsets, scales, file = _match(TABLE_MODEL, line)
            values, kind, size = scales.split(), "filesource", len(offsets.split())
            if len(values) != size:
                raise InputError("offsets and scales of different length")
            if file not in self.files:
                raise InputError(f"table {file!r} is not there")
            _table(file, self.files[file], size)
        for value in values:
            _finite(value)
        if name.lower() in self.models:
            raise InputError(f"a second model {name!r}")
        self.models[name.lower()] = (kind, size)

    def finish(self, stop: float) -> None:
        sources = {name for name in self.names if name[0] == "v"}
        known = {"node": self.nodes, "source": sources}
        missing = [f"{what} {name}" for what, name in self.wanted if name not in known[what]]
        if missing:
            raise InputError(f"deck: {missing[0]!r} does not exist")
        for kind, model, size in self.uses:
            if self.models.get(model) != (kind, size):
                raise InputError(f"deck: no {kind} model {model!r} for {size} ports")
        if self.trans != 1 or not self.ended:
            raise InputError("deck: exactly one .tran or .op and an .end are needed")
        if self.from_op and (self.initial or not any(kind == "mos" for kind, _, _ in self.uses)):
            raise InputError("deck: only a circuit of transistors without initial conditions starts from .op")
        if self.scope:
            raise InputError(f"deck: subcircuit {self.scope.name!r} is not closed")
        if not math.isclose(self.stop, stop, rel_tol=1e-9):
            raise InputError(f"deck: .tran ends at {self.stop:g} s, {stop:g} s was expected")


def _match(pattern: re.Pattern[str], line: str) -> tuple[str, ...]:
    match = pattern.match(line)
    if not match:
        raise InputError("not in the form that this package writes")
    return match.groups()


def _finite(text: str) -> float:
    if not NUMBER_ONLY.match(text) or not math.isfinite(float(text)):
        raise InputError(f"{text!r} is not a finite bare number")
    return float(text)


def _points(shape: str, text: str) -> None:
    """Numbers of a PULSE or PWL list: right count, finite, times in order."""
    values = [_finite(v) for v in text.split()]
    if shape == "pulse":
        if len(values) != 7 or min(values[2:]) < 0:
            raise InputError("PULSE needs 7 values and times >= 0")
    elif len(values) % 2 or len(values) < 4:
        raise InputError(f"PWL needs pairs of time and value, got {len(values)} values")
    elif values[0] < 0 or any(b < a for a, b in zip(values[0::2], values[2::2], strict=False)):
        raise InputError("PWL times run backwards")


def _table(file: str, text: str, ports: int) -> None:
    """A step table: in every row a time and one whole number a port, times in order from 0.

    ngspice reads a word as 0, an empty file as no current, and cuts rows of 512 characters, in silence.
    """
    rows = text.encode("ascii", "replace").split(b"\n")
    if len(rows) < 3 or rows.pop():
        raise InputError(f"table {file!r} needs two rows or more, each ended by a line feed")
    if not ports % 2 or max(map(len, rows)) >= 512:
        raise InputError(f"table {file!r} needs an odd count of columns and rows below 512 characters")
    heads = [row.partition(b" ")[0] for row in rows]
    values = b"\n".join([row[len(head) :] for row, head in zip(rows, heads, strict=True)]) + b"\n"
    # without its digits a row is its blanks and signs; no value may be missing or a lone sign
    shape = values.translate(None, b"0123456789").replace(b" -", b" ")
    gaps = (b"  ", b" \n", b"- ", b"-\n")
    if shape != (b" " * ports + b"\n") * len(rows) or any(gap in values for gap in gaps):
        raise InputError(f"table {file!r} does not have a time and {ports} whole numbers in every row")
    try:
        times = [_finite(head.decode()) for head in heads]
    except InputError as error:
        raise InputError(f"table {file!r}: {error}") from None
    if times[0] != 0 or any(b <= a for a, b in pairwise(times)):
        raise InputError(f"table {file!r}: times do not run forward from 0")
