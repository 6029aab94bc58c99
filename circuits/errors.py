"""What can go wrong: the caller can mend it, the simulator could not do it, or numbers ran away."""

from __future__ import annotations


class InputError(ValueError):
    """Bad input: the message names the thing, the value and the remedy. CLI exit code 2."""


class SimulatorError(RuntimeError):
    """ngspice is missing, failed, or gave a result that cannot be trusted. CLI exit code 3."""


class SimulatorMissing(SimulatorError):
    """No usable ngspice program was found."""


class Diverged(ArithmeticError):
    """An optimization left the finite numbers; the input was as good as any. CLI exit code 2."""


class Notice(UserWarning):
    """The result holds, but something on the way was not as it should be. The CLI shows it in one line."""
