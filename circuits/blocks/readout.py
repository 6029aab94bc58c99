r"""Non-spiking readout: a membrane without comparator, and a sample-and-hold that keeps its result.

The hold capacitor is part of the membrane until t_min; then a transmission gate cuts it off, and the
membrane can be reset while its value waits for a converter.

.. math:: V_{hold} = V_0 + s_V \sum_j W_j (x_j + \delta_s), \qquad C_{eff} = C_m + C_{hold} + C_{par}

Sizing: C_hold is half of C_eff, so that sampling shares no charge (both halves are already at the same
voltage). The gate has two unit fingers of each type, and on the hold side one finger of each as a dummy,
shorted and driven by the complement: half of the channel charge leaves to either side, half a device takes
it up. R_on C_hold is 0.3 ns against 100 ns.

Hand analysis: channel charge of a finger, W L C_ox (V_DD - V - V_T), is 0.15 fC, 3 mV on 50 fF; N and P
have opposite signs, but their overdrives cancel at one voltage only; the dummies take up the rest. Measured:
at most 0.03 mV at -0.9..1.3 units. Droop: sub-threshold leakage of the off gate, whose source stands at the
held level and whose gates stand at the rails; on generic130 0.01 uV / us at 27 C and 8 uV / us at 125 C for
-0.9 units, less for higher levels. It would take a fifth of a second to lose a hundredth of a unit at 27 C;
junctions of a real process leak more. Gain 1.03 and offset -0.002 of a unit are the membrane's: delta_s of
its synapses and the parasitic part of its capacitance.
"""

from __future__ import annotations

from circuits.blocks.membrane import MEMBRANE
from circuits.blocks.subcircuit import Block, Capacitor, Mos, Use

SAMPLE_HOLD = Block(
    "sample_hold",
    ("vm", "hold", "track", "trackb", "vdd"),
    (
        Mos("sn", "reset_n", "vm", "track", "hold", "0", "fingers"),
        Mos("sp", "reset_p", "vm", "trackb", "hold", "vdd", "fingers"),
        Mos("dn", "reset_n", "hold", "trackb", "hold", "0", "dummies"),
        Mos("dp", "reset_p", "hold", "track", "hold", "vdd", "dummies"),
        Capacitor("ch", "hold", "0", "ch"),
    ),
    {"ch": 50e-15, "fingers": 2, "dummies": 1},
)
READOUT = Block(
    "readout",
    ("vm", "hold", "v0", "rst", "rstb", "track", "trackb", "vdd"),
    (
        Use("mem", MEMBRANE, ("vm", "v0", "rst", "rstb", "vdd"), {"cm": "cm"}),
        Use("sh", SAMPLE_HOLD, ("vm", "hold", "track", "trackb", "vdd"), {"ch": "ch"}),
    ),
    {"cm": 50e-15, "ch": 50e-15},
)
