"""Loops over weights and spikes, compiled by numba: one pass over memory each.

The weights of a layer do not fit into a core's cache, so that there every operation of torch costs a pass.
A kernel does what the torch operations in its first line do, to the last bit but for the order of sums (and
for gradients that are not finite); so it does not matter where numba is missing, a network is small, or its
tensors are on another device. Arrays are contiguous, of one dtype and of the shapes that are stated: nothing
checks them. Gains may be None.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from ttfs_analog import splitmix

Array = np.ndarray[Any, Any]
BLOCK = 1024  # numbers that stay in the innermost cache
STEP, FACTOR, FACTOR2 = (np.uint64(v) for v in (splitmix.GOLDEN, splitmix.FIRST, splitmix.SECOND))
LAST_BIN, LAST_PLACE = splitmix.BINS - 1, splitmix.PLACES - 1
S16, S27, S30, S31 = (np.uint64(v) for v in (16, 27, 30, 31))

compiled = numba.njit(cache=True, error_model="numpy", nogil=True)
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
def release_row(grad: Array, gain: Array | None, grid: Any, weight: Array) -> None:
    """A row of `release`."""
    number = weight.dtype.type
    zero, one = number(0), number(1)
    for j in range(len(grad)):
        v = grad[j]
        if gain is not None:
            v = v * gain[j]
        if grid is not None:
            unit = number(grid[1])
            clipped = (weight[j] <= number(grid[2]) * unit) | (weight[j] >= number(grid[3]) * unit)
            v = v * (zero if clipped else one)  # a conditional store would be slow
        grad[j] = v


@compiled
def release(grad: Array, gain: Array | None, grid: Any, weight: Array) -> None:
    """grad = hardtanh_backward(grad [* gain], weight, low * unit, high * unit); shapes (out, in)."""
    for i in range(len(weight)):
        release_row(grad[i], None if gain is None else gain[i], grid, weight[i])


@numba.njit(inline="always")
def fired(q: Any, i: int, bias: Array, gain: Array | None, shift: Any, low: Any, high: Any) -> Any:
    """One activation of `fire`."""
    threshold = bias[i]
    if shift is not None:
        threshold = shift[1][i] + threshold * shift[0][i]
    v = threshold + (q if gain is None else q * gain[i])
    v = low if v < low else v
    return high if v > high else v


@compiled
def fire(q: Array, bias: Array, gain: Array | None, shift: Any, low: float, high: float, z: Array) -> None:
    """z = clamp(q [* gain] + h * bias + o, low, high); q and z have shape (row, neuron).

    Parameters
    ----------
    shift : (h, o), both of shape (neuron,); None: 1 and 0
    """
    first, last = q.dtype.type(low), q.dtype.type(high)
    for b in range(len(q)):
        for i in range(len(bias)):
            z[b, i] = fired(q[b, i], i, bias, gain, shift, first, last)


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
    """by_q = hardtanh_backward(grad, z, low, high) [* gain]; by_bias: its sum over rows [* h], no gain."""
    first, last, zero = z.dtype.type(low), z.dtype.type(high), z.dtype.type(0)
    for i in range(len(by_bias)):
        by_bias[i] = zero
    for b in range(len(z)):
        for i in range(len(by_bias)):
            v = zero if (z[b, i] <= first) | (z[b, i] >= last) else grad[b, i]
            by_bias[i] += v
            by_q[b, i] = v if gain is None else v * gain[i]
    if shift is not None:
        for i in range(len(by_bias)):
            by_bias[i] *= shift[0][i]


@compiled_sums
def respond(
    x: Array,
    weight: Array,
    synapse_gain: Array | None,
    grid: Any,
    bias: Array,
    gain: Array | None,
    shift: Any,
    low: float,
    high: float,
    z: Array,
) -> None:
    """`hold`, z = x @ held.t() and `fire` for few rows of x: held rows stay in the innermost cache."""
    first, last, zero = z.dtype.type(low), z.dtype.type(high), z.dtype.type(0)
    rows, n_in = x.shape
    n_out = len(weight)
    pair = np.empty((2, n_in), weight.dtype)
    for i in range(0, n_out, 2):  # two neurons x four rows fill the registers; ends are done twice
        k = min(i + 1, n_out - 1)
        for m, n in ((0, i), (1, k)):
            hold_row(weight[n], None if synapse_gain is None else synapse_gain[n], grid, pair[m])
        w, v = pair[0], pair[1]
        for b in range(0, rows, 4):
            b1, b2, b3 = min(b + 1, rows - 1), min(b + 2, rows - 1), min(b + 3, rows - 1)
            x0, x1, x2, x3 = x[b], x[b1], x[b2], x[b3]
            w0 = w1 = w2 = w3 = v0 = v1 = v2 = v3 = zero
            for j in range(n_in):
                w0 += w[j] * x0[j]
                w1 += w[j] * x1[j]
                w2 += w[j] * x2[j]
                w3 += w[j] * x3[j]
                v0 += v[j] * x0[j]
                v1 += v[j] * x1[j]
                v2 += v[j] * x2[j]
                v3 += v[j] * x3[j]
            for row, q, p in ((b, w0, v0), (b1, w1, v1), (b2, w2, v2), (b3, w3, v3)):
                z[row, i] = fired(q, i, bias, gain, shift, first, last)
                z[row, k] = fired(p, k, bias, gain, shift, first, last)


@compiled_sums
def respond_backward(
    by_q: Array, weight: Array, gain: Array | None, grid: Any, by_x: Array, by_weight: Array
) -> None:
    """by_x = by_q @ held.t() for few rows, and `release` of by_weight, in one pass over weights and gains."""
    rows, n_out = by_q.shape
    n_in = weight.shape[1]
    held = np.zeros((4, n_in), weight.dtype)
    by_x[:] = 0
    for i in range(0, n_out, 4):
        last = min(4, n_out - i)
        for m in range(4):
            if m < last:
                own = None if gain is None else gain[i + m]
                hold_row(weight[i + m], own, grid, held[m])
                release_row(by_weight[i + m], own, grid, weight[i + m])
            else:
                held[m] = 0
        h0, h1, h2, h3 = held[0], held[1], held[2], held[3]
        i1, i2, i3 = i + min(1, last - 1), i + min(2, last - 1), i + min(3, last - 1)
        for b in range(0, rows - 1, 2):
            x, y = by_x[b], by_x[b + 1]
            q0, q1, q2, q3 = by_q[b, i], by_q[b, i1], by_q[b, i2], by_q[b, i3]
            p0, p1, p2, p3 = by_q[b + 1, i], by_q[b + 1, i1], by_q[b + 1, i2], by_q[b + 1, i3]
            for j in range(n_in):
                x[j] += q0 * h0[j] + q1 * h1[j] + q2 * h2[j] + q3 * h3[j]
                y[j] += p0 * h0[j] + p1 * h1[j] + p2 * h2[j] + p3 * h3[j]
        if rows % 2:
            x = by_x[rows - 1]
            q0, q1, q2, q3 = by_q[-1, i], by_q[-1, i1], by_q[-1, i2], by_q[-1, i3]
            for j in range(n_in):
                x[j] += q0 * h0[j] + q1 * h1[j] + q2 * h2[j] + q3 * h3[j]


@compiled
def send(x: Array, key: int, quantiles: Array, std: float, window: float, step: float) -> None:
    """x = clamp(x - std * normals(key), 0, window) where x > 0, then in whole steps (0: none); x is flat.

    See `ttfs_analog.spike_times`, which has the same in torch.
    """
    number = x.dtype.type
    zero, last, one, sigma, half = number(0), number(window), number(step), number(std), number(0.5)
    error = np.empty(BLOCK, x.dtype)
    sign = np.array([1, -1], x.dtype)
    state = np.uint64(key)
    for start in range(0, len(x), BLOCK):
        part = x[start : start + BLOCK]
        if sigma > zero:
            for k in range(0, len(part), 4):
                state += STEP
                word = (state ^ (state >> S30)) * FACTOR
                word = (word ^ (word >> S27)) * FACTOR2
                word ^= word >> S31
                for m in range(4):
                    bits = np.uint32(word & np.uint64(0xFFFF))
                    word >>= S16
                    entry = (bits >> 4) & LAST_BIN
                    place = number(np.int32(bits & LAST_PLACE)) + half
                    value = quantiles[entry, 0] + place * quantiles[entry, 1]
                    error[k + m] = value * sign[bits >> 15]
            for k in range(len(part)):
                v = part[k] - sigma * error[k]
                v = zero if v < zero else v
                v = last if v > last else v
                part[k] = v if part[k] > zero else part[k]
        if one > zero:
            for k in range(len(part)):
                part[k] = np.rint(part[k] / one) * one
