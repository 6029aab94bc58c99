r"""From unit-free potentials to volts, amperes and seconds.

.. math:: V_{phys} = V_0 + s_V V, \qquad s_V = I_u \tau_c / C

One unit of weight is the unit current I_u; one unit of potential is s_V. Everything is a ratio to
I_u, so the capacitance cancels from the weights: it only sets how many volts a unit is.

Not modeled here: fan-in capacitance and leakage (transistor level).
"""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass

from circuits.errors import InputError
from circuits.model.shape import checked
from circuits.model.text_file import parse_json

SWING_MARGIN = 0.25
"""Part of the swing to keep free for mismatch when an operating point is chosen for a network."""
SUPPLY_RANGE = 0.25
"""Part by which a supply may differ from the one that a circuit is made for."""


@dataclass(frozen=True)
class OperatingPoint:
    """Electrical scale of one layer. All fields in SI units."""

    tau_c: float = 100e-9  #: conversion time: one unit of time [s]
    c_mem: float = 100e-15  #: membrane capacitance [F]
    i_unit: float = 250e-9  #: current of a synapse with W = 1 [A]
    v_reset: float = 0.55  #: membrane potential at V = 0 [V]
    vdd: float = 1.2  #: supply [V]
    v_low: float = 0.25  #: lowest potential at which current sources still regulate [V]
    v_high: float = 1.0  #: highest such potential [V]

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not math.isfinite(value) or value <= 0:
                raise InputError(f"operating point: {field.name} must be > 0, got {value!r}")
        if not self.v_low <= self.v_reset <= self.v_high <= self.vdd:
            raise InputError(
                "operating point: need v_low <= v_reset <= v_high <= vdd, got "
                f"{self.v_low}, {self.v_reset}, {self.v_high}, {self.vdd} V"
            )

    @property
    def v_unit(self) -> float:
        """s_V, volts per unit of potential [V]."""
        return self.i_unit * self.tau_c / self.c_mem

    @property
    def unit_energy(self) -> float:
        """Energy that the supply gives to one unit current over one tau_c [J]."""
        return self.vdd * self.i_unit * self.tau_c

    def volts(self, potential):
        """Unit-free potential -> membrane voltage [V]."""
        return self.v_reset + self.v_unit * potential

    def unit_free(self, volts):
        """Membrane voltage [V] -> unit-free potential."""
        return (volts - self.v_reset) / self.v_unit

    def at_supply(self, vdd: float | None) -> OperatingPoint:
        """The same circuit at another supply; None: its own.

        Raises
        ------
        InputError
            If it differs from the supply that the circuit is made for by more than SUPPLY_RANGE.
        """
        if vdd is None:
            return self
        if not abs(vdd / self.vdd - 1.0) <= SUPPLY_RANGE:
            low, high = (1 - SUPPLY_RANGE) * self.vdd, (1 + SUPPLY_RANGE) * self.vdd
            raise InputError(
                f"supply {vdd:g} V: this circuit is made for {self.vdd:g} V; stay within {low:g} to "
                f"{high:g} V"
            )
        return dataclasses.replace(self, vdd=vdd, v_high=min(self.v_high, vdd))

    def check_swing(self, v_min: float, v_max: float, where: str) -> None:
        """Refuse trajectories that leave the range in which the sources regulate.

        Parameters
        ----------
        v_min, v_max : float
            Extremes of the unit-free potential over the *whole* trajectory, partial sums included:
            a path that clips and comes back is corrupted even if it ends inside.
        where : str
            Layer and neuron, for the message.

        Raises
        ------
        InputError
            Naming the remedy.
        """
        low, high = self.volts(v_min), self.volts(v_max)
        slack = 1e-9 * (self.v_high - self.v_low)
        if low < self.v_low - slack or high > self.v_high + slack:
            raise InputError(
                f"{where}: the membrane swings from {low:.3f} V to {high:.3f} V, outside "
                f"{self.v_low:g}..{self.v_high:g} V; lower i_unit, raise c_mem, or narrow the window"
            )

    def fit_swing(self, v_min: float, v_max: float, margin: float = 0.1) -> OperatingPoint:
        """The same technology with i_unit and v_reset chosen for a range of potentials.

        The largest scale that keeps [v_min, v_max] inside the swing with `margin` to spare: a
        large s_V makes every voltage error small in units of tau_c.

        Parameters
        ----------
        v_min, v_max : extremes of the unit-free potential, partial sums included
        margin : part of the range to keep free on top

        Raises
        ------
        InputError
            If the range is not finite.
        """
        v_min, v_max = min(v_min, 0.0), max(v_max, 0.0)
        if not (math.isfinite(v_min) and math.isfinite(v_max)):
            raise InputError(f"potential range must be finite, got {v_min}..{v_max}")
        span = max(v_max - v_min, 1e-3) * (1.0 + margin)
        v_unit = (self.v_high - self.v_low) / span
        middle = 0.5 * (self.v_low + self.v_high)
        v_reset = min(max(middle - v_unit * 0.5 * (v_min + v_max), self.v_low), self.v_high)
        return dataclasses.replace(self, i_unit=v_unit * self.c_mem / self.tau_c, v_reset=v_reset)

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str, where: str = "operating point") -> OperatingPoint:
        return checked(parse_json(text, where), cls, where)
