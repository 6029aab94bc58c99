"""Cards of our own: one model a kind, corners and matching stated in the technology's file.

Matching of one device follows Pelgrom's law, sigma = coefficient / sqrt(W L), for the threshold voltage
and for the logarithm of the current factor.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from circuits.errors import InputError
from circuits.pdk.bins import Card, cut, numbers, statement
from circuits.pdk.model_library import REMEDY, read, values
from circuits.pdk.technology import Size

SHIFTED = ("vth0", "u0", "toxe", "toxp", "toxm")
"""Parameters that differ between corners."""


def card(kit: Mapping[str, Any], what: str, size: Size, corner: str) -> Card:
    """Card of one size at one corner.

    Parameters
    ----------
    kit : the technology's table [process.kit]
    what : the technology, for messages
    """
    folder = Path(__file__).parents[1] / "technologies"
    model = kit["models"][size.kind]
    model_bin = cut(read(folder / kit["file"]), [model], size, what)
    fields = numbers(model_bin, values({}, {}))
    if missing := [key for key in SHIFTED if key not in fields]:
        raise InputError(f"{model_bin.file.path}: model {model} has no {', '.join(missing)}; {REMEDY}")
    threshold, mobility, oxide = kit["corners"][corner][size.kind]
    fields["vth0"] += threshold * math.copysign(1.0, fields["vth0"])
    fields["u0"] *= mobility
    for key in SHIFTED[2:]:
        fields[key] *= oxide
    root = math.sqrt(size.width * size.length)
    vth, beta = kit["vth"][size.kind], kit["beta"][size.kind]
    return Card(model, statement(model, size.kind, model_bin, fields), vth / root, beta / root)
