"""Vectors that fill a register, arrays, and weights as the hardware holds them, as code of LLVM.

The vocabulary of `ttfs_analog.tiles` and `ttfs_analog.jittered`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba import extending
from numba.core import cgutils, types
from numba.core.registry import cpu_target

# what numba compiles for, in the words by which its cache tells machines apart
AVX512 = "+avx512f" in cpu_target.target_context.codegen().magic_tuple()[2]
REGISTER = 64 if AVX512 else 32
"""Bytes of a vector."""
intrinsic: Any = extending.intrinsic  # what it makes takes a `context` less, which mypy cannot know


class Lanes:
    """Vectors of numbers of one kind.

    Parameters
    ----------
    target, builder
        As numba gives them to an intrinsic.
    kind : numba type of an array
    width : int, optional
        Numbers, if not those of a register.
    """

    def __init__(self, target: Any, builder: Any, kind: Any, width: int | None = None) -> None:
        self.target, self.builder = target, builder
        bits = kind.dtype.bitwidth
        self.width = width or 8 * REGISTER // bits
        self.number = target.get_data_type(kind.dtype)
        self.vector = ir.VectorType(self.number, self.width)
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
        return spread(self.builder, one, self.width)

    def parameter(self, value: Any) -> Any:
        """A number of double precision in every lane."""
        single = self.number == ir.FloatType()
        return self.spread(self.builder.fptrunc(value, self.number) if single else value)

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
    """An array; places are those of two dimensions."""

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
    """Weights of a neuron as the hardware holds them: `ttfs_analog.loops.hold_row`, and its way back."""

    def __init__(self, unit: Lanes, row: Any, kinds: Sequence[Any], values: Sequence[Any]) -> None:
        """Of weight, gain and grid."""
        self.unit, nil, weight = unit, unit.integer(0), Matrix(unit, kinds[0], values[0])
        self.count, self.row = weight.shape[1], weight.place(row, nil)
        self.gain = None if absent(kinds[1]) else Matrix(unit, kinds[1], values[1]).place(row, nil)
        self.grid = None
        if not absent(kinds[2]):
            self.grid = [unit.parameter(part) for part in cgutils.unpack_tuple(unit.builder, values[2])]

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


def spread(builder: Any, one: Any, width: int) -> Any:
    """A vector of the same value in every lane."""
    lane, undefined = ir.IntType(32), ir.Constant(ir.VectorType(one.type, width), ir.Undefined)
    every = ir.Constant(ir.VectorType(lane, width), [0] * width)
    return builder.shuffle_vector(builder.insert_element(undefined, one, lane(0)), undefined, every)


def absent(kind: Any) -> bool:
    """Whether a value of that type is None."""
    return isinstance(kind, types.NoneType)
