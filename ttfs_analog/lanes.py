"""Sums of products that stay in vector registers, written as code of LLVM for `ttfs_analog.kernels`.

Loops are not compiled to anything as fast, and a library's product would go through memory once more than
there is time for. Arrays have two dimensions; their rows need no alignment.

numba keeps what it compiled until the file of the function that was called changes: after a change here,
`ttfs_analog/kernels.py` has to be touched (`make` does it).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numba
import numpy as np
from llvmlite import binding, ir
from numba.core import cgutils, types
from numba.extending import intrinsic

AVX512 = bool(binding.get_host_cpu_features().get("avx512f"))
REGISTER = 64 if AVX512 else 32
"""Bytes of a vector."""
TALL, WIDE = (8, 32) if AVX512 else (6, 16)
"""Rows and columns of sums that fill the registers, in single precision."""
FEW = 8
"""Rows of inputs whose sums fill the registers, with one neuron's weights."""
LINE = 64
"""Bytes of a line of memory."""
index = types.intp


class Lanes:
    """Vectors of numbers of one kind.

    Parameters
    ----------
    target, builder
        As numba gives them to an intrinsic.
    kind : numba type of an array
    """

    def __init__(self, target: Any, builder: Any, kind: Any) -> None:
        self.target, self.builder = target, builder
        bits = kind.dtype.bitwidth
        self.width = 8 * REGISTER // bits
        self.number = target.get_data_type(kind.dtype)
        self.vector = ir.VectorType(self.number, self.width)
        self.mask = ir.VectorType(ir.IntType(1), self.width)
        self.name = f"v{self.width}f{bits}"

    def call(self, name: str, kind: Any, *args: Any) -> Any:
        """A function of LLVM."""
        kind = ir.FunctionType(kind, [a.type for a in args])
        return self.builder.call(cgutils.get_or_insert_function(self.builder.module, kind, name), args)

    def integer(self, value: int) -> Any:
        return ir.Constant(ir.IntType(64), value)

    def constant(self, value: float) -> Any:
        return self.vector([value] * self.width)

    def spread(self, one: Any) -> Any:
        """The same number in every lane."""
        lane, undefined = ir.IntType(32), ir.Constant(ir.VectorType(one.type, self.width), ir.Undefined)
        every = ir.Constant(ir.VectorType(lane, self.width), [0] * self.width)
        return self.builder.shuffle_vector(
            self.builder.insert_element(undefined, one, lane(0)), undefined, every
        )

    def load(self, pointer: Any, mask: Any = None) -> Any:
        """Numbers from a place on; 0 in lanes that a mask leaves out."""
        pointer = self.builder.bitcast(pointer, self.vector.as_pointer())
        if mask is None:
            return self.builder.load(pointer, align=4)
        name = f"llvm.masked.load.{self.name}.p0{self.name}"
        return self.call(name, self.vector, pointer, ir.IntType(32)(4), mask, self.constant(0.0))

    def store(self, value: Any, pointer: Any, mask: Any = None) -> None:
        pointer = self.builder.bitcast(pointer, self.vector.as_pointer())
        if mask is None:
            self.builder.store(value, pointer, align=4)
        else:
            name = f"llvm.masked.store.{self.name}.p0{self.name}"
            self.call(name, ir.VoidType(), value, pointer, ir.IntType(32)(4), mask)

    def fetch(self, pointer: Any) -> None:
        """Ask for memory, to read, into the second cache."""
        number = ir.IntType(32)
        pointer = self.builder.bitcast(pointer, ir.IntType(8).as_pointer())
        self.call("llvm.prefetch.p0i8", ir.VoidType(), pointer, number(0), number(2), number(1))

    def multiply_add(self, a: Any, b: Any, c: Any) -> Any:
        return self.call(f"llvm.fmuladd.{self.name}", self.vector, a, b, c)

    def sums(self, count: int) -> list[Any]:
        """Places for sums, which LLVM makes registers of."""
        places = [cgutils.alloca_once(self.builder, self.vector) for _ in range(count)]
        for place in places:
            self.builder.store(self.constant(0.0), place)
        return places

    def add_product(self, place: Any, a: Any, b: Any) -> None:
        self.builder.store(self.multiply_add(a, b, self.builder.load(place)), place)

    def totals(self, places: Sequence[Any], pointer: Any) -> None:
        """Sums over the lanes, one number for each place; up to a vector is written beyond them."""
        for first in range(0, len(places), self.width):
            many, left = [self.builder.load(p) for p in places[first : first + self.width]], self.width
            while left > 1:  # neighbours of all vectors at once
                many = many if len(many) > 1 else 2 * many
                many = [self._neighbours(a, b) for a, b in zip(many[::2], many[1::2], strict=True)]
                left //= 2
            self.store(many[0], self.builder.gep(pointer, [self.integer(first)]))

    def _neighbours(self, a: Any, b: Any) -> Any:
        """Their sums, first those of a."""
        kind = ir.VectorType(ir.IntType(32), self.width)
        even, odd = (ir.Constant(kind, list(range(k, 2 * self.width, 2))) for k in range(2))
        shuffle = self.builder.shuffle_vector
        return self.builder.fadd(shuffle(a, b, even), shuffle(a, b, odd))

    def every(self, count: Any, body: Callable[[Any, Any], None]) -> None:
        """body(start, mask) for every vector of a row of numbers; the last one may need a mask."""
        builder, width = self.builder, self.integer(self.width)
        whole = builder.mul(builder.sdiv(count, width), width)
        with cgutils.for_range_slice(builder, self.integer(0), whole, width) as (start, _):
            body(start, None)
        rest = builder.sub(count, whole)
        with builder.if_then(builder.icmp_signed(">", rest, self.integer(0))):
            body(whole, self.first(rest))

    def first(self, count: Any) -> Any:
        """A mask for so many lanes."""
        lanes = ir.Constant(ir.VectorType(ir.IntType(64), self.width), list(range(self.width)))
        return self.builder.icmp_signed("<", lanes, self.spread(count))


class Matrix:
    """A two-dimensional array."""

    def __init__(self, unit: Lanes, kind: Any, value: Any) -> None:
        array = unit.target.make_array(kind)(unit.target, unit.builder, value)
        self.unit, self.builder = unit, unit.builder
        self.data, self.kind = array.data, unit.number.as_pointer()
        self.shape = cgutils.unpack_tuple(unit.builder, array.shape)
        self.strides = cgutils.unpack_tuple(unit.builder, array.strides)

    def place(self, row: Any, column: Any) -> Any:
        """Pointer to a number."""
        builder = self.builder
        where = builder.add(builder.mul(row, self.strides[0]), builder.mul(column, self.strides[1]))
        start = builder.bitcast(self.data, ir.IntType(8).as_pointer())
        return builder.bitcast(builder.gep(start, [where]), self.kind)


    def within(self, row: Any, column: Any, body: Callable[[Any], None]) -> None:
        """body(mask) for a vector, as far as it is a part of the array."""
        builder, (rows, columns) = self.builder, self.shape
        left = builder.sub(columns, column)
        some = builder.icmp_signed(">", left, self.unit.integer(0))
        with builder.if_then(builder.and_(builder.icmp_signed("<", row, rows), some)):
            whole = builder.icmp_signed(">=", left, self.unit.integer(self.unit.width))
            with builder.if_else(whole, likely=True) as (then, otherwise):
                with then:
                    body(None)
                with otherwise:
                    body(self.unit.first(left))


class Held:
    """Weights of a neuron as the hardware holds them: `ttfs_analog.kernels.hold_row`, and its way back."""

    def __init__(self, unit: Lanes, row: Any, kinds: Sequence[Any], values: Sequence[Any]) -> None:
        """Of weight, gain and grid."""
        self.unit, nil, weight = unit, unit.integer(0), Matrix(unit, kinds[0], values[0])
        self.count, self.row = weight.shape[1], weight.place(row, nil)
        self.gain = None if _none(kinds[1]) else Matrix(unit, kinds[1], values[1]).place(row, nil)
        self.grid = None
        if not _none(kinds[2]):
            parts = cgutils.unpack_tuple(unit.builder, values[2])
            to = unit.builder.fptrunc if unit.number == ir.FloatType() else lambda v, kind: v
            self.grid = [unit.spread(to(part, unit.number)) for part in parts]

    def load(self, start: Any, mask: Any) -> tuple[Any, Any]:
        """Weights as they are, and gains or None."""
        unit = self.unit
        weight = unit.load(unit.builder.gep(self.row, [start]), mask)
        gain = self.gain
        return weight, None if gain is None else unit.load(unit.builder.gep(gain, [start]), mask)

    def hold(self, weight: Any, gain: Any) -> Any:
        builder = self.unit.builder
        if self.grid is not None:
            inverse, step, low, high = self.grid
            weight = builder.fmul(weight, inverse)
            weight = self.unit.call(f"llvm.rint.{self.unit.name}", self.unit.vector, weight)
            weight = builder.select(builder.fcmp_ordered("<", weight, low), low, weight)
            weight = builder.select(builder.fcmp_ordered(">", weight, high), high, weight)
            weight = builder.fmul(weight, step)
        return weight if gain is None else builder.fmul(weight, gain)

    def release(self, grad: Any, weight: Any, gain: Any) -> Any:
        builder = self.unit.builder
        if gain is not None:
            grad = builder.fmul(grad, gain)
        if self.grid is not None:
            _, step, low, high = self.grid
            inside = builder.and_(
                builder.fcmp_unordered(">", weight, builder.fmul(low, step)),
                builder.fcmp_unordered("<", weight, builder.fmul(high, step)),
            )
            one, zero = self.unit.constant(1.0), self.unit.constant(0.0)
            grad = builder.fmul(grad, builder.select(inside, one, zero))
        return grad


def _none(kind: Any) -> bool:
    return isinstance(kind, types.NoneType)


def multiply_tile(
    unit: Lanes, left: Matrix, i: Any, right: Matrix, j: Any, soon: Any, finish: Callable[..., None]
) -> None:
    """finish(row, column, sums) for the vectors of left[i : i + TALL] @ right[:, j : j + WIDE]; row < TALL.

    On the way, memory that will be needed soon is asked for: of soon = (kinds, arrays, place, pace),
    array.flat[place + k * pace] in step k, of every array that is not None. It may be beyond the end.
    """
    builder, (kinds, arrays, place, pace) = unit.builder, soon
    rows = [left.place(builder.add(i, unit.integer(m)), unit.integer(0)) for m in range(TALL)]
    others = zip(kinds, cgutils.unpack_tuple(builder, arrays, len(kinds)), strict=True)
    data = [Matrix(unit, kind, value).data for kind, value in others if not _none(kind)]
    for first in range(0, WIDE, 2 * unit.width):  # two vectors across
        columns = [builder.add(j, unit.integer(first + k * unit.width)) for k in range(2)]
        sums = unit.sums(2 * TALL)
        with cgutils.for_range(builder, left.shape[1]) as loop:
            where = builder.add(place, builder.mul(loop.index, pace))
            for array in data:
                unit.fetch(builder.gep(array, [where]))
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

    For `soon` and what follows see `multiply_tile`.
    """

    def code(target: Any, builder: Any, signature: Any, args: Any) -> Any:
        kinds = signature.args
        unit = Lanes(target, builder, kinds[0])
        left, right, into = (Matrix(unit, kinds[k], args[k]) for k in (0, 2, 4))

        def finish(m: int, column: Any, total: Any) -> None:
            row = builder.add(args[1], unit.integer(m))
            into.within(row, column, lambda mask: unit.store(total, into.place(row, column), mask))

        multiply_tile(unit, left, args[1], right, args[3], (kinds[5], *args[5:]), finish)
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
    soon: Any,
    place: Any,
    pace: Any,
) -> Any:
    """by_weight[i : i + TALL, j : j + WIDE] = released(a[i : i + TALL] @ b[:, j : j + WIDE]), as `tile`.

    The weights as they are held go to `held`, if that is not None: its rows are whole tiles.
    """

    def code(target: Any, builder: Any, signature: Any, args: Any) -> Any:
        kinds = signature.args
        unit = Lanes(target, builder, kinds[0])
        left, right, into = (Matrix(unit, kinds[k], args[k]) for k in (0, 2, 7))
        keep = None if _none(kinds[8]) else Matrix(unit, kinds[8], args[8])

        def finish(m: int, column: Any, total: Any) -> None:
            row = builder.add(args[1], unit.integer(m))

            def body(mask: Any) -> None:
                own = Held(unit, row, kinds[4:7], args[4:7])
                weight, gain = own.load(column, mask)
                unit.store(own.release(total, weight, gain), into.place(row, column), mask)
                if keep is not None:
                    unit.store(own.hold(weight, gain), keep.place(row, column))

            into.within(row, column, body)

        multiply_tile(unit, left, args[1], right, args[3], (kinds[9], *args[9:]), finish)
        return target.get_dummy_value()

    return types.void(a, index, b, index, weight, gain, grid, by_weight, held, soon, index, index), code


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
        back = [] if _none(kinds[7]) else [Matrix(unit, kinds[7], args[7]).place(b, nil) for b in rows]

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
