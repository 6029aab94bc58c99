r"""Electrical scale of a four-quadrant multiplier, from the technology's own operating point for neurons.

A lower reset, since nothing pulls down, and a larger unit of potential that fills the distance to the
threshold:

.. math:: V_0 = V_{0,neuron} - 0.6\,s_V, \qquad s_V' = 1.6\,s_V, \qquad I_B' = 1.6\,I_B

For N inputs beyond six, units, current and capacitor of a membrane grow as N / 6. The threshold is THETA =
1.2 units: one for the result and the shortest pulses, 0.2 for the comparator, which needs that much ramp
after it has been switched on (with 0.1, the largest results are 0.8 % of full scale off; with none, 3 %).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from circuits.model.operating_point import OperatingPoint
from circuits.pdk.technology import Technology

LOWER = 0.6
"""How far the reset lies below that of a neuron, in its units of potential."""
INPUTS = 6
"""Inputs that the operating point is meant for before it is scaled."""
THETA, WAKE = 1.2, 0.2
"""Threshold, and the part of it that has to be left when phase 2 begins, in units of potential."""
MARK = 0.05
"""x_0: shortest pulse, on both lines of every input [tau_c]."""
PARKED = 0.06
"""Head room for delta, the charge dumped at turn-on, on top of the pulse [tau_c]."""
UNITS_A_FINGER = 16
"""Of the slope source, to one finger of its switches."""


@dataclass(frozen=True)
class MultiplierPoint:
    """Electrical scale of a multiplier."""

    point: OperatingPoint  #: of one membrane
    units: int  #: unit sources that make a weight of 1, and B

    @classmethod
    def of(cls, technology: Technology, inputs: int) -> MultiplierPoint:
        """For a number of inputs."""
        neuron, process = technology.operating_point, technology.transistors()
        factor = max(inputs / INPUTS, 1.0)
        base = 2 * process.units
        units = round(base * factor)
        factor = units / base
        point = dataclasses.replace(
            neuron,
            v_reset=round(neuron.v_reset - LOWER * neuron.v_unit, 9),
            i_unit=neuron.i_unit * (1.0 + LOWER) * factor,
            c_mem=neuron.c_mem * factor,
        )
        return cls(point, units)

    @property
    def fingers(self) -> int:
        """Fingers of the slope source's switches."""
        return max(round(self.units / UNITS_A_FINGER), 1)
