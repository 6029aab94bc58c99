r"""Silicon that a layer takes: gates and capacitor plates.

.. math:: A = \sum_{ij} \left( |W_{ij}|\,n\,A_{mirror} + A_{switch} \right) + N A_{cell} + A_{references}
          + \sum_i C_i / c_{density}

with the gate area W L of every transistor. Not in it: drains and sources, wells, wires, spacing; a layout is
several times as large, but in proportion.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from circuits.benches.neuron import neuron_bench
from circuits.biasing.choose import LayerBias


@dataclass(frozen=True)
class Area:
    """Of one layer [m^2]."""

    synapses: float
    neurons: float  #: slope source, comparator, latch, reset
    references: float
    capacitors: float

    @property
    def total(self) -> float:
        """All of it."""
        return self.synapses + self.neurons + self.references + self.capacitors


def area(bias: LayerBias) -> Area:
    """Gate and plate area of a layer.

    Parameters
    ----------
    bias : LayerBias
    """
    process, weights = bias.technology.transistors(), bias.layer.weights
    bench = neuron_bench(bias.technology, np.zeros(1), np.array([np.inf]), point=bias.point, theta=0.0)
    gates = {"n_": 0.0, "ref_": 0.0}
    for device in bench.bench.devices:
        prefix = "ref_" if device.path.startswith("ref_") else "n_"
        gates[prefix] += device.size.width * device.size.length * device.count
    synapses = 0.0
    for sign, kind in ((1, "source"), (-1, "sink")):
        mirror, switch = (process.size(f"{kind}_{part}") for part in ("mirror", "switch"))
        of_sign = weights * sign > 0
        units = np.abs(weights[of_sign]).sum() * process.units
        synapses += units * mirror.width * mirror.length + of_sign.sum() * switch.width * switch.length
    plates = float(bias.capacitors.sum()) / process.capacitor["density"]
    return Area(float(synapses), bias.layer.n_out * gates["n_"], gates["ref_"], plates)
