"""A layer of real devices as one product, against its equation entry by entry."""

from __future__ import annotations

import itertools

import pytest
import torch

from ttfs_analog.neuron.fused import Devices, Grid, respond, rounded
from ttfs_analog.neuron.layers import TTFSLinear

F64 = torch.float64
GRID = Grid(0.25, 4)
KINDS = ["ideal", "neurons", "synapses"]
CASES = list(itertools.product([None, 1.5], [None, GRID], KINDS))


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def deviating(window, grid, kind):
    if kind == "ideal":
        return Devices(window, grid)
    shift = 1 + 0.1 * normal(7, seed=2), 0.1 * normal(7, seed=3)
    if kind == "neurons":
        return Devices(window, grid, 1 + 0.1 * normal(7, seed=1), *shift)
    return Devices(window, grid, None, *shift, 1 + 0.1 * normal(7, 5, seed=1))


def problem(window, grid, kind, lead=()):
    """Devices, and x, W, D that need gradients; some weights are clipped, some activations too."""
    leaves = [normal(*lead, 6, 5, seed=4).abs(), 0.7 * normal(7, 5, seed=5), normal(7, seed=6)]
    return deviating(window, grid, kind), [v.requires_grad_() for v in leaves]


def formula(x, weight, bias, devices):
    """The equation at the head of `ttfs_analog.neuron.fused`."""
    w, grid = weight, devices.grid
    if grid is not None:
        w = (w / grid.unit).round().clamp(-grid.top, grid.top - 1) * grid.unit
    if devices.gain is not None:
        w = w * devices.gain[:, None]
    if devices.synapse_gain is not None:
        w = w * devices.synapse_gain
    z = (x[..., None, :] * w).sum(-1)
    z = z + (bias if devices.offset is None else devices.offset + devices.shift_gain * bias)
    return z if devices.window is None else z.clamp(0, devices.window)


@pytest.mark.parametrize(("window", "grid", "kind"), CASES)
@pytest.mark.parametrize("lead", [(), (1,), (3,)])
def test_values_are_the_formula(window, grid, kind, lead):
    devices, leaves = problem(window, grid, kind, lead)
    # sums of five products in another order
    torch.testing.assert_close(respond(*leaves, devices), formula(*leaves, devices), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("kind", KINDS)
def test_gradcheck_of_inputs_and_thresholds_under_a_grid(kind):
    devices, (x, weight, bias) = problem(1.5, GRID, kind)
    z = respond(x, weight, bias, devices)
    assert ((z == 0).any(), (z == 1.5).any()) == (True, True)
    # steps of 1e-6 in float64, as in test_gradients; rounded weights themselves have no derivative
    assert torch.autograd.gradcheck(
        lambda x, bias: respond(x, weight.detach(), bias, devices), (x, bias), atol=1e-6, rtol=1e-6
    )


@pytest.mark.parametrize("kind", KINDS)
def test_gradcheck_of_weights_and_second_derivatives(kind):
    devices, leaves = problem(1.5, None, kind)
    assert torch.autograd.gradcheck(lambda *v: respond(*v, devices), leaves, atol=1e-6, rtol=1e-6)
    assert torch.autograd.gradgradcheck(
        lambda *v: respond(*v, devices).square(), leaves, atol=1e-6, rtol=1e-6
    )


def test_gradients_pass_the_grid_where_it_does_not_clip():
    weight = (0.7 * normal(7, 5)).requires_grad_()
    up = normal(7, 5, seed=1)
    kept = up.clone()
    rounded(weight, GRID).backward(up)
    assert torch.equal(up, kept)  # nobody else's tensor is written to
    low, high = GRID.ends
    inside = (weight > low) & (weight < high)
    assert 0 < int(inside.sum()) < inside.numel()
    assert torch.equal(weight.grad, up * inside)


def test_a_layer_follows_its_grid_and_its_window():
    layer = TTFSLinear(0.7 * normal(7, 5, seed=5), normal(7, seed=6), window=1.5)
    x = normal(6, 5, seed=4).abs()
    for grid, window in itertools.product((GRID, Grid(0.5, 2)), (1.5, 0.8)):
        layer.set_windows(window=window)
        wanted = formula(x, layer.weight, layer.bias, Devices(window, grid))
        torch.testing.assert_close(layer(x, grid=grid), wanted, rtol=1e-12, atol=1e-13)
