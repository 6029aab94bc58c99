"""Networks whose last layer spikes, and networks that are placed on a circuit, made by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from circuits.model.closed_form import trajectory_range
from ttfs_analog.constraints.constraints import Constraints, WeightUnits
from ttfs_analog.network.network import TTFSNetwork
from ttfs_analog.network.windows import choose_windows
from ttfs_analog.neuron.layers import TTFSLinear


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
