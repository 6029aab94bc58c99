"""ReLU networks by name: fully connected, LeNet5 and VGG16, as in the papers' benchmarks.

Source: Stanojevic et al., Nat. Commun. 2024, Methods, "Simulation details"; normalization before ReLU
(LeNet5) and after it (VGG16): thesis of A. Stanojevic, EPFL 2023, Fig. 2.2.
"""

from __future__ import annotations

import re
from itertools import pairwise
from math import prod

import torch
from torch import nn

from circuits.errors import InputError
from ttfs_analog.neuron.seeding import seeded

NAMES = "fc-WIDTH, fcDEPTH-WIDTH (such as fc-340 and fc16-340), lenet5, lenet5-bn, vgg16, vgg16-bn"
VGG16 = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


def build(
    arch: str, shape: int | tuple[int, ...], classes: int, seed: int, dtype: torch.dtype
) -> nn.Sequential:
    """A ReLU network by name, its weights drawn from `seed`.

    Parameters
    ----------
    arch : str
        'fc-340': one hidden layer of 340; 'fc16-340': 16 layers, 15 of them hidden. 'lenet5': three
        convolutions, two max poolings, 84 and the classes. 'vgg16': 13 convolutions, five (28 x 28: four)
        max poolings, one (28 x 28: two) hidden layers of 512. '-bn' adds batch normalization: before ReLU
        in LeNet5, after it in VGG16.
    shape : int or tuple of int
        Of one input.
    classes : int
        Outputs.
    seed : int
        Of the weights.
    dtype : torch.dtype
        Of the weights.

    Raises
    ------
    InputError
        On any other name, or a shape that does not fit.
    """
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    match = re.fullmatch(r"(fc(\d*)-(\d+))|((lenet5|vgg16)(-bn)?)", arch)
    if not match or (match[1] and not (1 < int(match[2] or 2) <= 64 and 0 < int(match[3]) <= 8192)):
        raise InputError(f"unknown architecture {arch!r}; use {NAMES}")
    if match[1]:
        modules = _dense([prod(shape), *[int(match[3])] * (int(match[2] or 2) - 1), classes])
    else:
        size = 28 if match[5] == "lenet5" else 32
        if len(shape) != 3 or shape[1] != shape[2] or shape[1] not in (28, 32):
            raise InputError(
                f"{arch} needs images of 28 x 28 or 32 x 32, the data have shape {shape}; use {NAMES[:8]} "
                f"or data such as mnist, fashion-mnist ({size} x {size}) and cifar10"
            )
        modules = (_lenet5 if match[5] == "lenet5" else _vgg16)(shape, classes, bool(match[6]))
    if len(shape) > 1 and not match[1]:
        modules = [nn.Unflatten(1, shape), *modules]  # data come flat
    model = nn.Sequential(*modules).to(dtype)
    generator = seeded(seed)
    he = match[5] == "vgg16"
    for module in model:
        if isinstance(module, nn.Linear | nn.Conv2d):
            if he:
                nn.init.kaiming_uniform_(module.weight, nonlinearity="relu", generator=generator)
            else:
                nn.init.xavier_uniform_(module.weight, generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return model


def _dense(sizes: list[int]) -> list[nn.Module]:
    modules: list[nn.Module] = []
    for n_in, n_out in pairwise(sizes):
        modules += [nn.Linear(n_in, n_out), nn.ReLU()]
    return modules[:-1]


def _lenet5(shape: tuple[int, ...], classes: int, norm: bool) -> list[nn.Module]:
    modules: list[nn.Module] = []
    plan = ((6, (32 - shape[1]) // 2, True), (16, 0, True), (120, 0, False))
    channels = shape[0]
    for width, padding, pool in plan:
        modules.append(nn.Conv2d(channels, width, 5, padding=padding))
        modules += [nn.BatchNorm2d(width)] * norm + [nn.ReLU()] + [nn.MaxPool2d(2)] * pool
        channels = width
    modules += [nn.Flatten(), nn.Linear(120, 84)] + [nn.BatchNorm1d(84)] * norm
    return [*modules, nn.ReLU(), nn.Linear(84, classes)]


def _vgg16(shape: tuple[int, ...], classes: int, norm: bool) -> list[nn.Module]:
    modules: list[nn.Module] = []
    channels = shape[0]
    for block, widths in enumerate(VGG16):
        for width in widths:
            modules += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
            modules += [nn.BatchNorm2d(width)] * norm
            channels = width
        if block > 0 or shape[1] == 32:  # small images skip the first pooling
            modules.append(nn.MaxPool2d(2))
    modules.append(nn.Flatten())
    for _ in range(1 if shape[1] == 32 else 2):
        modules += [nn.Linear(512, 512), nn.ReLU()] + [nn.BatchNorm1d(512)] * norm
    return [*modules, nn.Linear(512, classes)]
