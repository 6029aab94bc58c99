"""Every compiled kernel against the torch operations that it stands for."""

from __future__ import annotations

import itertools
import math
import os
import platform
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.nn.functional import hardtanh

pytest.importorskip("numba")
from ttfs_analog import kernels
from ttfs_analog.constraints.spike_times import send

GRID = (1 / 0.25, 0.25, -4.0, 3.0)
SHAPES = [(1, 1, 1), (2, 3, 5), (8, 7, 33), (20, 13, 112), (37, 22, 77)]  # rows, neurons, inputs
STILL = (0, 0.0, 0.0, 0.0)  # no jitter, no clock
GRIDS = pytest.mark.parametrize("grid", [None, GRID])
OWN = pytest.mark.parametrize("own", [False, True])
PRECISIONS = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def hold(weight, gain, grid):
    if grid is not None:
        inverse, unit, low, high = grid
        weight = (weight * inverse).round().clamp(low, high) * unit
    return weight if gain is None else weight * gain


def release(grad, gain, grid, weight):
    grad = grad if gain is None else grad * gain
    if grid is None:
        return grad
    _, unit, low, high = grid
    return torch.ops.aten.hardtanh_backward(grad, weight, low * unit, high * unit)


def numbers(*tensors):
    return [None if t is None else t.numpy() for t in tensors]


@PRECISIONS
@GRIDS
@OWN
@pytest.mark.parametrize("shape", SHAPES)
def test_hold_and_release_are_exact(shape, own, grid, dtype):
    _, n_out, n_in = shape
    weight = 0.7 * normal(n_out, n_in, dtype=dtype)
    weight[0, 0] = -1.0  # on the end of the grid
    gain = 1 + normal(n_out, n_in, seed=1, dtype=dtype) if own else None
    found = torch.empty_like(weight)
    kernels.hold(*numbers(weight, gain), grid, found.numpy())
    assert torch.equal(found, hold(weight, gain, grid))
    grad = normal(n_out, n_in, seed=2, dtype=dtype)
    wanted = release(grad, gain, grid, weight)
    for into in (torch.empty_like(grad), grad):  # elsewhere, and in place
        kernels.release(*numbers(grad, gain), grid, *numbers(weight, into))
        assert torch.equal(into, wanted)
    assert grid is None or grad[0, 0] == 0


def deviating(n_out, kind, dtype):
    gain = None if kind == "ideal" else 1 + 0.1 * normal(n_out, seed=3, dtype=dtype)
    shift = None if kind == "ideal" else tuple(0.5 + normal(n_out, seed=s, dtype=dtype) for s in (4, 5))
    return gain, shift


def fire(q, bias, gain, shift, low, high):
    threshold = bias if shift is None else shift[1] + bias * shift[0]
    return hardtanh(threshold + (q if gain is None else q * gain), low, high)


@PRECISIONS
@pytest.mark.parametrize("kind", ["ideal", "deviating"])
@pytest.mark.parametrize(("low", "high"), [(0.0, 1.5), (-math.inf, math.inf)])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("places", [1, 6])
@pytest.mark.parametrize("edge", [False, True])
def test_fire_and_unfire_are_exact(shape, low, high, kind, places, edge, dtype):
    rows, channels, _ = shape
    n_out = channels * places
    q, bias = normal(rows, n_out, dtype=dtype), normal(channels, seed=1, dtype=dtype)
    border = normal(n_out, seed=2, dtype=dtype) if edge else None
    gain, shift = deviating(n_out, kind, dtype)
    arrays = None if shift is None else tuple(numbers(*shift))
    every = bias.repeat_interleave(places)
    wanted = fire(q, every if border is None else every + border, gain, shift, low, high)
    z = torch.empty_like(q)
    own = arrays, *numbers(gain), low, high
    kernels.fire(*numbers(q, bias, border), *own, z.numpy(), STILL, z.numpy())
    assert torch.equal(z, wanted)
    grad = normal(rows, n_out, seed=6, dtype=dtype)
    by_q, by_bias = torch.empty_like(z), torch.empty_like(bias)
    kernels.unfire(*numbers(grad, z, gain), arrays, low, high, *numbers(by_q, by_bias))
    inside = torch.ops.aten.hardtanh_backward(grad, z, low, high)
    assert torch.equal(by_q, inside if gain is None else inside * gain)
    wanted = inside.sum(0) if shift is None else inside.sum(0) * shift[0]
    # the sum of up to 20 x 6 numbers in another order
    close = 200 * torch.finfo(dtype).eps
    torch.testing.assert_close(by_bias, wanted.view(channels, places).sum(1), rtol=0, atol=close)
    sent = torch.empty_like(z)  # and in place
    kernels.fire(*numbers(q, bias, border), *own, q.numpy(), (7, 0.1, 1.5, 0.25), sent.numpy())
    assert torch.equal(q, z)
    assert torch.equal(sent, send(z, 7, 0.1, 1.5, 0.25))


@PRECISIONS
@GRIDS
@pytest.mark.parametrize(("kind", "shape"), list(itertools.product(["ideal", "neurons", "synapses"], SHAPES)))
def test_layers_are_the_matrix_products(kind, shape, grid, dtype):
    rows, n_out, n_in = shape
    x, weight, bias = (
        normal(rows, n_in, dtype=dtype),
        0.7 * normal(n_out, n_in, seed=7),
        normal(n_out, seed=1),
    )
    weight, bias = weight.to(dtype), bias.to(dtype)
    gain, shift = deviating(n_out, kind, dtype)
    own_gain = None
    if kind == "synapses":  # the gains of the neurons are in theirs
        gain, own_gain = None, 1 + 0.1 * normal(n_out, n_in, seed=8, dtype=dtype)
    arrays = None if shift is None else tuple(numbers(*shift))
    z, sent = torch.empty(rows, n_out, dtype=dtype), torch.empty(rows, n_out, dtype=dtype)
    own = grid, bias.numpy(), arrays, *numbers(gain), 0.0, 1.5
    kernels.respond(*numbers(x, weight, own_gain), *own, z.numpy(), (7, 0.1, 1.5, 0.25), sent.numpy())
    held = hold(weight, own_gain, grid)
    close = 100 * torch.finfo(dtype).eps  # sums of 100 products of order 1
    torch.testing.assert_close(z, fire(x @ held.t(), bias, gain, shift, 0.0, 1.5), rtol=0, atol=close)
    assert torch.equal(sent, send(z, 7, 0.1, 1.5, 0.25))
    grad = normal(rows, n_out, seed=9, dtype=dtype)
    by_q, by_bias = torch.empty_like(grad), torch.empty_like(bias)
    own = *numbers(z, gain), arrays, 0.0, 1.5
    kernels.unfire(*numbers(grad, z, gain), arrays, 0.0, 1.5, *numbers(by_q, by_bias))
    wanted = release(by_q.t() @ x, own_gain, grid, weight)
    for by_x in (torch.full_like(x, math.nan), None):
        by_weight, found = torch.full_like(weight, math.nan), torch.full_like(bias, math.nan)
        room = np.full(
            kernels.room_for(weight.numpy(), rows) if by_x is not None else 0, math.nan, z.numpy().dtype
        )
        into = numbers(by_x, by_weight, found)
        kernels.respond_backward(*numbers(grad, x, weight, own_gain), grid, *own, room, *into)
        assert torch.equal(found, by_bias)
        torch.testing.assert_close(by_weight, wanted, rtol=0, atol=close)
        if by_x is not None:
            torch.testing.assert_close(by_x, by_q @ held, rtol=0, atol=close)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the registers are those of x86")
@pytest.mark.skipif("NUMBA_CPU_FEATURES" in os.environ, reason="this is the narrower processor")
def test_narrower_registers_give_the_same():
    """As on a processor without AVX-512, which may not be the one at hand."""
    one = f"{__file__}::{test_layers_are_the_matrix_products.__name__}"
    line = [sys.executable, "-m", "pytest", one, "-k", "synapses and grid1 and dtype0"]
    done = subprocess.run(
        line,
        env={**os.environ, "NUMBA_CPU_FEATURES": "+avx2,+fma"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert f"{len(SHAPES)} passed" in done.stdout


def test_what_is_not_a_number_stays_so():
    """A training that diverges has to show it."""
    nan = np.full((1, 3), math.nan)
    one, z = np.ones(3), np.zeros((1, 3))
    kernels.fire(nan, one, None, (one, one), one, 0.0, 1.5, z, STILL, z)
    assert np.isnan(z).all()
    for grid in (None, GRID):
        kernels.hold(nan, None, grid, z)
        assert np.isnan(z).all()
        z[:] = 0
        weight = np.vstack([nan] * 3)
        kernels.respond(np.ones((1, 3)), weight, None, grid, one, None, one, 0.0, 1.5, z, STILL, z)
        assert np.isnan(z).all()
    kernels.unfire(nan, np.ones((1, 3)), one, None, 0.0, 1.5, z, one)
    assert np.isnan(z).all()
    assert np.isnan(one).all()


@PRECISIONS
@pytest.mark.parametrize("rows", [1, 8, 20, 37])
@pytest.mark.parametrize("every", [1, 3])  # 1: all neurons are silent
def test_neurons_silent_in_a_whole_batch_are_left_out(rows, every, dtype):
    n_out, n_in = 29, 40
    x, z, grad = (normal(rows, n, seed=n, dtype=dtype) for n in (n_in, n_out, n_out))
    z = z.abs()
    z[:, ::every] = 0
    weight = normal(n_out, n_in, dtype=dtype)
    weight[::every] = math.nan  # would be seen, if they were read
    inside = grad * (z < 1.5)
    inside[:, ::every] = 0
    for by_x in (torch.full_like(x, math.nan), None):
        by_weight, by_bias = torch.full_like(weight, math.nan), torch.full_like(weight[:, 0], math.nan)
        room = np.full(kernels.room_for(weight.numpy(), rows), math.nan, z.numpy().dtype)
        own = None, None, *numbers(z), None, None, 0.0, 1.5, room
        kernels.respond_backward(*numbers(grad, x, weight), *own, *numbers(by_x, by_weight, by_bias))
        assert not by_weight[::every].any()
        torch.testing.assert_close(by_weight, inside.t() @ x)
        torch.testing.assert_close(by_bias, inside.sum(0))
        if by_x is not None:
            torch.testing.assert_close(by_x, inside @ weight.nan_to_num(0.0))


def test_no_rows_give_no_activations():
    empty, weight, bias, z = np.zeros((0, 3)), np.ones((2, 3)), np.ones(2), np.zeros((0, 2))
    kernels.respond(empty, weight, None, GRID, bias, None, None, 0.0, 1.0, z, STILL, z)
    by_weight = np.ones((2, 3))
    own = z, None, None, 0.0, 1.0
    kernels.respond_backward(z, empty, weight, None, None, *own, weight, empty, by_weight, bias)
    assert not by_weight.any()
    assert not bias.any()
