"""Layers of real devices there and back, compiled by numba: one pass over the weights each way.

The weights of a layer do not fit into a core's cache, so that there every operation of torch costs a pass.
A kernel does what the torch operations in its first line do, to the last bit but for the order of sums (and
for inputs and gradients that are not finite); so it does not matter where numba is missing, a network is
small, or its tensors are on another device. Arrays are contiguous, of one dtype and of the shapes that are
stated: nothing checks them. Gains may be None.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from ttfs_analog.kept_code import kept
from ttfs_analog.loops import Array, fire, hold, hold_row, release, send, unfire
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

__all__ = ["fire", "hold", "release", "respond", "respond_backward", "room_for", "send", "unfire"]

# sums of products may be taken in any order, as a matrix product takes them
compiled_sums = kept(fastmath={"reassoc", "contract", "nsz"})


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

    Neurons that are silent in all rows, as half of a trained network is, are left out: nothing of theirs is
    read.

    Parameters
    ----------
    room : array of `room_for` numbers
        To work in, if by_x is asked for.
    """
    rows, n_out = grad.shape
    tall = FEW if rows <= FEW else -(-rows // TALL) * TALL
    by_q = np.zeros((tall, n_out), grad.dtype)
    unfire(grad, z, own_gain, shift, low, high, by_q[:rows], by_bias)
    which, count = answering(by_q, by_weight)
    if rows > FEW:
        respond_many_backward(by_q, x, weight, gain, grid, room, by_x, by_weight, which, count)
        return
    few = in_lines(x, FEW)
    if by_x is None:
        for i in which[:count]:
            respond_few_backward(by_q, few, i, weight, gain, grid, by_weight, None)
    else:
        back = aligned(FEW, few.shape[1], x)
        for i in which[:count]:
            respond_few_backward(by_q, few, i, weight, gain, grid, by_weight, back)
        by_x[:] = back[:rows, : x.shape[1]]


@numba.njit(inline="always")
def answering(by_q: Array, by_weight: Array) -> tuple[Array, int]:
    """Neurons with an error in any row, and how many; the gradients of the others become 0.

    Up to whole tiles of them, and one tile beyond, there follow neurons that do not exist.
    """
    n_out, count = by_q.shape[1], 0
    answers, which = np.zeros(n_out, np.bool_), np.full(n_out + 2 * TALL, n_out)
    for b in range(len(by_q)):
        for i in range(n_out):
            answers[i] |= by_q[b, i] != 0
    for i in range(n_out):
        if answers[i]:
            which[count] = i
            count += 1
        else:
            by_weight[i] = 0
    return which, count


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
    which: Array,
    count: int,
) -> None:
    """by_weight and by_x, a few of those neurons at a time; rows of by_q are whole tiles."""
    rows, n_in = x.shape
    wide, lines = whole(n_in), in_lines(x, rows)
    across = np.zeros((count + TALL, rows), x.dtype)
    for a in range(count):
        for b in range(rows):
            across[a, b] = by_q[b, which[a]]
    if by_x is None:
        release_many(across, lines, weight, gain, grid, by_weight, None, which, count)
        return
    held = lined(room, len(weight), wide)
    release_many(across, lines, weight, gain, grid, by_weight, held, which, count)
    errors = np.empty((len(by_q), count), x.dtype)
    for b in range(len(by_q)):
        for a in range(count):
            errors[b, a] = by_q[b, which[a]]
    for j in range(0, wide, WIDE):
        for b in range(0, len(by_q), TALL):
            tile(errors, b, held[:count], j, by_x, (), 0, 0)


@numba.njit(inline="always")
def release_many(
    across: Array,
    lines: Array,
    weight: Array,
    gain: Array | None,
    grid: Any,
    by_weight: Array,
    held: Array | None,
    which: Array,
    count: int,
) -> None:
    """by_weight[which] = across @ lines with `release`; held."""
    (rows, wide), size = lines.shape, lines.itemsize
    n_in, soon = weight.shape[1], np.empty(rows, np.intp)
    a_row = WIDE * size // LINE  # lines of memory of a tile
    for a in range(0, count, TALL):
        for b in range(rows):
            line = b * TALL * a_row // rows
            soon[b] = which[a + TALL + line // a_row] * n_in + line % a_row * (LINE // size)
        for j in range(0, wide, WIDE):
            tile_backward(across, a, lines, j, weight, gain, grid, by_weight, held, which, soon)


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
