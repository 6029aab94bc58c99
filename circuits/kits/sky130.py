"""SKY130: 1.8 V transistors, one bin at a time, the kit's mismatch terms folded into the threshold.

The kit varies up to four parameters of a model card, each by an independent standard normal score times
its slope / sqrt(W L): vth0, toxe, voff and nfactor. A deck has only a shift of the threshold for them, so
each is worth its `shares` [V of threshold a unit of the parameter], and the shares' effects add in
quadrature. vth0 is worth 1. voff is worth 1 in weak inversion and 0 in strong; toxe and nfactor depend
less on the current. The shares of the technology's file suit the current densities of the cells, see there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from circuits.errors import InputError
from circuits.kits.card import Bin, Card, cut, numbers, statement
from circuits.kits.model_files import REMEDY, read, values
from circuits.kits.places import locate
from circuits.technology import Size

SCORE = "_slope_spectre"
"""Ending of the names of scores in the kit's own files; open_pdks writes agauss() in their place."""


def card(kit: Mapping[str, Any], what: str, size: Size, corner: str) -> Card:
    """Card of one size at one corner."""
    device = kit["models"][size.kind]
    short = device.removeprefix("sky130_fd_pr__")
    words = {"device": device, "short": short, "corner": kit["corners"][corner]}
    layouts = [[part.format(**words) for part in layout] for layout in kit["layouts"]]
    path, *others = locate(what, layouts)
    file = read(path)
    found = cut(file, [f"{device}__model"], size, what)
    parameters = {k: v for other in others for k, v in read(other).parameters().items()}

    scores = [name for name in file.parameters() if name.endswith(SCORE)]

    def parameters_at(z: float, stretch: float = 1.0) -> dict[str, float]:
        """Parameters of the bin at the score z, of a width stretched."""
        given = {"w": size.width * 1e6 * stretch, "l": size.length * 1e6, "mult": 1.0, "mc_mm_switch": 1.0}
        return numbers(found, values(parameters, given | dict.fromkeys(scores, z), z), z)

    nominal = parameters_at(0.0)
    if nominal != parameters_at(0.0, 2.0):
        raise InputError(f"{file.where(found.statement)}: the nominal card depends on the width; {REMEDY}")
    name = found.label.removeprefix("sky130_fd_pr__").replace("__model.", "_b")
    text = statement(name, size.kind, found, nominal)
    return Card(name, text, _sigma(found, nominal, parameters_at(1.0), kit["shares"][size.kind]), 0.0)


def _sigma(
    found: Bin, nominal: dict[str, float], shifted: dict[str, float], shares: dict[str, float]
) -> float:
    terms = {key: shifted[key] - nominal[key] for key in nominal if shifted[key] != nominal[key]}
    unknown = sorted(terms.keys() - shares.keys())
    if unknown:
        where = f"{found.file.where(found.statement)}, bin {found.label}"
        raise InputError(f"{where}: mismatch of {', '.join(unknown)} is not known; name its share")
    return math.hypot(*(shares[key] * shift for key, shift in terms.items()))
