r"""What a kit draws on the transistor line of its subcircuit: threshold shift and current factor.

.. math:: \sigma^2 = \sum_d \left(\frac{f(z_d = 1) - f(z_d = -1)}{2}\right)^2

over the independent draws d that a field's expression reaches, f the shift (`delvto`) or the logarithm of
the factor (`mulu0`, 1 where the line has none). All other draws stay at zero. Decks draw the two apart from
each other and from a nominal card, so a draw that moves both, a draw of any other field, and a line that is
not nominal without its draws are refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from circuits.errors import InputError
from circuits.pdk.expressions import evaluate
from circuits.pdk.model_library import REMEDY, ModelFile, Statement, values

RANDOM = re.compile(r"\b(?:a?gauss|a?unif|limit)\s*\(")
NAME = re.compile(r"(?<![\w.])[a-z_]\w*")
INLINE = ""
"""Stands for a draw in the field's own expression, not in a parameter."""
NODES = 5
"""Words before the fields: four nodes and the model."""


def device_fields(file: ModelFile, wrapper: str) -> tuple[Statement, dict[str, str]]:
    """The transistor in a subcircuit of a kit, and what its line assigns.

    Raises
    ------
    InputError
        If the file has no such subcircuit, or it has more or fewer than one transistor.
    """
    devices = [s for s in file.statements if s.scope == wrapper and s.word[0] == "m"]
    if len(devices) != 1:
        count = f"{len(devices)} transistors" if devices else "no transistor"
        raise InputError(f"{file.path}: {count} in a subcircuit {wrapper!r}; {REMEDY}")
    text = (*devices[0].rest.split(None, NODES), "")[NODES]
    return devices[0], file.assignments(devices[0], text)


def spreads(file: ModelFile, wrapper: str, preset: Mapping[str, float]) -> tuple[float, float]:
    """Standard deviations of the threshold shift [V] and of ln(current factor) of one device.

    Parameters
    ----------
    file : ModelFile
    wrapper : str
        Name of the subcircuit around the transistor.
    preset : mapping
        Values of parameters: its size and the kit's switches.

    Raises
    ------
    InputError
        Naming file, line and field, if an expression is not understood, see above.
    """
    device, fields = device_fields(file, wrapper)
    where = f"{file.where(device)}, subcircuit {wrapper!r}"
    if "delvto" not in fields:
        raise InputError(f"{where}: delvto is not set; {REMEDY}")
    parameters = file.parameters(wrapper)
    try:
        drawn = {field: _draws(text, parameters) for field, text in fields.items()}
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    if odd := sorted(field for field, draws in drawn.items() if draws and field not in ("delvto", "mulu0")):
        raise InputError(f"{where}: {', '.join(odd)} of the transistor is drawn; delvto and mulu0 are read")
    if both := (drawn["delvto"] & drawn.get("mulu0", set())) - {INLINE}:
        names = ", ".join(sorted(both))
        raise InputError(f"{where}: {names} moves delvto and mulu0; they are drawn apart here")

    def at(field: str, draw: str, z: float) -> float:
        """Shift, or logarithm of the factor, with one of its draws at the score z."""
        try:
            known = dict(preset)
            if draw != INLINE:
                known[draw] = evaluate(parameters[draw], values(parameters, dict(preset)), z)
            value = evaluate(fields[field], values(parameters, known), z if draw == INLINE else 0.0)
            return value if field == "delvto" else math.log(value)
        except InputError as error:
            raise InputError(f"{where}: {field}: {error}; {REMEDY}") from None
        except ValueError:
            raise InputError(f"{where}: {field} is not positive; {REMEDY}") from None

    sigma = {"delvto": 0.0, "mulu0": 0.0}
    for field in sigma.keys() & fields.keys():
        if abs(at(field, INLINE, 0.0)) > 1e-9:
            raise InputError(f"{where}: {field} = {fields[field]} is not nominal without its draws")
        halves = [(at(field, draw, 1.0) - at(field, draw, -1.0)) / 2 for draw in drawn[field]]
        sigma[field] = math.hypot(*halves)
    return sigma["delvto"], sigma["mulu0"]


def _draws(text: str, parameters: Mapping[str, str]) -> set[str]:
    """Parameters that hold a draw and that an expression reaches; INLINE if it holds one itself."""
    texts, new = {INLINE: text}, _names(text, parameters)
    while new:
        texts |= {name: parameters[name] for name in new}
        new = {n for name in new for n in _names(parameters[name], parameters)} - texts.keys()
    if several := [t for t in texts.values() if len(RANDOM.findall(t)) > 1]:
        raise InputError(f"{several[0]} holds more than one draw; one a parameter is read")
    return {name for name, expression in texts.items() if RANDOM.search(expression)}


def _names(text: str, parameters: Mapping[str, str]) -> set[str]:
    return {name for name in NAME.findall(text) if name in parameters}
