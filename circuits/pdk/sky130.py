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
from pathlib import Path
from typing import Any

from circuits.errors import InputError
from circuits.pdk.bins import Bin, Card, cut, numbers, statement
from circuits.pdk.drawn_line import device_fields
from circuits.pdk.installation import locate
from circuits.pdk.model_library import REMEDY, read, values
from circuits.pdk.technology import Size

SCORE = "_slope_spectre"
"""Ending of the names of scores in the kit's own files; open_pdks writes agauss() in their place."""


def files(kit: Mapping[str, Any], what: str, kind: str, corner: str) -> list[Path]:
    """Model file of a kind at a corner, and the files of its parameters.

    Parameters
    ----------
    kit : the technology's table [process.kit]
    what : the technology, for messages
    kind : {"n", "p"}
    """
    device = kit["models"][kind]
    short = device.removeprefix("sky130_fd_pr__")
    names = (f"{device}__{kit['corners'][corner]}.pm3.spice", f"{device}__mismatch.corner.spice")
    layouts = []
    for models, parameters in kit["layouts"]:
        folder = models.format(short=short)
        layouts.append([*(f"{folder}/{name}" for name in names), f"{parameters}/lod.spice"])
    return locate(what, layouts)


def card(kit: Mapping[str, Any], what: str, size: Size, corner: str) -> Card:
    """Card of one size at one corner.

    Parameters
    ----------
    kit : the technology's table [process.kit]
    what : the technology, for messages
    """
    path, *others = files(kit, what, size.kind, corner)
    file = read(path)
    model_bin = cut(file, [f"{kit['models'][size.kind]}__model"], size, what)
    device, fields = device_fields(file, kit["models"][size.kind])
    if drawn := sorted({"delvto", "mulu0"} & fields.keys()):
        raise InputError(f"{file.where(device)}: {', '.join(drawn)} of the transistor is not read; {REMEDY}")
    parameters = {k: v for other in others for k, v in read(other).parameters().items()}

    scores = [name for name in file.parameters() if name.endswith(SCORE)]

    def parameters_at(z: float, stretch: float = 1.0) -> dict[str, float]:
        """Parameters of the bin at the score z, of a width stretched."""
        preset = {"w": size.width * 1e6 * stretch, "l": size.length * 1e6, "mult": 1.0, "mc_mm_switch": 1.0}
        return numbers(model_bin, values(parameters, preset | dict.fromkeys(scores, z), z), z)

    nominal = parameters_at(0.0)
    if nominal != parameters_at(0.0, 2.0):
        where = file.where(model_bin.statement)
        raise InputError(f"{where}: the nominal card depends on the width; {REMEDY}")
    name = model_bin.label.removeprefix("sky130_fd_pr__").replace("__model.", "_b")
    settings = {key: value for key, value in kit["settings"].items() if key in nominal}
    sigma = _sigma(model_bin, nominal, parameters_at(1.0), kit["shares"][size.kind])
    text = statement(name, size.kind, model_bin, nominal | settings)
    return Card(name, text, sigma, 0.0)


def _sigma(
    model_bin: Bin, nominal: dict[str, float], shifted: dict[str, float], shares: dict[str, float]
) -> float:
    terms = {key: shifted[key] - nominal[key] for key in nominal if shifted[key] != nominal[key]}
    unknown = sorted(terms.keys() - shares.keys())
    if unknown:
        where = f"{model_bin.file.where(model_bin.statement)}, bin {model_bin.label}"
        raise InputError(f"{where}: mismatch of {', '.join(unknown)} is not known; name its share")
    return math.hypot(*(shares[key] * shift for key, shift in terms.items()))
