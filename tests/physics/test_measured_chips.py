"""Chips that are measured in ngspice answer as the closed form of their devices does."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from montecarlo.mismatch.law import MismatchLaw
from ttfs_analog.calibration.measurement import answers, measure
from ttfs_analog.calibration.patterns import LayerPatterns
from ttfs_analog.conversion.mapping import convert
from ttfs_analog.noise.chips import Chips

LAW = MismatchLaw.of(
    dict.fromkeys(("synapse_source", "synapse_sink", "slope", "threshold", "capacitance"), 0.05)
)
EQUAL = 1e-9


@pytest.fixture(scope="module")
def chip():
    torch.manual_seed(3)
    x = torch.rand(40, 6, dtype=torch.float64)
    net = convert(nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)).double(), x)
    return net, x, Chips.draw(LAW, net, [4], 1)


@torch.no_grad()
def test_measured_patterns(chip):
    net, x, one = chip
    plans = [LayerPatterns(inputs[:3], outputs[:3], None) for inputs, outputs in net.signals(x)]
    there, here = (measure(net, one, plans, level=level) for level in ("ngspice", "closed-form"))
    for a, b in zip(there, here, strict=True):
        assert float((a - b).abs().max()) < EQUAL


@torch.no_grad()
def test_a_whole_chip_in_the_loop(chip):
    net, x, one = chip
    there, here = (answers(one, level)(net.clone(), x[:4]) for level in ("ngspice", "closed-form"))
    for a, b in zip(there, here, strict=True):
        assert float((a - b).abs().max()) < EQUAL
