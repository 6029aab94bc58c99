r"""The latch that holds a spike until the next reset, and its buffers.

A cross-coupled pair of weak inverters; `a` sets it, `rst` clears it. The setting transistor has to beat the
weak P device: W/L four times its own in the worst corner. The buffer drives `s`, the spike, a step that
stays up; its complement `sb` switches comparator and slope source off.

Energy of a spike: about (C_latch + C_buffer + C_load) VDD^2; wire and gates of the fan-out are C_load.
"""

from __future__ import annotations

from circuits.blocks.subcircuit import Block, Capacitor, Mos

LATCH = Block(
    "latch",
    ("a", "rst", "s", "sb", "vdd"),
    (
        Mos("m13", "latch_set", "qb", "a", "0", "0"),
        Mos("m14", "latch_set", "q", "rst", "0", "0"),
        Mos("m15", "latch_p", "q", "qb", "vdd", "vdd"),
        Mos("m16", "latch_n", "q", "qb", "0", "0"),
        Mos("m17", "latch_p", "qb", "q", "vdd", "vdd"),
        Mos("m18", "latch_n", "qb", "q", "0", "0"),
        Mos("m19", "buffer_p", "s", "qb", "vdd", "vdd"),
        Mos("m20", "buffer_n", "s", "qb", "0", "0"),
        Mos("m21", "gate_p", "sb", "s", "vdd", "vdd"),
        Mos("m22", "gate_n", "sb", "s", "0", "0"),
        Capacitor("cl", "s", "0", "load"),
    ),
    {"load": 2e-15},
)
