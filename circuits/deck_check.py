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

from circuits.errors import InputError

NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
NODE = r"[a-z0-9][a-z0-9_]*"
PASSIVE = re.compile(rf"([rcl]\S*) ({NODE}) ({NODE}) ({NUMBER})(?: ic=({NUMBER}))?\Z", re.I)
SOURCE = re.compile(rf"([iv]\S*) ({NODE}) ({NODE}) (?:({NUMBER})|(pulse|pwl)\(([^()]*)\))\Z", re.I)
CONTROLLED = re.compile(rf"([eg]\S*) ({NODE}) ({NODE}) ({NODE}) ({NODE}) ({NUMBER})\Z", re.I)
SWITCH = re.compile(rf"(s\S*) ({NODE}) ({NODE}) ({NODE}) ({NODE}) ({NODE})\Z", re.I)
BEHAVIOURAL = re.compile(rf"(b\S*) ({NODE}) ({NODE}) v ?= ?([a-z0-9_(),*\- ]+)\Z", re.I)
FUNCTIONS = {"v", "max", "min"}
TABLE = re.compile(rf"(a\S*) %i\[({NODE}(?: {NODE})*)\] ({NODE})\Z", re.I)
MODEL = re.compile(rf"\.model ({NODE}) (sw|filesource) ?\((.*)\)\Z", re.I)
TRAN = re.compile(rf"\.tran ({NUMBER}) ({NUMBER}) ({NUMBER}) ({NUMBER}) uic\Z", re.I)
SAVE = re.compile(rf"\.save ([vi])\(({NODE})\)\Z", re.I)
PULSE_VALUES = 7


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
        self.sources: set[str] = set()
        self.models: set[str] = set()
        self.wanted: list[tuple[str, str]] = []
        self.stop = math.nan
        self.trans = 0
        self.ended = False

    def statement(self, line: str) -> None:
        kind = line[0].lower()
        if self.ended:
            raise InputError("text after .end")
        if kind == ".":
            self._card(line)
        elif kind in "rcl":
            _, *nodes, value, initial = _match(PASSIVE, line)
            self.nodes.update(nodes)
            if not 0 < float(value) < math.inf or not math.isfinite(float(initial or 0)):
                raise InputError("the value must be > 0 and finite")
        elif kind in "iv":
            name, plus, minus, value, shape, points = _match(SOURCE, line)
            self.nodes.update((plus, minus))
            self.sources.add(name.lower())
            if not value:
                _points(shape.lower(), points)
        elif kind in "eg":
            self.nodes.update(_match(CONTROLLED, line)[1:5])
        elif kind == "s":
            _, *nodes, model = _match(SWITCH, line)
            self.nodes.update(nodes)
            self.wanted.append(("model", model.lower()))
        elif kind == "b":
            _, plus, minus, expression = _match(BEHAVIOURAL, line)
            self.nodes.update((plus, minus))
            for word in re.findall(r"([a-z_]\w*) ?\(", expression, re.I):
                if word.lower() not in FUNCTIONS:
                    raise InputError(f"function {word!r} is not allowed")
        elif kind == "a":
            _, ports, model = _match(TABLE, line)
            self.nodes.update(ports.split())
            self.wanted.append(("model", model.lower()))
        else:
            raise InputError("unknown element")

    def _card(self, line: str) -> None:
        word = line.split()[0].lower()
        if word == ".save":
            what, name = _match(SAVE, line)
            self.wanted.append(("source" if what.lower() == "i" else "node", name.lower()))
        elif word == ".tran":
            step, stop, _, longest = (float(v) for v in _match(TRAN, line))
            self.stop, self.trans = stop, self.trans + 1
            if not (step > 0 and stop > 0 and longest > 0):
                raise InputError("times must be > 0")
        elif word == ".model":
            name, _, parameters = _match(MODEL, line)
            self.models.add(name.lower())
            for file in re.findall(r'file="([^"]*)"', parameters):
                if file not in self.files:
                    raise InputError(f"table {file!r} is not there")
        elif word == ".end":
            self.ended = True
        else:
            raise InputError(f"{word} is not allowed")

    def finish(self, stop: float) -> None:
        known = {"node": self.nodes, "source": self.sources, "model": self.models}
        missing = [f"{what} {name}" for what, name in self.wanted if name not in known[what]]
        if missing:
            raise InputError(f"deck: {missing[0]!r} does not exist")
        if self.trans != 1 or not self.ended:
            raise InputError("deck: exactly one .tran and an .end are needed")
        if not math.isclose(self.stop, stop, rel_tol=1e-9):
            raise InputError(f"deck: .tran ends at {self.stop:g} s, {stop:g} s was expected")


def _match(pattern: re.Pattern[str], line: str) -> tuple[str, ...]:
    found = pattern.match(line)
    if not found:
        raise InputError("not in the form that this package writes")
    return found.groups()


def _points(shape: str, text: str) -> None:
    """Numbers of a PULSE or PWL list: right count, finite, times in order."""
    try:
        values = [float(v) for v in text.split()]
    except ValueError:
        raise InputError("a point is not a bare number") from None
    if not all(map(math.isfinite, values)):
        raise InputError("a point is not finite")
    if shape == "pulse":
        if len(values) != PULSE_VALUES:
            raise InputError(f"PULSE needs {PULSE_VALUES} values, got {len(values)}")
    elif len(values) % 2 or len(values) < 4:
        raise InputError(f"PWL needs pairs of time and value, got {len(values)} values")
    elif any(b < a for a, b in zip(values[0::2], values[2::2], strict=False)):
        raise InputError("PWL times run backwards")
