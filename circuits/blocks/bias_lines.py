r"""What a layer's neurons share: gate voltages made from reference currents by diode-connected devices.

All synapses of one sign and all slope sources of a layer mirror the same unit current, so a reference error
is common to all of them: it multiplies every W of that sign, or B. It cannot be told from a wrong scale of
the layer, and no averaging over neurons takes it away, so references are made of many devices in parallel,
N = 9 for each one that a neuron has (W = 1 and B = 1 are n unit devices), each with its own unit current:

.. math:: \sigma_{reference} = \sigma_{device} / \sqrt{N n} = \tfrac13 \sigma_{neuron}, \qquad
          I_{reference} = N (3 n I_u + I_{tail} + I_{starve})

The mirrored current is that of one device whatever N is.

A neuron that switches kicks its bias line. The line therefore has a buffer (here an ideal one, `Buffer`:
its bandwidth and noise are not modeled), or a decoupling capacitor (`DECOUPLED`). One neuron alone moves its
own spike by 0.38 % of tau_c on a bare line, by 0.34 % with 1 pF and by 0.09 % with 10 pF (generic130,
measured); neurons that switch together kick together.
"""

from __future__ import annotations

from circuits.blocks.subcircuit import Block, Buffer, Capacitor, Current, Mos, Part

REFERENCE = 9
"""Devices of a reference for each one that a neuron has: the common error is a third of a neuron's own."""
LINES: tuple[tuple[str, str, str, str], ...] = (
    ("pb", "source_mirror", "iunit", "units"),  # sources
    ("nb", "sink_mirror", "iunit", "units"),  # sinks
    ("pbb", "source_mirror", "iunit", "units"),  # slope
    ("nbt", "tail", "itail", "devices"),  # comparator tail
    ("nbs", "starve", "istarve", "devices"),  # starved inverter
    ("pbc", "load", "iload", "devices"),  # load of the zero-idle comparator
)
"""Bias line, role of its diode-connected devices, parameters with their current and their number."""
P_ROLES = ("source_mirror", "load")


def _line(line: str, role: str, amps: str, count: str, out: str, decoupling: str | None) -> tuple[Part, ...]:
    inner = f"x{line}" if decoupling is None else out
    if role in P_ROLES:
        current = Current(f"i{line}", inner, "0", amps)
        diode = Mos(f"m{line}", role, inner, inner, "vdd", "vdd", count)
    else:
        current = Current(f"i{line}", "vdd", inner, amps)
        diode = Mos(f"m{line}", role, inner, inner, "0", "0", count)
    if decoupling is None:
        return current, diode, Buffer(f"e{line}", out, inner)
    return current, diode, Capacitor(f"c{line}", out, "vdd" if role in P_ROLES else "0", decoupling)


def reference_parameters(unit: float, units: int, tail: float, starve: float) -> dict[str, float]:
    """Numbers of devices of the references, and the currents through all of each: the blocks' parameters.

    Parameters
    ----------
    unit : current of one unit device [A]
    units : unit devices of W = 1
    tail, starve : currents of one tail and one starve device [A]
    """
    many = REFERENCE * units
    amps = {"itail": REFERENCE * tail, "istarve": REFERENCE * starve, "iload": REFERENCE * starve}
    return {"iunit": many * unit, **amps, "units": many, "devices": REFERENCE}


def _references(name: str, decoupling: str | None, extra: dict[str, float]) -> Block:
    parts = tuple(
        p for line, role, amps, count in LINES for p in _line(line, role, amps, count, line, decoupling)
    )
    defaults = reference_parameters(31.25e-9, 8, 400e-9, 200e-9)
    return Block(name, (*(line[0] for line in LINES), "vdd"), parts, {**defaults, **extra})


BUFFERED = _references("references", None, {})
DECOUPLED = _references("decoupled_references", "decap", {"decap": 10e-12})


def mirror(role: str) -> Block:
    """A single device on a bias line, as a comparator has it: what a tail or a starve line carries."""
    return Block(f"{role}_mirror", ("out", "line"), (Mos("m", role, "out", "line", "0", "0"),))


def bias_line(sign: str) -> Block:
    """The gate voltage of one weight: a unit device that carries W I_u; sign "p" (source) or "n" (sink)."""
    role = "source_mirror" if sign == "p" else "sink_mirror"
    parts = _line("w", role, "iweight", "1", "g", None)
    return Block(f"weight_bias_{sign}", ("g", "vdd"), parts, {"iweight": 31.25e-9})
