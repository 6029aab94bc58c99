r"""Current-mirror synapses: a source for W > 0, a sink for W < 0.

A mirror device carries \|W\| unit currents; in series with its drain stands a switch, driven not to the
rail but to the level that makes it a cascode while it is on. Off: VDD (source) or 0 (sink).

.. math:: I = |W|\,I_u, \qquad \sigma(\ln I) = \frac{1}{\sqrt{|W|\,n}}
          \sqrt{\left(\frac{g_m}{I_D}\right)^2 \frac{A_{VT}^2}{WL} + \frac{A_\beta^2}{WL}}

Sizing: a long mirror in moderate inversion (g_m / I_D about 20 / V) sets the spread; its width follows
from the unit current. The switch is short, but longer than minimum: its leakage falls with length and its
gate capacitance is injected at every edge. The cascode level leaves the mirror V_DS of 4 kT/q or more:
cascode_p = VDD - V_DS - \|V_GS\| of the switch, cascode_n = V_DS + V_GS.

Hand analysis: at turn-on the charge parked on the mirror's drain is dumped on the membrane; it acts like
an input that came earlier by delta_s, independent of the membrane voltage thanks to the cascode. The switch
gate feeds kappa_s through. Both are systematic and belong into the noise model.

Weights: unit devices in parallel (`count` = \|W\| n, the same spread per unit area for all weights), or a
gate bias of its own for each weight (`count` = 1; see `references.bias_line`): smaller, but the relative
spread is that of one device for all weights, and more in weak inversion.
"""

from __future__ import annotations

from circuits.blocks.subcircuit import Block, Mos

SOURCE = Block(
    "source_synapse",
    ("out", "gate", "pb", "vdd"),
    (
        Mos("ma", "source_mirror", "x", "pb", "vdd", "vdd", "count"),
        Mos("ms", "source_switch", "out", "gate", "x", "vdd"),
    ),
    {"count": 1},
)
SINK = Block(
    "sink_synapse",
    ("out", "gate", "nb"),
    (
        Mos("ma", "sink_mirror", "x", "nb", "0", "0", "count"),
        Mos("ms", "sink_switch", "out", "gate", "x", "0"),
    ),
    {"count": 1},
)
