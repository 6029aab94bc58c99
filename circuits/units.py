"""Numbers as text, exactly: the one place where a float becomes a netlist token.

ngspice 40 and later read a trailing ``a`` or ``A`` as *atto*, so a unit letter written behind a
value can scale a circuit by 1e-18 in silence. Values are therefore written bare, in ``repr`` form,
which float64 survives unchanged.
"""

from __future__ import annotations

import math
import re

from circuits.errors import InputError

NAME = re.compile(r"[a-z][a-z0-9_]*\Z")


def number(value: float) -> str:
    """Shortest text that reads back as the same float64.

    Raises
    ------
    InputError
        If the value is not finite: ngspice would take ``nan`` for a name.
    """
    value = float(value)
    if not math.isfinite(value):
        raise InputError(f"a netlist value must be finite, got {value!r}")
    return repr(value)


def title(text: str) -> str:
    """Pass a deck title through, if it is one plain line that ngspice takes for a title only.

    Raises
    ------
    InputError
        On control characters, or a first character that ngspice gives a meaning.
    """
    if not re.match(r"[A-Za-z0-9(][ -~]{0,199}\Z", text):
        raise InputError(
            f"deck title {text[:60]!r} must be one plain line that starts with a letter or digit"
        )
    return text


def name(text: str) -> str:
    """Pass a node, device or file name through, if it cannot be read as anything else.

    Raises
    ------
    InputError
        Unless it is lower-case letters, digits and underscores, starting with a letter
        (ngspice folds case, and a netlist is a program).
    """
    if not NAME.match(text):
        raise InputError(f"netlist name {text!r} is not of the form [a-z][a-z0-9_]*")
    return text
