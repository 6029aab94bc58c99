"""A layer of real devices as one product, against the same operation by operation."""

from __future__ import annotations

import itertools

import pytest
import torch

from ttfs_analog.fused import Devices, Grid, composed, respond, rounded
from ttfs_analog.layers import TTFSLinear

F64 = torch.float64
GRID = Grid(0.25, 4)
CASES = list(itertools.product([None, 1.5], [None, GRID], ["ideal", "neurons", "synapses"]))


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def problem(window, grid, kind, lead=()):
    """Devices, and x, W, D that need gradients; some weights are clipped, some activations too."""
    devices = Devices(window, grid)
    if kind != "ideal":
        gain = 1 + 0.1 * (normal(7, seed=1) if kind == "neurons" else normal(7, 5, seed=1))
        devices = Devices(window, grid, gain, 1 + 0.1 * normal(7, seed=2), 0.1 * normal(7, seed=3))
    leaves = [normal(*lead, 6, 5, seed=4).abs(), 0.7 * normal(7, 5, seed=5), normal(7, seed=6)]
    return devices, [v.requires_grad_() for v in leaves]


def formula(x, weight, bias, devices):
    """The equation at the head of `ttfs_analog.fused`, entry by entry."""
    window, grid, gain, shift_gain, offset = devices
    w = weight if grid is None else (weight / grid.unit).round().clamp(-grid.top, grid.top - 1) * grid.unit
    if gain is not None:
        w = w * (gain if gain.dim() > 1 else gain[:, None])
    z = (x[..., None, :] * w).sum(-1) + (bias if offset is None else offset + shift_gain * bias)
    return z if window is None else z.clamp(0, window)


@pytest.mark.parametrize(("window", "grid", "kind"), CASES)
@pytest.mark.parametrize("lead", [(), (1,), (3,)])
def test_values_are_the_formula_and_gradients_those_of_single_operations(window, grid, kind, lead):
    devices, leaves = problem(window, grid, kind, lead)
    found, plain = respond(*leaves, devices), composed(*leaves, devices)
    # sums of five products in another order
    torch.testing.assert_close(found, formula(*leaves, devices), rtol=1e-12, atol=1e-13)
    up = normal(*found.shape, seed=7)
    kept = up.clone()
    ours, theirs = (torch.autograd.grad(z, leaves, up) for z in (found, plain))
    assert torch.equal(up, kept)  # nobody else's tensor is written to
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-13)
    low, high = GRID.ends
    clipped = (leaves[1] <= low) | (leaves[1] >= high)
    assert bool(clipped.any())
    assert bool((ours[1][clipped] == 0).all()) == (grid is not None)


@pytest.mark.parametrize("kind", ["ideal", "neurons", "synapses"])
def test_gradcheck_of_inputs_and_thresholds_under_a_grid(kind):
    devices, (x, weight, bias) = problem(1.5, GRID, kind)
    z = respond(x, weight, bias, devices)
    assert ((z == 0).any(), (z == 1.5).any()) == (True, True)
    # steps of 1e-6 in float64, as in test_gradients; rounded weights themselves have no derivative
    assert torch.autograd.gradcheck(
        lambda x, bias: respond(x, weight.detach(), bias, devices), (x, bias), atol=1e-6, rtol=1e-6
    )


@pytest.mark.parametrize("kind", ["ideal", "neurons", "synapses"])
def test_gradients_of_gradients_are_those_of_single_operations(kind):
    devices, leaves = problem(1.5, GRID, kind)
    results = []
    for make in (respond, composed):
        first = torch.autograd.grad(make(*leaves, devices).square().sum(), leaves, create_graph=True)
        results.append(torch.autograd.grad(sum(g.square().sum() for g in first), leaves))
    for a, b in zip(*results, strict=True):
        assert bool(a.any())
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_two_passes_before_a_backward_pass_do_not_meet():
    devices, (x, weight, bias) = problem(1.5, GRID, "synapses")
    one = respond(x, weight, bias, devices)
    two = respond(2 * x, weight, bias, devices)
    alone = torch.autograd.grad(respond(x, weight, bias, devices).sum(), weight)[0]
    torch.autograd.grad(two.sum(), weight)
    assert torch.equal(torch.autograd.grad(one.sum(), weight)[0], alone)


def test_a_gradient_for_rounded_weights_is_left_as_it_was():
    weight = normal(7, 5).requires_grad_()
    up = normal(7, 5, seed=1)
    kept = up.clone()
    rounded(weight, GRID).backward(up)
    assert torch.equal(up, kept)


def test_a_layer_follows_its_grid_and_its_window():
    layer = TTFSLinear(0.7 * normal(7, 5, seed=5), normal(7, seed=6), window=1.5)
    x = normal(6, 5, seed=4).abs()
    for grid, window in itertools.product((GRID, Grid(0.5, 2)), (1.5, 0.8)):
        layer.set_windows(window=window)
        wanted = formula(x, layer.weight, layer.bias, Devices(window, grid))
        torch.testing.assert_close(layer(x, grid=grid), wanted, rtol=1e-12, atol=1e-13)
