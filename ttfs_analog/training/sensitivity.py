r"""Which neurons are worth a trim: those whose spread moves the logits most.

.. math:: S_i = \sigma_i^2 \left\langle \sum_k \left(\frac{\partial z_k}{\partial x_i}\right)^2 \right\rangle

with \sigma_i the root mean square, over chips, of what a trim would take away, as an activation, and the mean
over images. What one neuron adds to the variance of the logits, to first order.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from circuits.errors import InputError
from ttfs_analog.network.inputs import check_unit, flat
from ttfs_analog.network.network import TTFSNetwork
from ttfs_analog.neuron.layers import TTFSLayer

SAMPLE = 200
"""Images that the mean is taken over."""


def sensitivities(net: TTFSNetwork, x: Tensor, shifts: Sequence[NDArray[np.float64]]) -> list[Tensor]:
    """S of every neuron, (neuron,) by layer; 0 of read-outs, which have no comparator.

    Parameters
    ----------
    net : TTFSNetwork
    x : Tensor, shape (image, in)
        SAMPLE of these images, evenly spread, are used.
    shifts : sequence of array, shape (chip, neuron)
        By layer: what a trim adds to the offsets, of `ttfs_analog.training.trimming.shifts`.
    """
    x = check_unit(flat(x, net.input_shape))
    x = x[:: -(-len(x) // SAMPLE)].to(net.like)
    found: list[Tensor] = []

    def kept(n: int, layer: TTFSLayer, inputs: Tensor, weight: Tensor) -> Tensor:
        found.append(layer(inputs, None, weight).requires_grad_())
        return found[-1]

    logits = net(x, kept)
    squares = [torch.zeros_like(h[0].flatten()) for h in found]
    for k in range(logits.shape[-1]):
        grads = torch.autograd.grad(logits[:, k].sum(), found, retain_graph=True, allow_unused=True)
        for total, grad in zip(squares, grads, strict=True):
            if grad is not None:
                total += grad.flatten(1).square().mean(0)
    made = []
    for layer, total, moved in zip(net.layers, squares, shifts, strict=True):
        spread = torch.as_tensor(np.mean(np.square(moved), 0)).to(total)
        slope = layer.per_neuron(layer.slopes()).detach()
        made.append(total * spread / slope.square() if layer.spiking else torch.zeros_like(total))
    return made


def most_sensitive(
    net: TTFSNetwork, x: Tensor, shifts: Sequence[NDArray[np.float64]], most: int
) -> list[NDArray[np.bool_]]:
    """The neurons of the largest S, (neuron,) by layer.

    Parameters
    ----------
    net, x, shifts
        As of `sensitivities`.
    most : int
        How many, of all layers together.

    Raises
    ------
    InputError
        If there are not so many spiking neurons.
    """
    neurons = sum(layer.n_out for layer in net.layers if layer.spiking)
    if not 0 <= most <= neurons:
        raise InputError(f"{most} neurons to trim: the network has {neurons} that spike")
    scores = sensitivities(net, x, shifts)
    flags = torch.zeros(sum(map(len, scores)), dtype=torch.bool)
    flags[torch.cat(scores).argsort(descending=True, stable=True)[:most].cpu()] = True
    return [part.numpy() for part in flags.split([len(s) for s in scores])]
