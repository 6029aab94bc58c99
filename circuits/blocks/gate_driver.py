r"""From a latched spike to the gates of the synapses it drives: on from the spike until the window closes.

.. math:: g = \begin{cases} \text{cascode level} & s \wedge w \\ \text{rail} & \text{otherwise} \end{cases}

A synapse's switch wants VDD (source) or 0 (sink) while it is off, and the level that makes it a cascode while
it is on. An inverter between the two does that: its other supply is the cascode level instead of a rail. Both
devices of a transmission gate lead to that level, which lies between the rails: one alone is slow in the
corner in which its threshold is high. The window w (high in phase 1 of the driven layer) ends all synapses
at t_min, spike or no spike. One NAND serves both drivers: sources follow s and w, sinks its complement.

Sizing: the on-edge passes through a transistor at V_GS = cascode_p's distance from VDD, or cascode_n's from
0, about 0.7 V: R_on some 20 kOhm, 0.1 ns into 5 fF. Each fan-out of 100 synapses wants 20 times the width.
The P device to cascode_n has a well of its own: in that of VDD, its threshold would eat the 0.7 V up. The
delay is that of both edges, so only its difference changes the length of the current.
"""

from __future__ import annotations

from circuits.blocks.subcircuit import Block, Mos

GATE_DRIVER = Block(
    "gate_driver",
    ("s", "window", "gp", "gn", "oncp", "oncn", "vdd"),
    (
        Mos("a1", "nand_n", "z", "s", "y", "0"),
        Mos("a2", "nand_n", "y", "window", "0", "0"),
        Mos("a3", "gate_p", "z", "s", "vdd", "vdd"),
        Mos("a4", "gate_p", "z", "window", "vdd", "vdd"),
        Mos("i1", "gate_p", "on", "z", "vdd", "vdd"),
        Mos("i2", "gate_n", "on", "z", "0", "0"),
        Mos("p1", "buffer_p", "gp", "on", "vdd", "vdd"),
        Mos("p2", "buffer_n", "gp", "on", "oncp", "0"),
        Mos("p3", "buffer_p", "gp", "z", "oncp", "vdd"),
        Mos("n1", "buffer_p", "gn", "z", "oncn", "oncn"),
        Mos("n3", "buffer_n", "gn", "on", "oncn", "0"),
        Mos("n2", "buffer_n", "gn", "z", "0", "0"),
    ),
)
