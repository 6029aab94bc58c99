"""Products of matrices whose sums stay in vector registers, as code of LLVM for `ttfs_analog.kernels`.

Loops are not compiled to anything as fast, and a library's product would go through memory once more than
there is time for. Arrays have two dimensions; their rows need no alignment.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numba
import numpy as np
from numba.core import cgutils, types

from ttfs_analog.lanes import AVX512, Held, Lanes, Matrix, absent, intrinsic

TALL, WIDE = (8, 32) if AVX512 else (6, 16)
"""Rows and columns of sums that fill the registers, in single precision."""
FEW = 8
"""Rows of inputs whose sums fill the registers, with one neuron's weights."""
LINE = 64
"""Bytes of a line of memory."""
index = types.intp


def multiply_tile(
    unit: Lanes,
    left: Matrix,
    i: Any,
    right: Matrix,
    j: Any,
    soon: tuple[Sequence[Matrix], Callable[[Any], Any]],
    finish: Callable[..., None],
) -> None:
    """finish(row, column, sums) for the vectors of left[i : i + TALL] @ right[:, j : j + WIDE]; row < TALL.

    On the way, memory that will be needed soon is asked for: of soon = (arrays, where), array.flat[where(k)]
    in step k. It may be beyond the end.
    """
    builder, (arrays, where) = unit.builder, soon
    rows = [left.place(builder.add(i, unit.integer(m)), unit.integer(0)) for m in range(TALL)]

    for first in range(0, WIDE, 2 * unit.width):  # two vectors across
        columns = [builder.add(j, unit.integer(first + k * unit.width)) for k in range(2)]
        sums = unit.sums(2 * TALL)
        with cgutils.for_range(builder, left.shape[1]) as loop:
            place = where(loop.index)
            for array in arrays:
                unit.fetch(builder.gep(array.data, [place]))
            values = [unit.load(right.place(loop.index, column)) for column in columns]
            for m, row in enumerate(rows):
                one = unit.spread(builder.load(builder.gep(row, [loop.index])))
                for k, value in enumerate(values):
                    unit.add_product(sums[2 * m + k], one, value)
        for m in range(TALL):
            for k, column in enumerate(columns):
                finish(m, column, builder.load(sums[2 * m + k]))


@intrinsic
def tile(context: Any, a: Any, i: Any, b: Any, j: Any, c: Any, soon: Any, place: Any, pace: Any) -> Any:
    """c[i : i + TALL, j : j + WIDE] = a[i : i + TALL] @ b[:, j : j + WIDE], as far as c goes.

    soon : tuple of arrays, or None in place of one
        Whose numbers place + k * pace are asked for in step k.
    """

    def code(target: Any, builder: Any, signature: Any, args: Any) -> Any:
        kinds = signature.args
        unit = Lanes(target, builder, kinds[0])
        left, right, into = (Matrix(unit, kinds[k], args[k]) for k in (0, 2, 4))

        def finish(m: int, column: Any, total: Any) -> None:
            row = builder.add(args[1], unit.integer(m))
            into.within(row, column, lambda mask: unit.store(total, into.place(row, column), mask))

        others = zip(kinds[5], cgutils.unpack_tuple(builder, args[5], len(kinds[5])), strict=True)
        arrays = [Matrix(unit, kind, value) for kind, value in others if not absent(kind)]

        def where(step: Any) -> Any:
            return builder.add(args[6], builder.mul(step, args[7]))

        multiply_tile(unit, left, args[1], right, args[3], (arrays, where), finish)
        return target.get_dummy_value()

    return types.void(a, index, b, index, c, soon, index, index), code


@intrinsic
def tile_backward(
    context: Any,
    a: Any,
    i: Any,
    b: Any,
    j: Any,
    weight: Any,
    gain: Any,
    grid: Any,
    by_weight: Any,
    held: Any,
    which: Any,
    soon: Any,
) -> Any:
    """by_weight[which[i : i + TALL], j : j + WIDE] = released(a[i : i + TALL] @ b[:, j : j + WIDE]).

    The weights as they are held go to held[i : i + TALL], if that is not None: its rows are whole tiles. What
    is read and written is asked for: numbers soon[k] + j in step k.
    """

    def code(target: Any, builder: Any, signature: Any, args: Any) -> Any:
        kinds = signature.args
        unit = Lanes(target, builder, kinds[0])
        left, right, into = (Matrix(unit, kinds[k], args[k]) for k in (0, 2, 7))
        keep = None if absent(kinds[8]) else Matrix(unit, kinds[8], args[8])
        neurons, ahead = (target.make_array(kinds[k])(target, builder, args[k]).data for k in (9, 10))

        def finish(m: int, column: Any, total: Any) -> None:
            row = builder.add(args[1], unit.integer(m))
            neuron = builder.load(builder.gep(neurons, [row]))

            def body(mask: Any) -> None:
                own = Held(unit, neuron, kinds[4:7], args[4:7])
                weight, gain = own.load(column, mask)
                unit.store(own.release(total, weight, gain), into.place(neuron, column), mask)
                if keep is not None:
                    unit.store(own.hold(weight, gain), keep.place(row, column))

            into.within(neuron, column, body)

        def where(step: Any) -> Any:
            return builder.add(builder.load(builder.gep(ahead, [step])), args[3])

        needed = [7]
        if keep is not None or not absent(kinds[6]):  # else nobody reads the weights
            needed.append(4)
        if not absent(kinds[5]):
            needed.append(5)
        arrays = [Matrix(unit, kinds[k], args[k]) for k in needed]
        multiply_tile(unit, left, args[1], right, args[3], (arrays, where), finish)
        return target.get_dummy_value()

    return types.void(a, index, b, index, weight, gain, grid, by_weight, held, which, soon), code


@intrinsic
def respond_few(context: Any, x: Any, i: Any, weight: Any, gain: Any, grid: Any, q: Any) -> Any:
    """q[0, :FEW] = x[:FEW] @ held[i], of weights that are held on the way.

    q has room for a vector more.
    """

    def code(target: Any, builder: Any, signature: Any, args: Any) -> Any:
        unit = Lanes(target, builder, signature.args[0])
        inputs, nil = Matrix(unit, signature.args[0], args[0]), unit.integer(0)
        rows = [inputs.place(unit.integer(b), nil) for b in range(FEW)]
        own, sums = Held(unit, args[1], signature.args[2:5], args[2:5]), unit.sums(FEW)

        def body(start: Any, mask: Any) -> None:
            held = own.hold(*own.load(start, mask))
            for row, place in zip(rows, sums, strict=True):
                unit.add_product(place, held, unit.load(builder.gep(row, [start]), mask))

        unit.every(own.count, body)
        unit.totals(sums, Matrix(unit, signature.args[5], args[5]).place(nil, nil))
        return target.get_dummy_value()

    return types.void(x, index, weight, gain, grid, q), code


@intrinsic
def respond_few_backward(
    context: Any, by_q: Any, x: Any, i: Any, weight: Any, gain: Any, grid: Any, by_weight: Any, by_x: Any
) -> Any:
    """by_weight[i] = released(by_q[:FEW, i] @ x[:FEW]), by_x[:FEW] += by_q[:FEW, i] * held[i]."""

    def code(target: Any, builder: Any, signature: Any, args: Any) -> Any:
        kinds = signature.args
        unit = Lanes(target, builder, kinds[0])
        nil, rows = unit.integer(0), [unit.integer(b) for b in range(FEW)]
        errors, inputs, into = (Matrix(unit, kinds[k], args[k]) for k in (0, 1, 6))
        factors = [unit.spread(builder.load(errors.place(b, args[2]))) for b in rows]
        lines = [inputs.place(b, nil) for b in rows]
        own, line = Held(unit, args[2], kinds[3:6], args[3:6]), into.place(args[2], nil)
        back = [] if absent(kinds[7]) else [Matrix(unit, kinds[7], args[7]).place(b, nil) for b in rows]

        def body(start: Any, mask: Any) -> None:
            weight, gain = own.load(start, mask)
            total = unit.constant(0.0)
            for factor, row in zip(factors, lines, strict=True):
                total = unit.multiply_add(factor, unit.load(builder.gep(row, [start]), mask), total)
            unit.store(own.release(total, weight, gain), builder.gep(line, [start]), mask)
            held = own.hold(weight, gain)
            for factor, row in zip(factors, back, strict=False):  # none, if nobody asks
                place = builder.gep(row, [start])
                unit.store(unit.multiply_add(factor, held, unit.load(place, mask)), place, mask)

        unit.every(own.count, body)
        return target.get_dummy_value()

    return types.void(by_q, x, index, weight, gain, grid, by_weight, by_x), code


@numba.njit(inline="always")
def lined(room: Any, rows: int, columns: int) -> Any:
    """A part of some room, whose loads do not cross two lines of memory if rows are whole vectors."""
    start = (-room.ctypes.data) % LINE // room.itemsize
    return room[start : start + rows * columns].reshape(rows, columns)


@numba.njit(inline="always")
def aligned(rows: int, columns: int, like: Any) -> Any:
    """Zeros, `lined`."""
    return lined(np.zeros(rows * columns + LINE // like.itemsize, like.dtype), rows, columns)
