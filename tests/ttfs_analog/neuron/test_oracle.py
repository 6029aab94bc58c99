"""Every mapping against an event-driven simulation of its circuit, and against `circuits.ideal.alpha`."""

from __future__ import annotations

import numpy as np
import oracle
import pytest
import torch
from random_models import images, shake
from torch import nn

from circuits.ideal import alpha as block
from circuits.model.layer import LayerMismatch
from ttfs_analog.conversion.affine_stage import pair
from ttfs_analog.conversion.mapping import convert, to_relu
from ttfs_analog.neuron.convolutions import TTFSConv2d
from ttfs_analog.neuron.functional import Deviations
from ttfs_analog.neuron.layers import FORMS

TOLERANCE = 1e-9
"""Event by event against one formula in float64: some hundred roundings of 1e-16, times slopes up to 100."""


def simulate(layer, x, weights=None):
    """The event-driven answer from what a layer is built of."""
    weights = layer.weight.detach().numpy() if weights is None else weights
    alphas = layer.per_neuron(layer.alphas()).detach().numpy()
    theta = layer.thresholds().detach().numpy()
    start, window = float(layer.input_window), float(layer.window)
    return oracle.run(x.numpy(), weights, alphas, theta, layer.form, start, window)


@pytest.mark.parametrize("mapping", FORMS)
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("zeta", [0.3, -0.6])
@torch.no_grad()
def test_spike_times_of_a_network_are_those_of_its_circuit(make_relu, mapping, seed, zeta):
    x = images(seed, 25, 7)
    net = convert(make_relu((7, 12, 9, 8, 4), seed), x, mapping=mapping, alpha=0.7, zeta=zeta)
    trace, early, silent = net.trace(x), 0, 0
    for n, layer in enumerate(net.layers[:-1]):
        found, expected = trace[n].numpy(), simulate(layer, x if n == 0 else trace[n - 1])
        np.testing.assert_allclose(found, expected, rtol=TOLERANCE, atol=TOLERANCE * layer.window_length)
        early += int((found == layer.window_length).sum())
        silent += int((found == 0).sum())
    assert silent > 0
    assert (early > 0) == (zeta < 0)  # with short windows the strongest fire at t_min


GEOMETRY = [
    {"kernel_size": 3, "padding": 1},
    {"kernel_size": (2, 3), "stride": (1, 2), "dilation": (2, 1)},
    {"kernel_size": 3, "stride": 2, "padding": (0, 2), "groups": 2},
]


@pytest.mark.parametrize("mapping", FORMS)
@pytest.mark.parametrize("options", GEOMETRY)
@torch.no_grad()
def test_a_convolution_is_its_dense_circuit(mapping, options):
    """With a normalization in front of it, padding makes the threshold depend on the place."""
    model = nn.Sequential(nn.BatchNorm2d(2), nn.Conv2d(2, 4, **options), nn.ReLU(), nn.Flatten()).double()
    x = images(3, 6, 2, 6, 5)
    features = model(x).shape[1]
    net = convert(shake(nn.Sequential(*model, nn.Linear(features, 3)), 5), x, mapping=mapping, zeta=-0.2)
    layer = net.layers[0]
    geometry = {k: pair(options.get(k, d)) for k, d in (("stride", 1), ("padding", 0), ("dilation", 1))}
    weights = layer.weight.numpy()
    dense = oracle.unroll(weights, (2, 6, 5), **geometry, groups=options.get("groups", 1))
    rows, columns = geometry["padding"]
    padded = nn.functional.pad(x, (columns, columns, rows, rows)).flatten(1)  # silent inputs
    expected = simulate(layer, padded, dense)
    found = net.trace(x)[0].numpy()
    np.testing.assert_allclose(found, expected, rtol=TOLERANCE, atol=TOLERANCE * layer.window_length)
    assert (found == layer.window_length).any()
    assert (found == 0).any()
    assert isinstance(layer, TTFSConv2d)
    assert (layer.border is not None) == any(geometry["padding"])


def alpha_layer(net, n, mapping, alpha):
    """Layer n in the words of `circuits.ideal.alpha`, from the scaled ReLU network."""
    layer = net.layers[n]
    linear = [m for m in to_relu(net) if isinstance(m, nn.Linear)][n]
    w, b = linear.weight.detach().numpy(), linear.bias.detach().numpy()
    t_min = float(layer.input_window)
    t_max = t_min + float(layer.window)
    if mapping == "equal":
        return block.AlphaLayer.equal_weights(w, b, t_min, t_max)
    return block.AlphaLayer.from_relu(w, b, t_min, t_max, alpha=alpha)


@pytest.mark.parametrize("mapping", ["alpha", "positive", "equal"])
@torch.no_grad()
def test_weights_and_thresholds_are_those_of_the_alpha_circuit(make_relu, mapping):
    x = images(1, 30, 7)
    net = convert(make_relu((7, 12, 9, 4), 1), x, mapping=mapping, alpha=1.3)
    before = x.numpy()
    for n, layer in enumerate(net.layers[:-1]):
        circuit = alpha_layer(net, n, mapping, 1.3)
        # eqs. 2.25-2.28 written twice; room 1 - sum >= 0.1 costs a digit
        np.testing.assert_allclose(layer.weight.numpy(), circuit.weights, rtol=1e-12)
        np.testing.assert_allclose(layer.thresholds().numpy(), circuit.theta, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(layer.slopes().numpy(), circuit.slope, rtol=1e-12)
        none = LayerMismatch(np.zeros((1, *circuit.weights.shape)), *[np.zeros((1, len(circuit.bias)))] * 3)
        after = net.trace(x)[n].numpy()
        for given, found in zip(before, after, strict=True):
            times = np.where(given > 0, circuit.t_min - given, np.inf)
            delay = block.response(circuit, times, none)[0]
            np.testing.assert_allclose(float(layer.window) - delay, found, rtol=0, atol=1e-11)
        before = after


def test_an_error_of_the_alpha_current_is_that_of_the_alpha_circuit(make_relu, rng):
    """Current, offset and capacitance; alpha (1 + b) is a slope of B (1 + b alpha / B)."""
    x = images(2, 10, 7)
    net = convert(make_relu((7, 12, 4), 2), x, mapping="alpha", alpha=0.8)
    layer, circuit = net.layers[0], alpha_layer(net, 0, "alpha", 0.8)
    slope, offset, capacitance = (0.02 * rng.normal(size=(3, 12)) for _ in range(3))
    mismatch = LayerMismatch(np.zeros((3, 12, 7)), slope, offset, capacitance)
    part = slope * circuit.alpha / circuit.slope
    deviations = Deviations(None, *(torch.tensor(v) for v in (part, offset, capacitance)))
    found = layer(x, deviations).detach().numpy()
    for k, given in enumerate(x.numpy()):
        times = np.where(given > 0, circuit.t_min - given, np.inf)
        delay = block.response(circuit, times, mismatch)
        np.testing.assert_allclose(found[:, k], circuit.t_max - circuit.t_min - delay, rtol=0, atol=1e-11)
