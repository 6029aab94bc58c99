"""From a network trained in PyTorch to a chip of time-to-first-spike neurons, checked in ngspice.

>>> import ttfs_analog as ta                                           # doctest: +SKIP
>>> net = ta.convert(relu_model, calibration=loader)                   # doctest: +SKIP
>>> noise = ta.NoiseModel.load("noise_model.json")                     # doctest: +SKIP
>>> ta.evaluate(net, loader, chips=noise.sample(net, chips=200))       # doctest: +SKIP
"""

from importlib import import_module

_HOME = {
    "Chips": "noise.chips",
    "LayeredNoise": "noise.layered",
    "Lot": "noise.lot",
    "NoiseModel": "noise.noise_model",
    "Recipe": "training.recipe",
    "TTFSNetwork": "network.network",
    "build": "training.architectures",
    "constrain": "network.constrain",
    "convert": "conversion.mapping",
    "energy": "evaluation.energy",
    "evaluate": "evaluation.accuracy",
    "finetune": "training.finetuning",
    "load": "data.datasets",
    "place": "placement.place",
    "relative": "network.relative",
    "to_relu": "conversion.mapping",
    "train": "training.training",
    "verify": "evaluation.verification",
    "verify_transistors": "evaluation.transistor_verification",
}
__all__ = sorted(_HOME)


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module 'ttfs_analog' has no attribute {name!r}")
    return getattr(import_module(f"ttfs_analog.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
