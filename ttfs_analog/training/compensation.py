r"""Take what all chips have in common out of the thresholds, before anything is trained.

Constants of a circuit (gains, switching charges, kick, leakage, early spikes) shift every neuron's activation
by an amount that is much the same for all images. Layer by layer D follows it,

.. math:: D_i \leftarrow D_i - B_i \left\langle x_i^{const} - x_i \right\rangle, \qquad
          \text{images for which } x_i^{const} > 0 \text{ or } x_i > 0

a few times, for a shifted threshold changes which images count. x is the ideal network's; x^const the
circuit's, with inputs from layers that are compensated already. What depends on the image is left.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from circuits.model.closed_form import Constants
from ttfs_analog.constraints.constraints import Constraints
from ttfs_analog.network.network import TTFSNetwork
from ttfs_analog.neuron.functional import Deviations
from ttfs_analog.neuron.layers import TTFSLayer

ROUNDS = 3
SAMPLE = 2000
"""Images that the means are taken over."""


@torch.no_grad()
def compensated(net: TTFSNetwork, x: Tensor, constants: Sequence[Constants]) -> TTFSNetwork:
    """A copy whose thresholds make up for the constants of its circuit, on average over images.

    Parameters
    ----------
    net : TTFSNetwork
        Whose activations are wanted. Of its constraints those of the weights count.
    x : Tensor, shape (image, in)
        Calibration inputs; SAMPLE of them, evenly spread, are used.
    constants : sequence of Constants
        Of every layer.
    """
    made = net.clone().eval()
    if all(c.ideal for c in constants):
        return made
    limits, made.constraints = made.constraints, _weights_alone(made.constraints)
    x = x[:: -(-len(x) // SAMPLE)].to(net.like)
    wanted = made.trace(x)

    def settle(n: int, layer: TTFSLayer, inputs: Tensor, weight: Tensor) -> Tensor:
        zero = weight.new_zeros(layer.n_out)
        devices = Deviations(None, zero, zero, zero, None, constants[n])
        for _ in range(ROUNDS):
            error = _mean_error(layer, layer(inputs, devices, weight).reshape(wanted[n].shape), wanted[n])
            layer.bias.sub_(error * layer.slopes(weight) if layer.spiking else error)
        return layer(inputs, devices, weight)

    made.trace(x, settle)
    made.constraints = limits
    return made


def _weights_alone(limits: Constraints | None) -> Constraints:
    """Of the constraints those that round weights: they are the same for every image."""
    parts = () if limits is None else (limits.bits, limits.units)
    return Constraints([part for part in parts if part is not None])


def _mean_error(layer: TTFSLayer, x: Tensor, wanted: Tensor) -> Tensor:
    """Mean of x - wanted for every D of a layer; of spiking neurons over images where either is > 0.

    Parameters
    ----------
    layer : TTFSLayer
    x, wanted : Tensor, shape (image, neuron)
    """
    counts = ((x > 0) | (wanted > 0)) if layer.spiking else torch.ones_like(x, dtype=torch.bool)
    error, counts = ((x - wanted) * counts).sum(0), counts.sum(0)
    places = (len(layer.bias), -1)  # of a convolution all places of a channel share D
    return error.reshape(places).sum(1) / counts.reshape(places).sum(1).clamp_min(1)
