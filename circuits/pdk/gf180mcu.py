"""GF180MCU: 3.3 V transistors of `sm141064.ngspice`, one bin at a time, matching as the kit draws it.

The kit wraps each transistor in a subcircuit that draws a shift of the threshold voltage,
``delvto = mis_vth``, mis_vth ~ N(0, 0.7071 par_vth 1 um / sqrt((L - par_l) (W - par_w))). That expression is
read from the file and evaluated for one standard deviation. The 0.7071 makes it the sigma of one device:
par_vth is that of a pair. Kits since October 2023 draw the current factor likewise, ``mulu0 = 1 - mis_k``;
older ones compute mis_k and never use it. What is drawn is read from the line of the transistor.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from circuits.pdk.bins import Card, cut, numbers, statement
from circuits.pdk.drawn_line import spreads
from circuits.pdk.installation import locate
from circuits.pdk.model_library import read, section, values
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
    preset = {"w": size.width, "l": size.length, "sw_stat_mismatch": 1.0, "sw_stat_global": 0.0}
    return Card(name, text, *spreads(file, wrapper, preset))
