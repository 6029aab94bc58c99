r"""What a layer's neurons share: gate voltages made from reference currents by diode-connected devices.

All synapses of one sign and all slope sources of a layer mirror the same unit current, so a reference error
is common to all of them: it multiplies every W of that sign, or B.

A neuron that switches kicks its bias line. The line therefore has a buffer (here an ideal one, `Buffer`:
its bandwidth and noise are not modeled), or a decoupling capacitor: 10 pF for each neuron on the line keep
the shift of a spike near 0.1 % of tau_c, 1 pF only 1 % (`decoupled`).
"""

from __future__ import annotations

from circuits.blocks.subcircuit import Block, Buffer, Capacitor, Current, Mos, Part

LINES: tuple[tuple[str, str, str], ...] = (
    ("pb", "source_mirror", "iunit"),  # sources
    ("nb", "sink_mirror", "iunit"),  # sinks
    ("pbb", "source_mirror", "iunit"),  # slope
    ("nbt", "tail", "itail"),  # comparator tail
    ("nbs", "starve", "istarve"),  # starved inverter
    ("pbc", "load", "istarve"),  # load of the zero-idle comparator
)
"""Bias line, role of the diode-connected device, parameter with its current."""
P_ROLES = ("source_mirror", "load")


def _line(line: str, role: str, amps: str, out: str, decoupling: str | None) -> tuple[Part, ...]:
    inner = f"x{line}" if decoupling is None else out
    if role in P_ROLES:
        current = Current(f"i{line}", inner, "0", amps)
        diode = Mos(f"m{line}", role, inner, inner, "vdd", "vdd")
    else:
        current = Current(f"i{line}", "vdd", inner, amps)
        diode = Mos(f"m{line}", role, inner, inner, "0", "0")
    if decoupling is None:
        return current, diode, Buffer(f"e{line}", out, inner)
    return current, diode, Capacitor(f"c{line}", out, "vdd" if role in P_ROLES else "0", decoupling)


def _references(name: str, decoupling: str | None, extra: dict[str, float]) -> Block:
    parts = tuple(p for line, role, amps in LINES for p in _line(line, role, amps, line, decoupling))
    currents = {"iunit": 31.25e-9, "itail": 400e-9, "istarve": 200e-9}
    return Block(name, (*(line for line, _, _ in LINES), "vdd"), parts, {**currents, **extra})


BUFFERED = _references("references", None, {})
DECOUPLED = _references("decoupled_references", "decap", {"decap": 10e-12})


def bias_line(sign: str) -> Block:
    """The gate voltage of one weight: a unit device that carries W I_u; sign "p" (source) or "n" (sink)."""
    role = "source_mirror" if sign == "p" else "sink_mirror"
    return Block(
        f"weight_bias_{sign}", ("g", "vdd"), _line("w", role, "iweight", "g", None), {"iweight": 31.25e-9}
    )
