"""What can go wrong, in two kinds: the caller can mend it, or the simulator could not do it."""

from __future__ import annotations


class InputError(ValueError):
    """Bad input: the message names the thing, the value and the remedy. CLI exit code 2."""


class SimulatorError(RuntimeError):
    """ngspice is missing, failed, or gave a result that cannot be trusted. CLI exit code 3."""


class SimulatorMissing(SimulatorError):
    """No usable ngspice program was found."""
