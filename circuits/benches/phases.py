"""When what happens on a neuron's bench: reset, input window (phase 1), firing window (phase 2)."""

from __future__ import annotations

from dataclasses import dataclass

RESET, SETTLE = 0.20, 0.05
"""Length of the reset, and of the pause before the input window [tau_c]."""


@dataclass(frozen=True)
class Phases:
    """When what happens [s]."""

    tau_c: float
    reset: float  #: end of the reset
    start: float  #: of the input window
    t_min: float
    t_max: float

    @classmethod
    def of(cls, input_window: float, window: float, tau_c: float) -> Phases:
        """From the lengths of the two phases [tau_c].

        Parameters
        ----------
        input_window, window : [tau_c]
        tau_c : [s]
        """
        start = (RESET + SETTLE) * tau_c
        t_min = start + input_window * tau_c
        return cls(tau_c, RESET * tau_c, start, t_min, t_min + window * tau_c)

    @property
    def end(self) -> float:
        """End of the transient: a little after t_max."""
        return self.t_max + 0.05 * self.tau_c
