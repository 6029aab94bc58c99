"""A kit's model file, taken apart into statements; comments are dropped and nothing is executed.

A file is read once a process. Of its `.lib` sections one is followed, with the sections it refers to in
the same file; of its statements only parameters, subcircuits, models and device lines are ever looked at.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from circuits.errors import InputError
from circuits.pdk.expressions import evaluate

ASSIGNMENT = re.compile(r"\s*([a-z_][a-z0-9_]*)\s*=\s*(\{[^{}]*\}|'[^']*'|(?:[^\s=,(){}']|\([^()]*\))+)\s*,?")
REFERENCE = re.compile(r"\.lib\s+(?:'[^']*'|\"[^\"]*\"|\S+)\s+(\S+)\Z")
SECTION = re.compile(r"\.lib\s+(\S+)\Z")
REMEDY = "the file is cut short or not the kit's: fetch it again"


@dataclass(frozen=True)
class Statement:
    """One logical line, in lower case."""

    line: int  #: number of its first line
    word: str  #: first word, such as ".model" or "m0"
    rest: str
    scope: str  #: subcircuit it stands in, "" outside


class ModelFile:
    """Statements of a file, or of one of its sections."""

    def __init__(self, path: Path, statements: Iterable[Statement]) -> None:
        self.path, self.statements = path, tuple(statements)

    def named(self, word: str) -> Iterator[Statement]:
        """Statements with this first word, in lower case."""
        return (s for s in self.statements if s.word == word)

    def where(self, statement: Statement) -> str:
        """Place of a statement, for messages."""
        return f"{self.path}, line {statement.line}"

    def assignments(self, statement: Statement, text: str) -> dict[str, str]:
        """Names and expressions of a list of assignments.

        Parameters
        ----------
        statement : it stands in, for messages
        text : such as "w = 1e-6 l = {l0 + 2}"

        Raises
        ------
        InputError
            If the text is anything else.
        """
        fields, position = {}, 0
        while position < len(text):
            match = ASSIGNMENT.match(text, position)
            if not match:
                rest = text[position:].strip()[:40]
                raise InputError(f"{self.where(statement)}: {rest!r} is not name = value; {REMEDY}")
            fields[match.group(1)] = match.group(2)
            position = match.end()
        return fields

    def parameters(self, scope: str = "") -> dict[str, str]:
        """Parameters defined in a scope, unevaluated; those of a subcircuit with its defaults."""
        fields: dict[str, str] = {}
        for statement in self.statements:
            if statement.word == ".subckt" and scope and statement.rest.split()[0] == scope:
                nodes = re.match(r"[^=]*?(?=[a-z_][a-z0-9_]*\s*=|\Z)", statement.rest)
                fields |= self.assignments(statement, statement.rest[nodes.end() if nodes else 0 :])
            elif statement.word == ".param" and statement.scope == scope:
                fields |= self.assignments(statement, statement.rest)
        return fields


def values(parameters: dict[str, str], preset: dict[str, float], z: float = 0.0) -> Callable[[str], float]:
    """Look-up of names for `evaluate`: `preset` values first, then parameters, evaluated when asked for.

    Parameters
    ----------
    parameters : name -> expression
    z : standard score of random draws

    Returns
    -------
    callable
        It raises an InputError for a name that is not defined, or by itself.
    """
    known = dict(preset)
    open_names: set[str] = set()

    def lookup(name: str) -> float:
        if name not in known:
            if name not in parameters or name in open_names:
                why = "is defined by itself" if name in open_names else "is not defined"
                raise InputError(f"parameter {name!r} {why}")
            open_names.add(name)
            known[name] = evaluate(parameters[name], lookup, z)
        return known[name]

    return lookup


@lru_cache(maxsize=32)
def read(path: Path) -> ModelFile:
    """All statements of a file.

    Raises
    ------
    InputError
        If it cannot be read, or a subcircuit is not closed.
    """
    try:
        text = path.read_text(encoding="latin-1").lower()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    return ModelFile(path, _scoped(path, _logical(text)))


def section(file: ModelFile, name: str) -> ModelFile:
    """The statements of a `.lib` section and of those it refers to.

    Parameters
    ----------
    name : in lower case, such as "typical"

    Raises
    ------
    InputError
        If there is no such section, or one is not closed.
    """
    sections = _sections(file)
    if name not in sections:
        raise InputError(f"{file.path} has no section {name!r}; {REMEDY}")
    statements: list[Statement] = []
    done: set[str] = set()

    def follow(name: str) -> None:
        if name in done or name not in sections:
            return
        done.add(name)
        for statement in sections[name]:
            if statement.word == ".lib":
                reference = REFERENCE.match(f".lib {statement.rest}")
                follow(reference.group(1) if reference else "")
            else:
                statements.append(statement)

    follow(name)
    return ModelFile(file.path, statements)


def _sections(file: ModelFile) -> dict[str, list[Statement]]:
    sections: dict[str, list[Statement]] = {}
    current: str | None = None
    for statement in file.statements:
        opened = SECTION.match(f".lib {statement.rest}") if statement.word == ".lib" else None
        if opened and current is None:
            current = opened.group(1)
            sections[current] = []
        elif statement.word == ".endl":
            current = None
        elif current is not None:
            sections[current].append(statement)
    if current is not None:
        raise InputError(f"{file.path}: section {current!r} is not closed by .endl; {REMEDY}")
    return sections


def _logical(text: str) -> list[tuple[int, str]]:
    """Lines with their continuations joined and comments dropped."""
    joined: list[tuple[int, list[str]]] = []
    for number, raw in enumerate(text.split("\n"), 1):
        line = re.split(r"[;$]", raw, maxsplit=1)[0].strip() if ";" in raw or "$" in raw else raw.strip()
        if not line or line[0] == "*":
            continue
        if line[0] == "+" and joined:
            joined[-1][1].append(line[1:].strip())
        else:
            joined.append((number, [line]))
    return [(number, " ".join(parts)) for number, parts in joined]


def _scoped(path: Path, lines: list[tuple[int, str]]) -> Iterator[Statement]:
    scope = ""
    for number, text in lines:
        word, *after = text.split(None, 1)
        rest = after[0] if after else ""
        if word == ".ends":
            scope = ""
        yield Statement(number, word, rest, scope)
        if word == ".subckt":
            scope = (rest.split() or [""])[0]
    if scope:
        raise InputError(f"{path}: subcircuit {scope!r} is not closed by .ends; {REMEDY}")
