r"""The current source of phase 2: slope B, on from t_min, off by itself once the neuron has fired.

`count` unit mirrors make I_B = B I_u. Their reference is a line of its own, made as that of the synapses: B
and the weights drift together, but the mismatch of the two references does not cancel.

.. math:: \dot V = I_B / C_{eff}, \qquad \sigma(\ln B) = \sigma_{unit} / \sqrt{count}

`fingers` of the switches: the multiplier takes one for each 16 units, the neuron one. With more units their
V_GS leaves the mirror less V_DS (1.2 % less current with 5 times that, 3.7 % with 10 times).

The first switch is the cascode (level cascode_p while on); the second one, driven by the spike itself, ends
the ramp: the energy of phase 2 is VDD I_B (t - t_min). Self-off is taken from the buffered spike, not from
the latch node, where it would feed back before the latch has decided.
"""

from __future__ import annotations

from circuits.blocks.subcircuit import Block, Mos

SLOPE_SOURCE = Block(
    "slope_source",
    ("vm", "s", "gateb", "pbb", "vdd"),
    (
        Mos("mb1", "source_mirror", "x", "pbb", "vdd", "vdd", "count"),
        Mos("mb2", "source_switch", "y", "gateb", "x", "vdd", "fingers"),
        Mos("mb3", "slope_gate", "vm", "s", "y", "vdd", "fingers"),
    ),
    {"count": 8, "fingers": 1},
)
