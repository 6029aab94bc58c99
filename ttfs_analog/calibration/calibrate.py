"""A chip as a laboratory knows it: patterns, spike times, and the devices that explain them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from circuits.model.layer import LayerMismatch
from ttfs_analog.calibration.estimate import Estimate, estimate
from ttfs_analog.calibration.patterns import LayerPatterns
from ttfs_analog.network.network import TTFSNetwork
from ttfs_analog.noise.chips import Chips
from ttfs_analog.noise.noise_model import Noise


@dataclass(frozen=True)
class Calibration:
    """What is known of a chip."""

    chip: Chips  #: with estimated slopes and offsets, and synapses as their mean
    layers: tuple[Estimate | None, ...]  #: by layer; None: a read-out


def calibrate(
    net: TTFSNetwork,
    noise: Noise,
    patterns: Sequence[LayerPatterns],
    measured: Sequence[Tensor],
    *,
    error: float,
    repeats: int = 1,
    number: int = 0,
) -> Calibration:
    """Estimate the neurons of a chip from its spike times.

    Parameters
    ----------
    net : TTFSNetwork
        In form b1.
    noise : NoiseModel or LayeredNoise
        What chips are like before anything is measured.
    patterns : sequence of LayerPatterns
        That were shown, by layer.
    measured : sequence of Tensor, shape (pattern, neuron)
        By layer: activations t_max - t, means of the repeats [tau_c]; 0 = silent, NaN = not measured.
    error : float
        Standard deviation of one measured time, as a share of the window.
    repeats : int
        Measurements behind every mean.
    number : int
        Of the chip.
    """
    found: list[Estimate | None] = []
    layers, constants, jitters = [], [], []
    for n, (layer, plan) in enumerate(zip(net.layers, patterns, strict=True)):
        _, own, jitter = noise.of(n).of_layer(layer.spiking)
        constants.append(own)
        jitters.append(jitter)
        if plan.prior is None:
            found.append(None)
            layers.append(LayerMismatch.none(layer.neurons()))
            continue
        sd = math.hypot(error * layer.window_length, jitter) / math.sqrt(repeats)
        made = estimate(plan.prior, plan.expected, torch.as_tensor(measured[n]), sd)
        found.append(made)
        layers.append(made.mismatch(plan.prior, own))
    chip = Chips(0, (number,), tuple(layers), "", tuple(constants), tuple(jitters))
    return Calibration(chip, tuple(found))
