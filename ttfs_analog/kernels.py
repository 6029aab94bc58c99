"""Loops over weights and spikes, compiled by numba: one pass over memory each.

The weights of a layer do not fit into a core's cache, so that there every operation of torch costs a pass.
A kernel does what the torch operations in its first line do, to the last bit but for the order of sums (and
for gradients that are not finite); so it does not matter where numba is missing, a network is small, or its
tensors are on another device. Arrays are contiguous, of one dtype and of the shapes that are stated: nothing
checks them. Gains may be None.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np

from ttfs_analog.splitmix import BLOCK, COSINE, FIRST, GOLDEN, LOG, SECOND, SINE

Array = np.ndarray[Any, Any]
STEP, FACTOR, FACTOR2 = (np.uint64(v) for v in (GOLDEN, FIRST, SECOND))
S27, S30, S31 = (np.uint64(v) for v in (27, 30, 31))
LOW16, UP16 = np.uint32(0xFFFF), np.uint32(16)
NIL, UP1, UP23, LOW14 = (np.int32(v) for v in (0, 1, 23, 0x3FFF))
FRACTION, ONE, EXPONENT = (np.int32(v) for v in (0x7FFFFF, 0x3F800000, 127 + 16))  # of float32
L0, L1, L2, L3, L4, L5, L6 = (np.float32(v) for v in LOG)
(S0, S1, S2, S3), (C0, C1, C2, C3) = ([np.float32(v) for v in part] for part in (SINE, COSINE))
LN2, ANGLE, EIGHTH = (np.float32(v) for v in (math.log(2), math.pi / 2**15, math.pi / 4))

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
) -> None:
    """z = clamp(q [* gain] + o + h * (bias [+ border]), low, high); q and z may be one.

    Parameters
    ----------
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
) -> None:
    """`hold`, q = x @ held.t() and `fire` for few rows of x: held rows stay in the innermost cache."""
    first, last, zero = z.dtype.type(low), z.dtype.type(high), z.dtype.type(0)
    rows, n_in = x.shape
    n_out = len(weight)
    threshold = thresholds(bias, None, shift, n_out)
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
                z[row, i] = fired(q, i, threshold, gain, first, last)
                z[row, k] = fired(p, k, threshold, gain, first, last)


@compiled_sums
def respond_backward(
    by_q: Array,
    x: Array,
    weight: Array,
    gain: Array | None,
    grid: Any,
    by_x: Array | None,
    by_weight: Array,
) -> None:
    """by_weight = by_q.t() @ x, `release` of it, and by_x = by_q @ held.t(), in one pass over the weights."""
    rows, n_out = by_q.shape
    n_in, zero = weight.shape[1], weight.dtype.type(0)
    held, q, r = np.zeros((4, n_in), weight.dtype), np.empty(8, weight.dtype), np.empty(8, np.int64)
    if by_x is not None:
        by_x[:] = zero
    for i in range(0, n_out, 4):
        last = min(4, n_out - i)
        for m in range(last):
            w, found, own = weight[i + m], by_weight[i + m], None if gain is None else gain[i + m]
            if rows == 0:
                found[:] = zero
            for b in range(0, rows, 8):
                for n in range(8):  # rows that are missing: the last one, 0 times
                    r[n] = min(b + n, rows - 1)
                    q[n] = by_q[r[n], i + m] if b + n < rows else zero
                x0, x1, x2, x3, x4, x5, x6, x7 = (
                    x[r[0]],
                    x[r[1]],
                    x[r[2]],
                    x[r[3]],
                    x[r[4]],
                    x[r[5]],
                    x[r[6]],
                    x[r[7]],
                )
                q0, q1, q2, q3, q4, q5, q6, q7 = q[0], q[1], q[2], q[3], q[4], q[5], q[6], q[7]
                if b == 0:
                    for j in range(n_in):
                        v = q0 * x0[j] + q1 * x1[j] + q2 * x2[j] + q3 * x3[j]
                        found[j] = v + (q4 * x4[j] + q5 * x5[j] + q6 * x6[j] + q7 * x7[j])
                else:
                    for j in range(n_in):
                        v = q0 * x0[j] + q1 * x1[j] + q2 * x2[j] + q3 * x3[j]
                        found[j] += v + (q4 * x4[j] + q5 * x5[j] + q6 * x6[j] + q7 * x7[j])
            release_row(found, own, grid, w)
            if by_x is not None:
                hold_row(w, own, grid, held[m])
        if by_x is not None:
            held[last:] = zero
            h0, h1, h2, h3 = held[0], held[1], held[2], held[3]
            i1, i2, i3 = i + min(1, last - 1), i + min(2, last - 1), i + min(3, last - 1)
            for b in range(rows):
                y, p0, p1, p2, p3 = by_x[b], by_q[b, i], by_q[b, i1], by_q[b, i2], by_q[b, i3]
                for j in range(n_in):
                    y[j] += p0 * h0[j] + p1 * h1[j] + p2 * h2[j] + p3 * h3[j]


@compiled
def draw(state: Any, word: Array, size: Array, part: Array, normal: Array) -> Any:
    """The next block of `ttfs_analog.spike_times.normals`, and the state after it.

    Parameters
    ----------
    word : array of uint64, shape (BLOCK / 4,)
        Room to work in, as `size` and `part`: arrays of float32, shape (BLOCK / 2,).
    normal : array of float32, shape (BLOCK,)
    """
    for k in range(len(word)):
        state += STEP
        v = (state ^ (state >> S30)) * FACTOR
        v = (v ^ (v >> S27)) * FACTOR2
        word[k] = v ^ (v >> S31)
    pairs, signs, half = word.view(np.uint32), word.view(np.int32), np.float32(0.5)
    bits, mantissa, count = size.view(np.int32), part.view(np.int32), len(size)
    first, second = normal[:count], normal[count:]
    for k in range(count):
        size[k] = np.float32(np.int32(pairs[k] & LOW16)) + half
    for k in range(count):
        mantissa[k] = (bits[k] & FRACTION) | ONE
    for k in range(count):
        m, high = part[k], np.int32(pairs[k] >> UP16)
        log = L0 + m * (L1 + m * (L2 + m * (L3 + m * (L4 + m * (L5 + m * L6)))))
        r = np.sqrt(np.float32(EXPONENT - (bits[k] >> UP23)) * LN2 - log)
        y = (np.float32(high & LOW14) + half) * ANGLE - EIGHTH
        z = y * y
        s, c = y * (S0 + z * (S1 + z * (S2 + z * S3))), C0 + z * (C1 + z * (C2 + z * C3))
        sign = signs[k]  # the two highest bits
        first[k] = (r if sign >= NIL else -r) * (c - s)
        second[k] = (r if np.int32(sign << UP1) >= NIL else -r) * (c + s)
    return state


@compiled
def send(x: Array, key: int, std: float, window: float, step: float, sent: Array) -> None:
    """sent = clamp(x - std * normals(key), 0, window) where x > 0, then in whole steps (0: none).

    x and sent are flat and may be one. See `ttfs_analog.spike_times`, which has the same in torch.
    """
    number = x.dtype.type
    zero, last, one, sigma = number(0), number(window), number(step), number(std)
    word, size = np.empty(BLOCK // 4, np.uint64), np.empty(BLOCK // 2, np.float32)
    part, error = np.empty(BLOCK // 2, np.float32), np.empty(BLOCK, np.float32)
    state = np.uint64(key)
    for start in range(0, len(x), BLOCK):
        own, out = x[start : start + BLOCK], sent[start : start + BLOCK]
        if sigma > zero:
            state = draw(state, word, size, part, error)
            for k in range(len(own)):
                v = own[k] - sigma * number(error[k])
                v = zero if v < zero else v
                v = last if v > last else v
                out[k] = v if own[k] > zero else own[k]
        else:
            for k in range(len(own)):
                out[k] = own[k]
        if one > zero:
            for k in range(len(out)):
                out[k] = np.rint(out[k] / one) * one
