"""TTFSLinear against the ReLU layer it stands for."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ttfs_analog.neuron.functional import Deviations
from ttfs_analog.neuron.layers import TTFSLinear


@pytest.fixture
def linear():
    layer = nn.Linear(4, 6, dtype=torch.float64)
    with torch.no_grad():
        generator = torch.Generator().manual_seed(3)
        layer.weight.copy_(torch.randn(6, 4, generator=generator))
        layer.bias.copy_(torch.randn(6, generator=generator) / 2)
    return layer


@pytest.fixture
def x():
    return torch.rand(16, 4, generator=torch.Generator().manual_seed(4), dtype=torch.float64)


def ttfs(linear, **options):
    return TTFSLinear(linear.weight, linear.bias, **{"input_window": 1.0, "window": 50.0, **options})


def test_a_spiking_layer_is_linear_then_relu(linear, x):
    expected = torch.relu(linear(x))
    assert (expected == 0).any()
    # matmul and bias in one call or two: the last bit may differ
    torch.testing.assert_close(ttfs(linear)(x), expected, rtol=1e-14, atol=1e-14)


def test_a_readout_layer_is_linear(linear, x):
    # as above
    torch.testing.assert_close(ttfs(linear, spiking=False)(x), linear(x), rtol=1e-14, atol=1e-14)


def test_gradients_are_those_of_the_relu_layer(linear, x):
    layer = ttfs(linear)
    layer(x).square().sum().backward()
    torch.relu(linear(x)).square().sum().backward()
    for ours, theirs in ((layer.weight, linear.weight), (layer.bias, linear.bias)):
        # sums of 16 products in float64
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-12, atol=1e-12)


def test_a_short_window_clips_at_the_window(linear, x):
    found = ttfs(linear, window=0.25)(x)
    assert float(found.detach().max()) == 0.25


def test_the_layer_owns_its_parameters(linear, x):
    layer = ttfs(linear)
    before = layer(x).detach()
    with torch.no_grad():
        linear.weight.mul_(3)
    assert torch.equal(layer(x).detach(), before)


def test_windows_and_slope_are_saved_but_not_trained(linear):
    layer = ttfs(linear)
    assert {"input_window", "window", "slope"} <= set(layer.state_dict())
    assert {name for name, _ in layer.named_parameters()} == {"weight", "bias"}


def test_a_slope_scales_charge_and_threshold_shift(linear, x):
    slope = torch.full((6,), 2.0, dtype=torch.float64)
    found = ttfs(linear, slope=slope)(x)
    # two roundings of float64
    torch.testing.assert_close(
        found, torch.relu((x @ linear.weight.T + linear.bias) / 2), rtol=1e-14, atol=1e-14
    )


def test_deviations_add_a_chip_dimension(linear, x):
    zero = Deviations(*(torch.zeros(s, dtype=x.dtype) for s in ((3, 6, 4), (3, 6), (3, 6), (3, 6))))
    found = ttfs(linear)(x, zero)
    assert found.shape == (3, 16, 6)
    # batched and plain matrix products may differ in the last bit
    torch.testing.assert_close(found[1], ttfs(linear)(x), rtol=1e-14, atol=1e-14)


def test_dtype_follows_the_weights(linear, x):
    assert ttfs(linear.float())(x.float()).dtype == torch.float32


def test_the_text_names_sizes_and_kind(linear):
    assert "TTFSLinear(4x6, window=50, form=b1)" in repr(ttfs(linear))
    assert "readout" in repr(ttfs(linear, spiking=False))
