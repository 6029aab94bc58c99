r"""From the two spikes of a multiplier to the two input lines of a next one, shortest pulse included.

A multiplier wants a pulse on both lines of every input, however small (`circuits.blocks.multiplier`). The
moment when both membranes have fired, delayed by x_0, ends both:

.. math:: l_+ = s_P \wedge \neg d, \qquad l_- = s_M \wedge \neg d, \qquad d = (s_P \wedge s_M)(t - x_0)

so that l_+ lasts x_0 + max(0, y) and l_- lasts x_0 + max(0, -y). What x_0 is exactly does not matter, as long
as it is the same for both lines: it is common mode in the next multiplier.

Sizing: the delay is a capacitor that a starved inverter discharges to the trip point of the next one,
C V_DD / 2 I_starve: 1.7 fF beside some 1.5 fF of gates, at 200 nA about 8 ns. Two inverters restore the edge
before it meets the gates.
"""

from __future__ import annotations

from circuits.blocks.subcircuit import Block, Capacitor, Mos, Use, inverter

AND = Block(
    "and_gate",
    ("a", "b", "q", "vdd"),
    (
        Mos("n1", "nand_n", "z", "a", "y", "0"),
        Mos("n2", "nand_n", "y", "b", "0", "0"),
        Mos("n3", "gate_p", "z", "a", "vdd", "vdd"),
        Mos("n4", "gate_p", "z", "b", "vdd", "vdd"),
        Mos("o1", "buffer_p", "q", "z", "vdd", "vdd"),
        Mos("o2", "buffer_n", "q", "z", "0", "0"),
    ),
)
LINE_GATE = Block(
    "line_gate",
    ("sp", "sm", "lp", "lm", "nbs", "vdd"),
    (
        Use("both", AND, ("sp", "sm", "both", "vdd")),
        Mos("dp", "gate_p", "slow", "both", "vdd", "vdd"),
        Mos("dn", "nand_n", "slow", "both", "h", "0"),
        Mos("ds", "starve", "h", "nbs", "0", "0"),
        Capacitor("cd", "slow", "0", "delay"),
        *inverter("i1", "late", "slow"),
        *inverter("i2", "lateb", "late"),
        Use("p", AND, ("sp", "lateb", "lp", "vdd")),
        Use("m", AND, ("sm", "lateb", "lm", "vdd")),
    ),
    {"delay": 1.7e-15},
)
