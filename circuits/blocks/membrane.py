r"""The membrane: a capacitor with a transmission gate to the mid-rail reset level.

.. math:: V_{unit} = I_u \tau_c / C_{eff}, \qquad C_{eff} = C + C_{fixed} + N\,c_{synapse}

Reset to mid-rail lets sources push up and sinks pull down. Both transistors of the gate are minimal: they
inject opposite charges (0.15 mV remains at 100 fF), and they settle C_eff in a few nanoseconds
(R_on about 5 kOhm each, reset lasts 0.2 tau_c). Reset samples sqrt(kT/C): 0.20 mV at 100 fF.
"""

from __future__ import annotations

from circuits.blocks.subcircuit import Block, Capacitor, Mos

MEMBRANE = Block(
    "membrane",
    ("vm", "v0", "rst", "rstb", "vdd"),
    (
        Capacitor("cm", "vm", "0", "cm"),
        Mos("mn", "reset_n", "vm", "rst", "v0", "0"),
        Mos("mp", "reset_p", "vm", "rstb", "v0", "vdd"),
    ),
    {"cm": 100e-15},
)
