"""What the circuit does: neurons, netlists, ngspice, waveforms."""

from importlib import import_module

from circuits.errors import InputError, SimulatorError, SimulatorMissing
from circuits.model.layer import Layer, LayerMismatch, LayerResponse
from circuits.model.operating_point import OperatingPoint
from circuits.pdk.technology import Technology

LAZY = {
    "IdealNeuron": "circuits.ideal.ideal_layer",
    "TransistorNeuron": "circuits.biasing.transistor_layer",
    "neurons": "circuits.simulation",
    "simulate": "circuits.simulation",
}
"""Name -> module that is loaded on first use, for PySpice with it."""

__all__ = [
    "InputError",
    "Layer",
    "LayerMismatch",
    "LayerResponse",
    "OperatingPoint",
    "SimulatorError",
    "SimulatorMissing",
    "Technology",
    *LAZY,
]


def __getattr__(name: str):
    if name in LAZY:
        return getattr(import_module(LAZY[name]), name)
    raise AttributeError(f"module 'circuits' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *LAZY})
