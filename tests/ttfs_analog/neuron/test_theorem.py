"""Training on physical spike times, written down independently, is training of the network and of ReLU."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from ttfs_analog.conversion.mapping import convert
from ttfs_analog.training.architectures import build
from ttfs_analog.training.recipe import Recipe
from ttfs_analog.training.training import train


class SpikeTimes(nn.Module):
    """B1 neurons in absolute time: thresholds, potentials and times as in eqs. 1, 5 and 6."""

    def __init__(self, relu: nn.Sequential, windows: list[float]) -> None:
        super().__init__()
        linear = [m for m in relu if isinstance(m, nn.Linear)]
        self.weights = nn.ParameterList([m.weight.detach().clone() for m in linear])
        self.shifts = nn.ParameterList([m.bias.detach().clone() for m in linear])
        self.ends = list(itertools.accumulate(windows, initial=1.0))

    def forward(self, x):
        times, start = 1.0 - x, 1.0
        fired = x > 0
        for weight, shift, t_min, t_max in zip(
            self.weights, self.shifts, self.ends, self.ends[1:], strict=False
        ):
            held = torch.where(
                fired, t_min - times, torch.zeros_like(times)
            )  # current on from spike to t_min
            theta = (t_max - t_min) - shift
            times = t_min + theta - held @ weight.T
            fired = times < t_max
            start = t_max
        held = torch.where(fired, start - times, torch.zeros_like(times))
        current = self.shifts[-1] / (self.ends[-1] - self.ends[-2])
        return held @ self.weights[-1].T + current * (self.ends[-1] - self.ends[-2])


@pytest.mark.parametrize("arch", ["fc-32", "fc4-32"])
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_training_on_absolute_spike_times_is_that_of_the_network_and_of_relu(arch, optimizer, digits):
    relu = build(arch, digits.features, digits.classes, 3, torch.float64)
    net = convert(relu, digits)
    # windows of training have room to grow: what is learned must not depend on them
    physical = SpikeTimes(relu, [50.0] * len(net.windows))
    recipe = Recipe(epochs=4, lr=1e-3 if optimizer == "adam" else 0.05, optimizer=optimizer, schedule="paper")
    for model in (relu, net, physical):
        train(model, digits, recipe)
    linear = [m for m in relu if isinstance(m, nn.Linear)]
    for ours, theirs, weight in zip(net.layers, linear, physical.weights, strict=True):
        # 50 tau_c cost three digits, Adam amplifies what is lost
        torch.testing.assert_close(weight, theirs.weight, rtol=0, atol=1e-8)
        torch.testing.assert_close(ours.weight, theirs.weight, rtol=0, atol=1e-12)
    start = build(arch, digits.features, digits.classes, 3, torch.float64)[0].weight
    assert float((linear[0].weight - start).detach().abs().max()) > 0.01


@torch.no_grad()
def test_single_precision_keeps_spike_times_in_a_deep_network(digits):
    """Relative time: the error of a float32 spike stays below 1e-5 of its window after 15 hidden layers."""
    net = convert(build("fc16-340", digits.features, 10, 0, torch.float64), digits)
    wide, narrow = net.trace(digits.x_test), net.clone().float().trace(digits.x_test.float())
    for a, b, window in zip(narrow[:-1], wide[:-1], net.windows, strict=True):
        assert float((a.double() - b).abs().max()) <= 1e-5 * window
