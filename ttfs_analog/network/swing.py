r"""Keep a placed network inside the range of potentials that its circuit has room for, by rescaling.

With slope 1 an activation is x_i = relu(W_i x + D_i), and for any c > 0

.. math:: (W_i, D_i) \to c\,(W_i, D_i), \quad W_{ki}^{next} \to W_{ki}^{next} / c

leaves the function of the network as it is, while all partial sums of neuron i shrink with c. The windows
stay. Thresholds theta_i = T - D_i do not shrink with c: those outside the range are set to its ends. The last
layer is scaled as one, which keeps the order of its logits. Where dummies close a window, D counts from
theirs. It is exact but for activations that the window clips, thresholds that are set, and weights that are
rounded.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from circuits.errors import InputError
from circuits.model.closed_form import trajectory_range
from circuits.model.layer import Array, Layer
from ttfs_analog.network.network import TTFSNetwork
from ttfs_analog.neuron.layers import TTFSLayer, TTFSLinear
from ttfs_analog.neuron.relative import Relative

SLACK = 1e-6
"""Of the range, at either end: what leaves it is brought in so far that rounding does not count."""
STEP = 0.98
"""Most that a neuron is scaled by again, where rounded weights did not follow the first time."""


def rooms(net: TTFSNetwork) -> list[tuple[float, float]]:
    """Lowest and highest potential that the circuit of every layer has room for.

    Raises
    ------
    InputError
        If the network is not placed, or its placement does not fit it.
    """
    layers: list[dict[str, Any]] = net.metadata.get("placement", {}).get("layers", [])
    if len(layers) != len(net.layers):
        raise InputError(
            f"the placement names {len(layers)} layers, the network has {len(net.layers)}: place it again"
        )
    for n, (layer, about) in enumerate(zip(net.layers, layers, strict=True)):
        if not isinstance(layer, TTFSLinear) or layer.form != "b1" or bool((layer.slope != 1).any()):
            raise InputError(
                f"layer {n}: a placed network has fully connected layers of form b1 with slope 1"
            )
        if not about["low"] < 0 < about["high"]:
            raise InputError(
                f"layer {n}: the placement's range {about['low']}..{about['high']} must enclose 0: place the "
                "network again"
            )
    return [(float(about["low"]), float(about["high"])) for about in layers]


@torch.no_grad()
def project(net: TTFSNetwork, x: Tensor) -> bool:
    """Rescale a placed network so that no trajectory of these images leaves the range; changes `net`.

    Trajectories are those of the weights that the hardware holds. Weights beyond the most units of a synapse
    are set to these.

    Parameters
    ----------
    x : Tensor, shape (image, in)
        Calibration inputs.

    Returns
    -------
    bool
        Whether anything changed.

    Raises
    ------
    InputError
        As of `rooms`.
    """
    changed, active = False, x.to(net.like).flatten(1)
    for n, (layer, (low, high)) in enumerate(zip(net.layers, rooms(net), strict=True)):
        changed |= _hold_weights(net, n, layer)
        rows, most = np.arange(layer.n_out), 1.0
        while len(rows):
            changed |= _hold_thresholds(layer, low, high)
            scale = np.ones(layer.n_out)
            circuit = layer.neurons(net.weights()[n])
            if not layer.spiking:  # D of a read-out is added to its samples: no current of the circuit
                circuit = replace(circuit, bias=np.zeros(layer.n_out))
            scale[rows] = _excess(_part(circuit, rows), active, low, high)
            if n + 1 == len(net.layers):  # as one
                scale[:] = scale.min()
            if net.dummies[n]:  # activations count from their spike
                scale[-net.dummies[n] :] = 1.0
            rows = np.flatnonzero(scale < 1)  # no other neuron changes
            scale[rows] = np.minimum(scale[rows], most)
            if len(rows):
                changed = True
                _rescale(net, n, torch.as_tensor(scale).to(net.like))
            most = STEP
        active = layer(active, None, net.weights()[n])
        active = Relative(net.dummies[n])(active) if net.dummies[n] else active
    return changed


def _hold_weights(net: TTFSNetwork, n: int, layer: TTFSLayer) -> bool:
    """Weights that ask for more units than there are would not follow a scale."""
    units = net.constraints.units if net.constraints else None
    if units is None:
        return False
    top = units.most[n] / units.units[n]
    beyond = bool((layer.weight.abs() > top).any())
    layer.weight.clamp_(-top, top)
    return beyond


def _hold_thresholds(layer: TTFSLayer, low: float, high: float) -> bool:
    """Thresholds inside the range; no potential is below it, so that a neuron there fires at t_min anyway."""
    if not layer.spiking:
        return False
    slack = SLACK * (high - low)
    least, largest = layer.window_length - high + slack, layer.window_length - low - slack
    beyond = bool(((layer.bias < least) | (layer.bias > largest)).any())
    layer.bias.clamp_(least, largest)
    return beyond


def _part(circuit: Layer, rows: np.ndarray) -> Layer:
    return replace(circuit, weights=circuit.weights[rows], bias=circuit.bias[rows], slope=circuit.slope[rows])


def _excess(circuit: Layer, active: Tensor, low: float, high: float) -> Array:
    """Factor that brings every neuron into the range, shape (neuron,); 1 where it is inside."""
    lows, highs = trajectory_range(circuit, active.double().cpu().numpy())
    lowest, highest, slack = lows.min(0), highs.max(0), SLACK * (high - low)
    down = np.divide(low + slack, lowest, out=np.ones_like(lowest), where=lowest < low)
    up = np.divide(high - slack, highest, out=np.ones_like(highest), where=highest > high)
    return np.minimum(down, up)


def _rescale(net: TTFSNetwork, n: int, scale: Tensor) -> None:
    """Scale the neurons of layer n, and take it back in the next layer."""
    layer, dummies = net.layers[n], net.dummies[n]
    zero = float(layer.bias[-dummies:].median()) if dummies else 0.0
    layer.weight.mul_(scale[:, None])
    layer.bias.sub_(zero).mul_(scale).add_(zero)
    if n + 1 < len(net.layers):
        net.layers[n + 1].weight.div_(scale[: len(scale) - dummies])
