"""What the circuit does: neurons, netlists, ngspice, waveforms."""

from circuits.errors import InputError, SimulatorError, SimulatorMissing
from circuits.model.layer import Layer, LayerMismatch, LayerResponse
from circuits.model.operating_point import OperatingPoint
from circuits.pdk.technology import Technology

__all__ = [
    "InputError",
    "Layer",
    "LayerMismatch",
    "LayerResponse",
    "OperatingPoint",
    "SimulatorError",
    "SimulatorMissing",
    "Technology",
    "simulate",
]


def __getattr__(name: str):
    if name == "simulate":  # PySpice loads on first use
        from circuits.simulation import simulate

        return simulate
    raise AttributeError(f"module 'circuits' has no attribute {name!r}")
