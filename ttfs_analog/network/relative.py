"""A network in relative coding: dummies close the windows of its hidden layers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from circuits.biasing.dummies import GUARD, with_dummies
from circuits.errors import InputError
from ttfs_analog.network.network import TTFSNetwork
from ttfs_analog.neuron.layers import TTFSLinear
from ttfs_analog.neuron.relative import Relative


@torch.no_grad()
def relative(net: TTFSNetwork, x: Tensor, dummies: int, guard: float = GUARD) -> TTFSNetwork:
    """A copy that says the same, whose layers count their spikes from those of dummies.

    Parameters
    ----------
    net : TTFSNetwork
        Fully connected layers of form b1, on ideal sources; a network for transistors gets its dummies when
        it is placed (`ttfs_analog.placement.place.place`).
    x : Tensor, shape (image, in)
        Calibration inputs, for the operating points.
    dummies : int
        Of every hidden layer, odd.
    guard : float
        What windows are longer by, in parts of them.

    Raises
    ------
    InputError
        If the network is placed, has constraints or other blocks, or dummies or guard are none.
    """
    if net.constraints is not None or not all(isinstance(b, TTFSLinear | nn.Flatten) for b in net.blocks):
        raise InputError("relative coding takes a network of fully connected layers, without constraints")
    circuits, like = with_dummies(net.to_circuit(), dummies, guard), net.like
    blocks: list[nn.Module] = [b for b in net.blocks if isinstance(b, nn.Flatten)]
    for c in circuits:
        weight, bias, slope = (torch.as_tensor(v).to(like) for v in (c.weights, c.bias, c.slope))
        bias = bias * slope if c.spiking else bias
        layer = TTFSLinear(
            weight, bias, input_window=c.t_min, window=c.window, slope=slope, spiking=c.spiking
        )
        blocks.append(layer)
        if c.dummies:
            blocks.append(Relative(c.dummies))
    made = TTFSNetwork(blocks, dict(net.metadata), net.input_shape)
    if net.points:
        made.choose_points(x, net.points[0])
    return made
