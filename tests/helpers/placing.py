"""Networks whose last layer spikes, and networks that are placed on a circuit, made by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch.nn.functional import avg_pool2d

from circuits.model.closed_form import trajectory_range
from circuits.pdk.technology import Technology
from ttfs_analog.constraints.constraints import Constraints, WeightUnits
from ttfs_analog.conversion.mapping import convert
from ttfs_analog.data import datasets
from ttfs_analog.data.datasets import Data
from ttfs_analog.network.network import TTFSNetwork
from ttfs_analog.network.windows import choose_windows
from ttfs_analog.neuron.layers import TTFSLinear
from ttfs_analog.placement.place import place
from ttfs_analog.training.architectures import build
from ttfs_analog.training.recipe import Recipe
from ttfs_analog.training.training import train


def first_spike(net: TTFSNetwork, x: torch.Tensor, shift: float = 0.0) -> TTFSNetwork:
    """The same network with outputs that spike, D of all of them raised by `shift`."""
    *hidden, last = net.clone().layers
    output = TTFSLinear(last.weight, last.bias + shift, input_window=hidden[-1].window_length, window=1.0)
    made = TTFSNetwork([*hidden, output], dict(net.metadata))
    made.set_windows([*made.windows[:-1], choose_windows(made, x)[-1]])
    made.choose_points(x, net.points[0])
    return made


def placed(
    net: TTFSNetwork, low: float, high: float, units: int | None = None, most: int = 64
) -> TTFSNetwork:
    """A copy that says what circuit it is on, the same for all layers."""
    made = net.clone()
    room = {"units": units or 1, "most": most, "low": low, "high": high}
    made.metadata["placement"] = {"read_out": net.read_out, "layers": [dict(room) for _ in net.layers]}
    if units is not None:
        n = len(net.layers)
        made.constraints = Constraints([WeightUnits((units,) * n, (most,) * n)])
    return made


def ranges(net: TTFSNetwork, x: torch.Tensor) -> list[tuple[float, float]]:
    """Lowest and highest potential of every layer, thresholds included; read-outs add D to their samples."""
    result, active = [], x
    for layer, circuit, weight in zip(net.layers, net.to_circuit(), net.weights(), strict=True):
        if not circuit.spiking:
            circuit = replace(circuit, bias=np.zeros(circuit.n_out))
        low, high = trajectory_range(circuit, active.detach().numpy())
        thresholds = circuit.theta if circuit.spiking else circuit.theta[:0]
        result.append((min([low.min(), *thresholds]), max([high.max(), *thresholds])))
        active = layer(active, None, weight)
    return result


def widest(net: TTFSNetwork, x: torch.Tensor) -> tuple[float, float]:
    """The same over all layers."""
    lows, highs = zip(*ranges(net, x), strict=True)
    return min(lows), max(highs)


def coarse_digits(size: int, classes: int) -> Data:
    """The digits below `classes`, averaged to size x size pixels."""
    digits = datasets.load("digits")

    def coarse(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        some = y < classes
        return avg_pool2d(x[some].reshape(-1, 1, 8, 8), 8 // size).flatten(1), y[some]

    train_pair, test_pair = coarse(digits.x_train, digits.y_train), coarse(digits.x_test, digits.y_test)
    return Data("digits", *train_pair, *test_pair)


def on_transistors(data: Data, hidden: int, epochs: int, seed: int = 0, dummies: int = 0) -> TTFSNetwork:
    """A trained network with one hidden layer, placed on generic130 with spiking outputs."""
    relu = build(f"fc-{hidden}", data.shape, data.classes, seed, torch.float64)
    train(relu, data, Recipe(epochs=epochs))
    pair = (data.x_train, data.y_train)
    return place(convert(relu, data), Technology.load("generic130"), pair, dummies=dummies)
