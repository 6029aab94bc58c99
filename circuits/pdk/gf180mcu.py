"""GF180MCU: 3.3 V transistors of `sm141064.ngspice`, one bin at a time, matching as the kit draws it.

The kit wraps each transistor in a subcircuit that draws a shift of the threshold voltage,
``delvto = mis_vth``, mis_vth ~ N(0, 0.7071 par_vth 1 um / sqrt((L - par_l) (W - par_w))). That expression is
read from the file and evaluated for one standard deviation. The 0.7071 makes it the sigma of one device:
par_vth is that of a pair. The kit computes a deviation of the current factor too, mis_k, and never uses it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from circuits.errors import InputError
from circuits.pdk.bins import Card, cut, numbers, statement
from circuits.pdk.expressions import evaluate
from circuits.pdk.installation import locate
from circuits.pdk.model_library import REMEDY, ModelFile, read, section, values
from circuits.pdk.technology import Size


def card(kit: Mapping[str, Any], what: str, size: Size, corner: str) -> Card:
    """Card of one size at one corner.

    Parameters
    ----------
    kit : the technology's table [process.kit]
    what : the technology, for messages
    """
    path = locate(what, [[place] for place in kit["places"]])[0]
    file = section(read(path), kit["corners"][corner])
    model_bin = cut(file, kit["models"][size.kind], size, what)
    lookup = values(file.parameters(), dict(kit["parameters"]))
    name = model_bin.label.replace(".", "_b")
    text = statement(name, size.kind, model_bin, numbers(model_bin, lookup))
    wrapper = model_bin.label.partition(".")[0]
    return Card(name, text, _sigma(file, wrapper, size), 0.0)


def _sigma(file: ModelFile, wrapper: str, size: Size) -> float:
    """Standard deviation of `delvto` of the transistor in a subcircuit of the kit [V].

    Raises
    ------
    InputError
        If the file has no such subcircuit, or it no such parameter.
    """
    preset = {"w": size.width, "l": size.length, "sw_stat_mismatch": 1.0, "sw_stat_global": 0.0}
    try:
        device = next(s for s in file.statements if s.scope == wrapper and s.word[0] == "m")
        field = re.search(r"\bdelvto\s*=\s*('[^']*'|\{[^{}]*\}|\S+)", device.rest)
        if not field:
            raise InputError("delvto is not set")
        return evaluate(field.group(1), values(file.parameters(wrapper), preset, z=1.0), z=1.0)
    except StopIteration:
        raise InputError(f"{file.path}: no transistor in a subcircuit {wrapper!r}; {REMEDY}") from None
    except InputError as error:
        raise InputError(f"{file.path}, subcircuit {wrapper!r}: {error}; {REMEDY}") from None
