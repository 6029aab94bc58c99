r"""The whole B1 neuron: membrane, slope source, comparator, latch. Synapses are attached to `vm`.

.. math:: t_i - t_{min} = \tau_c \frac{\vartheta_i - V_i(t_{min})}{B_i} + t_d

Supplies by domain: `vds` currents of the membrane, `vdc` comparator, `vdl` latch. Phase 1: synapses on,
comparator off. Phase 2, from t_min: slope source and comparator on until the spike.

Source: eqs. 1-2 of Stanojevic et al., Nat. Commun. 2024, as a circuit.
"""

from __future__ import annotations

from circuits.blocks.comparator import OTA, ZERO_IDLE
from circuits.blocks.latch import LATCH
from circuits.blocks.membrane import MEMBRANE
from circuits.blocks.slope_source import SLOPE_SOURCE
from circuits.blocks.subcircuit import Block, Use

CONTROLS = ("rst", "rstb", "en", "gateb")
SUPPLIES = ("vds", "vdc", "vdl")


def _neuron(name: str, comparator: Block, threshold: str, bias: str) -> Block:
    """`threshold` and `bias`: the port that sets the comparator's threshold, and that of its current."""
    return Block(
        name,
        ("vm", "s", "sb", "v0", threshold, *CONTROLS, "pbb", bias, "nbs", *SUPPLIES),
        (
            Use("mem", MEMBRANE, ("vm", "v0", "rst", "rstb", "vds"), {"cm": "cm"}),
            Use(
                "slope",
                SLOPE_SOURCE,
                ("vm", "s", "gateb", "pbb", "vds"),
                {"count": "units", "fingers": "fingers"},
            ),
            Use("cmp", comparator, ("vm", threshold, "a", "en", "sb", bias, "nbs", "vdc")),
            Use("latch", LATCH, ("a", "rst", "s", "sb", "vdl"), {"load": "load"}),
        ),
        {"cm": 100e-15, "units": 8, "fingers": 1, "load": 2e-15},
    )


NEURON = _neuron("neuron", OTA, "vth", "nbt")
ZERO_IDLE_NEURON = _neuron("zero_idle_neuron", ZERO_IDLE, "vrail", "pbc")
