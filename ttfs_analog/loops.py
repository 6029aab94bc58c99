"""Loops over weights and over spikes, compiled by numba: one pass over memory each.

A part of `ttfs_analog.kernels`, which says when they serve and what they promise.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from ttfs_analog.jittered import send_block
from ttfs_analog.kept_code import kept
from ttfs_analog.splitmix import BLOCK, GOLDEN

Array = np.ndarray[Any, Any]
STEP = np.uint64(BLOCK // 4 * GOLDEN % 2**64)  # of a block of normal numbers

exact = kept(fastmath=False)


@numba.njit(inline="always")
def hold_row(weight: Array, gain: Array | None, grid: Any, held: Array) -> None:
    """A row of `hold`."""
    number = weight.dtype.type
    for j in range(len(held)):
        v = weight[j]
        if grid is not None:
            v = np.rint(v * number(grid[0]))
            v = number(grid[2]) if v < number(grid[2]) else v
            v = number(grid[3]) if v > number(grid[3]) else v
            v = v * number(grid[1])
        if gain is not None:
            v = v * gain[j]
        held[j] = v


@exact
def hold(weight: Array, gain: Array | None, grid: Any, held: Array) -> None:
    """held = (weight * inverse).round().clamp(low, high) * unit [* gain]; shapes (out, in).

    Parameters
    ----------
    grid : (inverse, unit, low, high); None: weights as they are
    """
    for i in range(len(weight)):
        hold_row(weight[i], None if gain is None else gain[i], grid, held[i])


@exact
def release(grad: Array, gain: Array | None, grid: Any, weight: Array, by_weight: Array) -> None:
    """by_weight = hardtanh_backward(grad [* gain], weight, low * unit, high * unit); shapes (out, in).

    grad and by_weight may be one.
    """
    number = weight.dtype.type
    zero, one = number(0), number(1)
    for i in range(len(weight)):
        for j in range(weight.shape[1]):
            v = grad[i, j]
            if gain is not None:
                v = v * gain[i, j]
            if grid is not None:
                unit = number(grid[1])
                clipped = (weight[i, j] <= number(grid[2]) * unit) | (weight[i, j] >= number(grid[3]) * unit)
                v = v * (zero if clipped else one)  # a conditional store would be slow
            by_weight[i, j] = v


@exact
def send(x: Array, key: int, std: float, window: float, step: float, sent: Array) -> None:
    """sent = clamp(x - std * normals(key), 0, window) where x > 0, then in whole steps (0: none).

    x and sent are flat and may be one. See `ttfs_analog.constraints.spike_times`, which has the same in
    torch.
    """
    if std > 0:
        state = np.uint64(key)
        for start in range(0, len(x), BLOCK):
            send_block(x, start, state, std, window, step, sent)
            state += STEP
        return
    one = x.dtype.type(step)
    for k in range(len(x)):
        sent[k] = np.rint(x[k] / one) * one if step > 0 else x[k]


@numba.njit(inline="always")
def leave(z: Array, move: Any, sent: Array) -> None:
    """`send`, if anything moves."""
    key, std, window, step = move
    if std > 0 or step > 0:
        send(z.reshape(-1), key, std, window, step, sent.reshape(-1))


@numba.njit(inline="always")
def thresholds(bias: Array, border: Array | None, shift: Any, neurons: int) -> Array:
    """o + h * (bias [+ border]) of every neuron; bias is that of its channel."""
    found = np.empty(neurons, bias.dtype)
    places = neurons // len(bias)
    for c in range(len(bias)):
        for i in range(c * places, (c + 1) * places):
            v = bias[c] if border is None else bias[c] + border[i]
            found[i] = v if shift is None else shift[1][i] + v * shift[0][i]
    return found


@numba.njit(inline="always")
def fired(q: Any, i: int, threshold: Array, gain: Array | None, low: Any, high: Any) -> Any:
    """One activation of `fire`."""
    v = threshold[i] + (q if gain is None else q * gain[i])
    v = low if v < low else v
    return high if v > high else v


@exact
def fire(
    q: Array,
    bias: Array,
    border: Array | None,
    shift: Any,
    gain: Array | None,
    low: float,
    high: float,
    z: Array,
    move: Any,
    sent: Array,
) -> None:
    """z = clamp(q [* gain] + o + h * (bias [+ border]), low, high), and `send` of it; q and z may be one.

    Parameters
    ----------
    move : (key, std, window, step)
        Nothing is sent, and sent may be z, if std and step are 0.
    q, z : arrays, shape (row, neuron)
    bias : array, shape (channel,)
        Neurons are ordered by channel.
    border, gain : arrays, shape (neuron,)
    shift : (h, o), both of shape (neuron,); None: 1 and 0
    """
    rows, neurons = q.shape
    first, last, threshold = q.dtype.type(low), q.dtype.type(high), thresholds(bias, border, shift, neurons)
    for b in range(rows):
        for i in range(neurons):
            z[b, i] = fired(q[b, i], i, threshold, gain, first, last)
    leave(z, move, sent)


@exact
def unfire(
    grad: Array,
    z: Array,
    gain: Array | None,
    shift: Any,
    low: float,
    high: float,
    by_q: Array,
    by_bias: Array,
) -> None:
    """by_q = hardtanh_backward(grad, z, low, high) [* gain]; by_bias: its sum over rows and places, by h."""
    first, last, zero = z.dtype.type(low), z.dtype.type(high), z.dtype.type(0)
    rows, neurons = z.shape
    by_threshold = np.zeros(neurons, z.dtype)
    for b in range(rows):
        for i in range(neurons):
            v = zero if (z[b, i] <= first) | (z[b, i] >= last) else grad[b, i]
            by_threshold[i] += v
            by_q[b, i] = v if gain is None else v * gain[i]
    if shift is not None:
        for i in range(neurons):
            by_threshold[i] *= shift[0][i]
    places = neurons // len(by_bias)
    for c in range(len(by_bias)):
        total = zero
        for p in range(places):
            total += by_threshold[c * places + p]
        by_bias[c] = total
