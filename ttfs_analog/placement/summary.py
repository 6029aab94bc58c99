"""What a placement chose, as text: a row a layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def table(layers: Sequence[Mapping[str, Any]]) -> list[str]:
    """Head and rows of a table.

    Parameters
    ----------
    layers : sequence of mappings
        Of `metadata["placement"]["layers"]`.
    """
    heads = ["layer", "tau_c [ns]", "C [fF]", "I_u [nA]", "s_V [mV]", "units", "window", "spread", "delay"]
    heads += ["energy [pJ]", "references [pJ]", "area [um2]", "tightest bound"]
    lines = ["  ".join(heads)]
    for n, v in enumerate(layers):
        tightest = max(v["bounds"], key=v["bounds"].get)
        values = [
            1e9 * v["tau_c_s"],
            1e15 * v["c_mem_f"],
            1e9 * v["i_unit_a"],
            1e3 * v["v_unit_v"],
            v["units"],
        ]
        values += [v[f"{k}_tau_c"] for k in ("window", "expected_spread", "delay")]
        values += [1e12 * v["energy_j"], 1e12 * v["reference_j"], 1e12 * v["area_m2"]]
        cells = [
            str(n),
            *(f"{value:.4g}" for value in values),
            f"{tightest} {100 * v['bounds'][tightest]:.0f} %",
        ]
        lines.append("  ".join(c.rjust(len(h)) for c, h in zip(cells, heads, strict=True)))
    return lines
