"""One model card: the bin of a model that holds a size, its expressions evaluated, its limits dropped.

ngspice takes the first bin of the file with lmin <= L <= lmax and wmin <= W <= wmax, both ends included.
Choosing it here leaves one `.model` statement of plain numbers, and plain transistor lines in every deck.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from circuits.errors import InputError
from circuits.pdk.expressions import evaluate
from circuits.pdk.model_library import REMEDY, ModelFile, Statement
from circuits.pdk.technology import Size
from circuits.units import name, number

LIMITS = ("lmin", "lmax", "wmin", "wmax")
VERSION = re.compile(r"\d+(\.\d+){0,2}\Z")
TYPES = {"n": "nmos", "p": "pmos"}
EDGE = 2e-14
"""Relative distance from a bin at which a size still belongs to it; ngspice allows 100 units in the last
place."""


@dataclass(frozen=True)
class Card:
    """What a deck needs to know of the transistors of one size."""

    model: str  #: name on the transistor line
    text: str  #: one `.model` statement
    sigma_vth: (
        float  #: of the threshold voltage of one device of the size drawn; m in parallel: / sqrt(m) [V]
    )
    sigma_beta: float  #: the same of the logarithm of the current factor

    def __post_init__(self) -> None:
        if not (1e-5 <= self.sigma_vth <= 0.2 and 0 <= self.sigma_beta <= 0.5):
            raise InputError(
                f"model {self.model}: a spread of {self.sigma_vth:g} V of the threshold and "
                f"{self.sigma_beta:g} of the current factor is no transistor's; is a kit file cut short?"
            )


@dataclass(frozen=True)
class Bin:
    """One `.model` statement: what its parameters are, as text."""

    file: ModelFile
    statement: Statement
    label: str  #: name in the file, such as "nmos_3p3.7"
    fields: dict[str, str]

    def _value(self, field: str, lookup: Callable[[str], float], z: float) -> float:
        """Value of a parameter.

        Raises
        ------
        InputError
            Naming file, line, bin and parameter.
        """
        try:
            return evaluate(self.fields[field], lookup, z)
        except (InputError, KeyError) as error:
            what = f"{field}: {error}" if isinstance(error, InputError) else f"no {field}"
            raise InputError(
                f"{self.file.where(self.statement)}, bin {self.label}: {what}; {REMEDY}"
            ) from None


def cut(file: ModelFile, models: Iterable[str], size: Size, what: str) -> Bin:
    """The bin of a size among the models `NAME` or `NAME.number` of a file.

    Parameters
    ----------
    models : names of models, without the numbers of their bins
    what : the technology, for messages

    Raises
    ------
    InputError
        If there is no such model, or no bin of it holds the size.
    """
    wanted = tuple(models)
    pattern = re.compile(rf"({'|'.join(map(re.escape, wanted))})(\.\d+)?\Z")
    ranges = []
    for statement in file.named(".model"):
        label, kind, text = (*statement.rest.split(None, 2), "", "", "")[:3]
        if not pattern.match(label) or kind != TYPES[size.kind]:
            continue
        if text.startswith("("):
            text = text[1:].rstrip(" )")
        limits = {k: re.search(rf"\b{k}\s*=\s*(\S+)", text) for k in LIMITS}
        if not any(limits.values()):
            return Bin(file, statement, label, file.assignments(statement, text))
        if not all(limits.values()):
            raise InputError(f"{file.where(statement)}, bin {label}: no {', '.join(LIMITS)}; {REMEDY}")
        low_l, high_l, low_w, high_w = (_limit(file, statement, m.group(1)) for m in limits.values() if m)
        ranges.append((low_l, high_l, low_w, high_w))
        if _inside(size.length, low_l, high_l) and _inside(size.width, low_w, high_w):
            return Bin(file, statement, label, file.assignments(statement, text))
    if not ranges:
        raise InputError(f"{file.path} holds no {TYPES[size.kind]} model {' or '.join(wanted)}; {REMEDY}")
    low_l, high_l, low_w, high_w = (f(r[i] for r in ranges) for i, f in enumerate((min, max, min, max)))
    raise InputError(
        f"no bin of {what} holds W = {_um(size.width)}, L = {_um(size.length)}; the kit takes W from "
        f"{_um(low_w)} to {_um(high_w)} and L from {_um(low_l)} to {_um(high_l)}: choose another size"
    )


def _limit(file: ModelFile, statement: Statement, text: str) -> float:
    def nothing(name: str) -> float:
        raise InputError(f"a limit of a bin holds a name, {name!r}")

    try:
        return evaluate(text, nothing)
    except InputError as error:
        raise InputError(f"{file.where(statement)}: {error}; {REMEDY}") from None


def _inside(value: float, low: float, high: float) -> bool:
    return low * (1 - EDGE) <= value <= high * (1 + EDGE)


def _um(value: float) -> str:
    return f"{value * 1e6:.6g} um"


def numbers(model_bin: Bin, lookup: Callable[[str], float], z: float = 0.0) -> dict[str, float]:
    """The parameters of a bin as numbers: all but its limits, and its level and version, see `statement`.

    Parameters
    ----------
    lookup : callable
        Name of a parameter -> value, such as of `circuits.pdk.model_library.values`.
    z : standard score of random draws
    """
    apart = (*LIMITS, "level", "version")
    return {key: model_bin._value(key, lookup, z) for key in model_bin.fields if key not in apart}


def statement(model: str, kind: str, model_bin: Bin, fields: dict[str, float]) -> str:
    """A `.model` statement of plain numbers, of the level and version of a bin.

    Parameters
    ----------
    model : name that the transistor lines of a deck use
    kind : {"n", "p"}
    fields : the parameters, from `numbers`

    Raises
    ------
    InputError
        If the bin is of no BSIM4 model.
    """
    level, version = model_bin.fields.get("level", ""), model_bin.fields.get("version", "")
    where = f"{model_bin.file.where(model_bin.statement)}, bin {model_bin.label}"
    if not VERSION.match(version) or not re.match(r"(14|54)(\.0*)?\Z", level):
        raise InputError(f"{where}: level {level!r}, version {version!r}; BSIM4, level 14 or 54, is read")
    try:
        words = [f"{name(key)}={number(value)}" for key, value in fields.items()]
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    words = ["level=14", f"version={version}", *words]
    lines = textwrap.wrap(" ".join(words), 110, break_long_words=False, break_on_hyphens=False)
    return f".model {name(model)} {TYPES[kind]}\n" + "".join(f"+ {line}\n" for line in lines)
