"""Every mapping of the family on the full test set: agreement with the ReLU network and error of the logits.

    lenet5-bn  on Fashion-MNIST: normalization before ReLU, max pooling
    vgg-like   on CIFAR-10: normalization after ReLU and before max pooling (min pooling where kappa < 0),
               zero padding, inputs in [-1, 1]; VGG16's plan at an eighth of its width
    fc16-340   on Fashion-MNIST, float32 against float64: error of every spike time over its window

Networks are trained for one epoch first, so that statistics and weights are not those of a start.
"""

from __future__ import annotations

import argparse
import sys
import time

import torch
from torch import Tensor, nn

from ttfs_analog.conversion.mapping import agreement, convert
from ttfs_analog.data.datasets import Data, load
from ttfs_analog.network.network import TTFSNetwork
from ttfs_analog.neuron.layers import FORMS
from ttfs_analog.neuron.seeding import folded
from ttfs_analog.training.architectures import VGG16, build
from ttfs_analog.training.recipe import Recipe
from ttfs_analog.training.training import train

ZETA = 2.0
"""After one epoch a test image may exceed 1.5 times the largest activation of training: it fires early."""
LIMITS = {torch.float64: 1e-10, torch.float32: 1e-4}


class InRange(nn.Module):
    """Shows a model data of [0, 1] in its own range."""

    def __init__(self, model: nn.Module, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.model, self.shape = model, shape

    def forward(self, x: Tensor) -> Tensor:
        return self.model(2 * x.unflatten(1, self.shape) - 1)


def vgg_like(shape: tuple[int, ...], seed: int) -> nn.Sequential:
    """VGG16's plan at an eighth of its width; scales of the normalizations of either sign."""
    torch.manual_seed(folded(seed))
    modules: list[nn.Module] = []
    channels = shape[0]
    for widths in VGG16:
        for width in widths:
            norm = nn.BatchNorm2d(width // 8)
            with torch.no_grad():
                norm.weight.mul_(torch.randn(width // 8).sign())
            modules += [nn.Conv2d(channels, width // 8, 3, padding=1), nn.ReLU(), norm]
            channels = width // 8
        modules.append(nn.MaxPool2d(2))
    return nn.Sequential(*modules, nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))


def every_mapping(name: str, model: nn.Module, data: Data, low: float, limit: float) -> bool:
    good = True
    for mapping in FORMS:
        start = time.perf_counter()
        net = convert(model, data, mapping=mapping, input_range=(low, 1.0), zeta=ZETA)
        same, error = agreement(net, model, data.x_test)
        turned = sum(int((m.sign < 0).sum()) for m in net.blocks if getattr(m, "sign", None) is not None)
        ok = same == 1.0 and error <= limit
        good &= ok
        print(
            f"{name:<10} {str(data.x_test.dtype)[6:]:<8} {mapping:<9} agreement {100 * same:.2f} % of "
            f"{len(data.x_test)}, logits {error:.1e} (bar {limit:.0e}), {turned} min-pooling channels, "
            f"{time.perf_counter() - start:.0f} s{'' if ok else '  FAILED'}",
            flush=True,
        )
    return good


@torch.no_grad()
def _errors(net: TTFSNetwork, x: Tensor) -> list[float]:
    """Largest error of a float32 spike time in every layer, over its window."""
    wide, narrow = net.trace(x), net.clone().float().trace(x.float())
    return [
        float((a.double() - b).abs().max()) / window
        for a, b, window in zip(narrow[:-1], wide[:-1], net.windows, strict=True)
    ]


def single_precision(data: Data) -> bool:
    relu = build("fc16-340", data.features, data.classes, 0, torch.float64)
    train(relu, data, Recipe(epochs=1, batch=64, lr=1e-3))
    errors = _errors(convert(relu, data), data.x_test)
    print(f"fc16-340: float32 spike times are off by at most {max(errors):.1e} of their windows (bar 1e-5)")
    return max(errors) <= 1e-5


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=20000, help="to train on")
    options = parser.parse_args()
    good = True
    for dtype, limit in LIMITS.items():
        fashion, cifar = (_first(load(name, dtype), options.images) for name in ("fashion-mnist", "cifar10"))
        torch.manual_seed(0)
        recipe = Recipe(epochs=1, batch=64, lr=1e-3)
        lenet = build("lenet5-bn", fashion.shape, 10, 0, dtype)
        train(lenet, fashion, recipe)
        good &= every_mapping("lenet5-bn", lenet, fashion, 0.0, limit)
        vgg = vgg_like(cifar.shape, 0).to(dtype)
        train(InRange(vgg, cifar.shape), cifar, recipe)
        good &= every_mapping("vgg-like", vgg, cifar, -1.0, limit)
    good &= single_precision(_first(load("fashion-mnist"), options.images))
    return 0 if good else 1


def _first(data: Data, images: int) -> Data:
    return Data(data.name, data.x_train[:images], data.y_train[:images], data.x_test, data.y_test, data.shape)


if __name__ == "__main__":
    sys.exit(main())
