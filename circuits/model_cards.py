"""A user's device models, read and written again: nothing of the file reaches ngspice unread.

A netlist is a program: ngspice executes control blocks, and even comments that begin with `*#`. So a
card file is parsed into statements, comments are dropped, only model, parameter and subcircuit
statements and device lines are let through, and the rest is refused by name.
"""

from __future__ import annotations

import re
from pathlib import Path

from circuits.errors import InputError

CARDS = (".model", ".param", ".subckt", ".ends")
DEVICES = "mrcldqjviegx"
"""First letters of device lines inside a subcircuit; no code models (a), no free expressions (b)."""
TOKENS = re.compile(r"[A-Za-z0-9_.+\-*/()=,{}'<>?:!&|^~% \t]*\Z")
"""Nothing that ngspice's shell or its string handling gives a meaning: no quotes, back-ticks, ; $ #."""


def read_cards(path: str | Path) -> str:
    """Statements of a card file as safe netlist text, one a line.

    Raises
    ------
    InputError
        Naming the file, the line, and what is not allowed.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="ascii")
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} holds characters that are not ASCII") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    depth, out = 0, []
    for number, statement in _statements(text, path):
        word = statement.split()[0].lower()
        where = f"{path}, line {number}"
        if word.startswith(".") and word not in CARDS:
            raise InputError(f"{where}: {word} is not allowed in a model file; only {', '.join(CARDS)}")
        if not word.startswith(".") and word[0] not in DEVICES:
            raise InputError(f"{where}: a {word[0]!r} line is not a device of a model file")
        if not word.startswith(".") and depth == 0:
            raise InputError(f"{where}: device {word!r} stands outside a .subckt")
        if not TOKENS.match(statement):
            odd = sorted(set(re.sub(TOKENS.pattern[:-2], "", statement)))
            raise InputError(f"{where}: character {odd[0]!r} is not allowed in a model file")
        depth += (word == ".subckt") - (word == ".ends")
        if depth < 0:
            raise InputError(f"{where}: .ends without .subckt")
        out.append(statement)
    if depth:
        raise InputError(f"{path}: a .subckt is not closed by .ends")
    if not out:
        raise InputError(f"{path} holds no model")
    return "\n".join(out) + "\n"


def _statements(text: str, path: Path) -> list[tuple[int, str]]:
    """Logical lines with the number of their first line; comments dropped, continuations joined."""
    found: list[tuple[int, str]] = []
    for number, raw in enumerate(text.splitlines(), 1):
        line = re.split(r"[;$]", raw, maxsplit=1)[0].rstrip()
        if not line.strip() or line.lstrip()[0] == "*":
            continue
        line = line.strip()
        if line[0] == "+":
            if not found:
                raise InputError(f"{path}, line {number}: a continuation without a statement")
            first, before = found[-1]
            found[-1] = (first, f"{before} {line[1:].strip()}")
        else:
            found.append((number, line))
    return found
