r"""Two-phase time-domain multiplier, four quadrants: pulse lengths in, pulse length out, sources only.

One weight is two equal current sources, one on the membrane P and one on M, switched by the two lines of
its input: w > 0 joins x+ to P and x- to M, w < 0 the other way round. Phase 1 collects charge; in phase 2
equal slope sources lift both membranes, whose neurons fire at t_P and t_M:

.. math:: t_M - t_P = \frac{\tau_c}{B} \sum_j w_j x_j, \qquad
          r = s_P \wedge \neg s_M \;\text{lasts}\; \max(0, y)

and the mirror image s_M and not s_P lasts max(0, -y). The first gate is the ReLU. What is common to P and M
(comparator delay, leakage, threshold, temperature) cancels.

Charge injection: whenever a source turns on, the charge parked on its mirror's drain (C_x times the 0.35 V
by which the drain falls) is dumped on the membrane, as if the pulse were delta = 0.056 tau_c longer. On one
line only, that adds delta sum w sign(x) to y: no gain and no offset can remove it, 2 % of full scale
remain. The remedy is in the code, not in the cell: *every* line carries a pulse, of length

.. math:: x_+ = x_0 + \max(0, x), \qquad x_- = x_0 + \max(0, -x)

so that each input turns on one source of equal weight on P and on M, and both delta and x_0 are common to
both. x_0 has to outlast the settling of the drain, C_x / g_m of the switch (2 ns): 0.05 tau_c. It costs
threshold head room, (x_0 + delta) sum \|w\|, and no energy: what the pulses bring, the ramps need not.
No dummy devices, no third constant. `circuits.blocks.line_gate` makes such lines for a next multiplier.

Sizing: `units` unit sources make B = 1, and grow with the number of inputs N so that sum \|w\| stays near
one; capacitor and slope current grow alike. The sources of an input are shared by nothing else: sigma(y)^2 =
sum of sigma_u^2 \|w\| x^2 / units over the line in use, and the difference cancels no mismatch.

Hand analysis of the energy: whichever sources bring it, each membrane is charged from V_0 to the threshold,

.. math:: E = 2\,V_{DD}\,C\,s_V\,\vartheta + E_{comparators} + E_{latches}, \qquad C \propto N

so 2 N operations cost V_DD s_V theta C / N each, 9.6 fJ on generic130, and what does not grow with N.

Source: Bavandpour, Mahmoodi & Strukov, arXiv:1711.10673 (2017), the scheme, there with flash cells; a
neuron of this package serves as integrator, ramp, comparator and latch.
"""

from __future__ import annotations

from circuits.blocks.line_gate import AND
from circuits.blocks.neuron import NEURON
from circuits.blocks.subcircuit import Block, Use
from circuits.blocks.synapse import SOURCE

LINES = ("v0", "vth", "rst", "rstb", "en", "gateb", "pbb", "nbt", "nbs", "vds", "vdc", "vdl")
"""What both neurons of a pair share, in the order of their ports."""

WEIGHT = Block(
    "multiplier_weight",
    ("a", "b", "gatea", "gateb", "pb", "vdd"),
    (
        Use("a", SOURCE, ("a", "gatea", "pb", "vdd"), {"count": "count"}),
        Use("b", SOURCE, ("b", "gateb", "pb", "vdd"), {"count": "count"}),
    ),
    {"count": 1},
)
_SHARED = {name: name for name in ("cm", "units", "fingers", "load")}
PAIR = Block(
    "multiplier_pair",
    ("p", "m", "sp", "sm", "rp", "rm", *LINES),
    (
        Use("p", NEURON, ("p", "sp", "sbp", *LINES), _SHARED),
        Use("m", NEURON, ("m", "sm", "sbm", *LINES), _SHARED),
        Use("gp", AND, ("sp", "sbm", "rp", "vdl")),
        Use("gm", AND, ("sm", "sbp", "rm", "vdl")),
    ),
    {"cm": 100e-15, "units": 16, "fingers": 1, "load": 2e-15},
)
