r"""Trim every chip: its thresholds make up for what its own devices do, on average over images.

.. math:: o_i \leftarrow o_i + B_i \left\langle x_i^{chip} - x_i \right\rangle, \qquad
          \text{images for which } x_i^{chip} > 0 \text{ or } x_i > 0

layer by layer, with inputs from layers that are trimmed already; x is the activation of the circuit without
mismatch. For an error of the slope alone this is b' = b (1 + beta) - T beta at the mean image. It is the trim
of a perfect measurement and of a DAC without limits: what any training has to be compared with.

Source: threshold trim of TTFS neurons, Stanojevic et al., Nat. Commun. 2024, Discussion.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields, replace

import numpy as np
import torch
from torch import Tensor

from circuits.model.layer import LayerMismatch
from ttfs_analog.network.inputs import check_unit, flat
from ttfs_analog.network.network import TTFSNetwork
from ttfs_analog.neuron.functional import Deviations
from ttfs_analog.neuron.layers import TTFSLayer
from ttfs_analog.noise.chips import Chips, perfect
from ttfs_analog.training.training import Progress

ROUNDS = 3
SAMPLE = 400
"""Images that the means are taken over."""


@torch.no_grad()
def trimmed(net: TTFSNetwork, chips: Chips, x: Tensor, *, progress: Progress | None = None) -> Chips:
    """The same chips with the offsets of their comparators trimmed.

    Parameters
    ----------
    net : TTFSNetwork
        In form b1, fully connected.
    chips : Chips
        Drawn for this network.
    x : Tensor, shape (image, in)
        Calibration images; SAMPLE of them, evenly spread, are used.
    progress : callable, optional
        (done, total) of the chips.
    """
    chips.require_fit(net)
    x = check_unit(flat(x, net.input_shape))
    x = x[:: -(-len(x) // SAMPLE)].to(net.like)
    wanted = net.trace(x, perfect(net, chips.constants))
    layers: list[list[LayerMismatch]] = []
    for done, chip in enumerate(chips, 1):
        layers.append(_trim(net, chip, x, wanted))
        if progress:
            progress(done, len(chips))
    return replace(chips, layers=tuple(_together(chip[n] for chip in layers) for n in range(len(net.layers))))


def _trim(net: TTFSNetwork, chip: Chips, x: Tensor, wanted: list[Tensor]) -> list[LayerMismatch]:
    """One chip."""
    devices, found = chip.deviations(x), list(chip.layers)

    def settle(n: int, layer: TTFSLayer, inputs: Tensor, weight: Tensor) -> Tensor:
        own = devices[n]
        for _ in range(ROUNDS if layer.spiking else 0):
            error = _mean_error(layer(inputs, own, weight)[0], wanted[n]) * layer.slopes(weight)
            own = own._replace(threshold=own.threshold + error / float(own.constants.theta_scale))
        found[n] = replace(found[n], threshold=own.threshold.double().cpu().numpy())
        return layer(inputs, Deviations(*own), weight)

    net.trace(x, settle)
    return found


def _mean_error(x: Tensor, wanted: Tensor) -> Tensor:
    """Mean of x - wanted of every neuron, shape (neuron,), over images where either is > 0."""
    counts = (x > 0) | (wanted > 0)
    return ((x - wanted) * counts).sum(0) / counts.sum(0).clamp_min(1)


def _together(chips: Iterable[LayerMismatch]) -> LayerMismatch:
    """Samples of one layer, one behind the other."""
    parts = list(chips)
    names = [f.name for f in fields(LayerMismatch)]
    return LayerMismatch(**{name: np.concatenate([getattr(p, name) for p in parts]) for name in names})
