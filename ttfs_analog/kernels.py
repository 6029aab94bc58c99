"""Loops over weights and spikes, compiled by numba: one pass over memory each.

The weights of a layer do not fit into a core's cache, so that there every operation of torch costs a pass.
A kernel does what the torch operations in its first line do, to the last bit but for the order of sums (and
for gradients that are not finite); so it does not matter where numba is missing, a network is small, or its
tensors are on another device. Arrays are contiguous, of one dtype and of the shapes that are stated: nothing
checks them. Gains may be None.

numba keeps what it compiled until the file of the function that was called changes. It does not see that
another one has: so all but `ttfs_analog.tiles` and `ttfs_analog.jittered` is in this file.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from ttfs_analog.jittered import send_block
from ttfs_analog.splitmix import BLOCK, GOLDEN
from ttfs_analog.tiles import (
    FEW,
    LINE,
    TALL,
    WIDE,
    aligned,
    lined,
    respond_few,
    respond_few_backward,
    tile,
    tile_backward,
)

Array = np.ndarray[Any, Any]
STEP = np.uint64(BLOCK // 4 * GOLDEN % 2**64)  # of a block of normal numbers

# said aloud: else numba lends a function the fast mathematics of the one that it is first compiled for
compiled = numba.njit(cache=True, error_model="numpy", nogil=True, fastmath=False)
# sums of products may be taken in any order, as a matrix product takes them
compiled_sums = numba.njit(
    cache=True, error_model="numpy", nogil=True, fastmath={"reassoc", "contract", "nsz"}
)


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


@compiled
def hold(weight: Array, gain: Array | None, grid: Any, held: Array) -> None:
    """held = (weight * inverse).round().clamp(low, high) * unit [* gain]; shapes (out, in).

    Parameters
    ----------
    grid : (inverse, unit, low, high); None: weights as they are
    """
    for i in range(len(weight)):
        hold_row(weight[i], None if gain is None else gain[i], grid, held[i])


@numba.njit(inline="always")
def release_row(grad: Array, gain: Array | None, grid: Any, weight: Array, by_weight: Array) -> None:
    """A row of `release`."""
    number = weight.dtype.type
    zero, one = number(0), number(1)
    for j in range(len(by_weight)):
        v = grad[j]
        if gain is not None:
            v = v * gain[j]
        if grid is not None:
            unit = number(grid[1])
            clipped = (weight[j] <= number(grid[2]) * unit) | (weight[j] >= number(grid[3]) * unit)
            v = v * (zero if clipped else one)  # a conditional store would be slow
        by_weight[j] = v


@compiled
def release(grad: Array, gain: Array | None, grid: Any, weight: Array, by_weight: Array) -> None:
    """by_weight = hardtanh_backward(grad [* gain], weight, low * unit, high * unit); shapes (out, in).

    grad and by_weight may be one.
    """
    for i in range(len(weight)):
        release_row(grad[i], None if gain is None else gain[i], grid, weight[i], by_weight[i])


@compiled
def send(x: Array, key: int, std: float, window: float, step: float, sent: Array) -> None:
    """sent = clamp(x - std * normals(key), 0, window) where x > 0, then in whole steps (0: none).

    x and sent are flat and may be one. See `ttfs_analog.spike_times`, which has the same in torch.
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


@compiled
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


@compiled
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


@compiled_sums
def respond(
    x: Array,
    weight: Array,
    synapse_gain: Array | None,
    grid: Any,
    bias: Array,
    shift: Any,
    gain: Array | None,
    low: float,
    high: float,
    z: Array,
    move: Any,
    sent: Array,
) -> None:
    """`hold`, z = x @ held.t() in one pass over the weights, held in the innermost cache, and `fire`."""
    rows, n_out = len(x), len(weight)
    if rows <= FEW:
        few, q = in_lines(x, FEW), aligned(1, FEW + WIDE, x)
        for i in range(n_out):
            respond_few(few, i, weight, synapse_gain, grid, q)
            for b in range(rows):
                z[b, i] = q[0, b]
    else:
        respond_many(x, weight, synapse_gain, grid, z)
    fire(z, bias, None, shift, gain, low, high, z, move, sent)


@numba.njit(inline="always")
def respond_many(x: Array, weight: Array, gain: Array | None, grid: Any, z: Array) -> None:
    """z = x @ held.t(), a few neurons at a time."""
    rows, n_in = x.shape
    n_out, wide = len(weight), whole(rows)
    across = aligned(n_in, wide, x)
    for j in range(n_in):
        for b in range(rows):
            across[j, b] = x[b, j]
    held, found = aligned(TALL, n_in, x), aligned(TALL, wide, x)
    pace = max(1, TALL * WIDE // wide)
    for start in range(0, n_out, TALL):
        count = min(TALL, n_out - start)
        for i in range(count):
            own = None if gain is None else gain[start + i]
            hold_row(weight[start + i], own, grid, held[i])
        place = (start + TALL) * n_in  # of the next neurons
        for b in range(0, wide, WIDE):
            soon = place + b // WIDE * pace * n_in
            tile(held, 0, across, b, found, (weight, gain), soon, pace)
        for b in range(rows):
            for i in range(count):
                z[b, start + i] = found[i, b]


@compiled_sums
def respond_backward(
    grad: Array,
    x: Array,
    weight: Array,
    gain: Array | None,
    grid: Any,
    z: Array,
    own_gain: Array | None,
    shift: Any,
    low: float,
    high: float,
    room: Array,
    by_x: Array | None,
    by_weight: Array,
    by_bias: Array,
) -> None:
    """`unfire`, by_weight = by_q.t() @ x with `release`, and by_x = by_q @ held.

    In few rows, neurons that are silent in all of them are left out: nothing of theirs is read.

    Parameters
    ----------
    room : array of `room_for` numbers
        To work in, if by_x is asked for.
    """
    rows, n_out = grad.shape
    tall = FEW if rows <= FEW else -(-rows // TALL) * TALL
    by_q = np.zeros((tall, n_out), grad.dtype)
    unfire(grad, z, own_gain, shift, low, high, by_q[:rows], by_bias)
    if rows > FEW:
        respond_many_backward(by_q, x, weight, gain, grid, room, by_x, by_weight)
        return
    few, some = in_lines(x, FEW), answerable(by_q)
    if by_x is None:
        for i in range(n_out):
            if some[i]:
                respond_few_backward(by_q, few, i, weight, gain, grid, by_weight, None)
            else:
                by_weight[i] = 0
        return
    back = aligned(FEW, few.shape[1], x)
    for i in range(n_out):
        if some[i]:
            respond_few_backward(by_q, few, i, weight, gain, grid, by_weight, back)
        else:
            by_weight[i] = 0
    by_x[:] = back[:rows, : x.shape[1]]


@numba.njit(inline="always")
def answerable(by_q: Array) -> Array:
    """Which neurons have an error in any row."""
    found = np.zeros(by_q.shape[1], np.bool_)
    for b in range(len(by_q)):
        for i in range(len(found)):
            found[i] |= by_q[b, i] != 0
    return found


@numba.njit(inline="always")
def respond_many_backward(
    by_q: Array,
    x: Array,
    weight: Array,
    gain: Array | None,
    grid: Any,
    room: Array,
    by_x: Array | None,
    by_weight: Array,
) -> None:
    """by_weight and by_x, a few neurons at a time; rows of by_q are whole tiles."""
    rows, n_in = x.shape
    n_out, wide, pace = len(weight), whole(n_in), -(-TALL * WIDE // rows)
    across = np.zeros((-(-n_out // TALL) * TALL, rows), x.dtype)
    for i in range(n_out):
        for b in range(rows):
            across[i, b] = by_q[b, i]
    lines = in_lines(x, rows)
    if by_x is None:
        for i in range(0, n_out, TALL):
            for j in range(0, wide, WIDE):
                place = (i + TALL) * n_in + min(TALL, n_out - i) * j  # of the next neurons
                tile_backward(across, i, lines, j, weight, gain, grid, by_weight, None, place, pace)
        return
    held = lined(room, n_out, wide)
    for i in range(0, n_out, TALL):
        for j in range(0, wide, WIDE):
            place = (i + TALL) * n_in + min(TALL, n_out - i) * j
            tile_backward(across, i, lines, j, weight, gain, grid, by_weight, held, place, pace)
    for j in range(0, wide, WIDE):
        for b in range(0, rows, TALL):
            tile(by_q, b, held, j, by_x, (), 0, 0)


def room_for(weight: Array, rows: int) -> int:
    """Numbers of the room that `respond_backward` asks for."""
    return 0 if rows <= FEW else len(weight) * (-(-weight.shape[1] // WIDE) * WIDE) + LINE


@numba.njit(inline="always")
def whole(columns: int) -> int:
    """As many columns as whole tiles have."""
    return -(-columns // WIDE) * WIDE


@numba.njit(inline="always")
def in_lines(x: Array, rows: int) -> Array:
    """As rows of whole tiles, the first ones of which are x."""
    found = aligned(rows, whole(x.shape[1]), x)
    found[: len(x), : x.shape[1]] = x
    return found
