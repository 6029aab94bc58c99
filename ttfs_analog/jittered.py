"""Spikes moved by normal errors that never leave the registers, as code of LLVM for `ttfs_analog.kernels`.

The numbers are those of `ttfs_analog.constraints.spike_times.normals`, to the last bit. Drawing them is most
of what jitter costs: in loops, a processor does half as many at a time and keeps every step of the way in
memory.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types

from ttfs_analog.lanes import REGISTER, Lanes, Matrix, intrinsic, spread
from ttfs_analog.splitmix import BLOCK, COSINE, FIRST, GOLDEN, LOG, SECOND, SINE

PAIRS = REGISTER // 4
"""Pairs of normal numbers at a time."""


class Pairs:
    """Pairs of normal numbers.

    Parameters
    ----------
    state : value of uint64
        As it is before the block.
    """

    def __init__(self, target: Any, builder: Any, state: Any) -> None:
        self.builder, self.single = builder, Lanes(target, builder, types.Array(types.float32, 1, "C"))
        self.int32, self.int64 = (
            ir.VectorType(ir.IntType(32), PAIRS),
            ir.VectorType(ir.IntType(64), PAIRS // 2),
        )
        steps = self.int64([(k + 1) * GOLDEN % 2**64 for k in range(PAIRS // 2)])
        self.first = builder.add(spread(builder, state, PAIRS // 2), steps)

    def draw(self, n: Any) -> tuple[Any, Any]:
        """The first and the second numbers of pairs n * PAIRS and on."""
        b, one = self.builder, self.single
        bits = self._words(n)
        size = b.fadd(b.sitofp(b.and_(bits, self._int(0xFFFF)), one.vector), one.constant(0.5))
        raw = b.bitcast(size, self.int32)
        m = b.bitcast(b.or_(b.and_(raw, self._int(0x7FFFFF)), self._int(0x3F800000)), one.vector)
        exponent = b.sub(self._int(127 + 16), b.lshr(raw, self._int(23)))
        square = b.fsub(
            b.fmul(b.sitofp(exponent, one.vector), one.constant(math.log(2))), self._polynomial(LOG, m)
        )
        r = one.call(f"llvm.sqrt.{one.name}", one.vector, square)
        place = b.sitofp(b.and_(b.lshr(bits, self._int(16)), self._int(0x3FFF)), one.vector)
        y = b.fmul(b.fadd(place, one.constant(0.5)), one.constant(math.pi / 2**15))
        y = b.fsub(y, one.constant(math.pi / 4))
        z = b.fmul(y, y)
        s, c = b.fmul(y, self._polynomial(SINE, z)), self._polynomial(COSINE, z)
        first, second = self._signed(r, bits), self._signed(r, b.shl(bits, self._int(1)))
        return b.fmul(first, b.fsub(c, s)), b.fmul(second, b.fadd(c, s))

    def _words(self, n: Any) -> Any:
        """Words of SplitMix64, as two pairs each."""
        b = self.builder
        ahead = b.mul(n, ir.Constant(ir.IntType(64), PAIRS // 2 * GOLDEN % 2**64))
        v = b.add(self.first, spread(b, ahead, PAIRS // 2))
        for shift, factor in ((30, FIRST), (27, SECOND)):
            v = b.mul(b.xor(v, b.lshr(v, self._long(shift))), self._long(factor))
        return b.bitcast(b.xor(v, b.lshr(v, self._long(31))), self.int32)

    def _polynomial(self, coefficients: Sequence[float], x: Any) -> Any:
        b, one = self.builder, self.single
        value = one.constant(coefficients[-1])
        for c in coefficients[-2::-1]:
            value = b.fadd(one.constant(c), b.fmul(x, value))
        return value

    def _signed(self, r: Any, bits: Any) -> Any:
        """With the sign that the highest bit says."""
        b = self.builder
        sign = b.and_(bits, self._int(0x80000000))
        return b.bitcast(b.xor(b.bitcast(r, self.int32), sign), self.single.vector)

    def _int(self, value: int) -> Any:
        return self.int32([value] * PAIRS)

    def _long(self, value: int) -> Any:
        return self.int64([value] * (PAIRS // 2))


@intrinsic
def send_block(
    context: Any, x: Any, start: Any, state: Any, std: Any, window: Any, step: Any, sent: Any
) -> Any:
    """`ttfs_analog.kernels.send` of the block of flat arrays that starts there, std > 0."""

    def code(target: Any, builder: Any, signature: Any, args: Any) -> Any:
        unit = Lanes(target, builder, signature.args[0], PAIRS)
        before, after = Matrix(unit, signature.args[0], args[0]), Matrix(unit, signature.args[6], args[6])
        sigma, last, one = (unit.parameter(v) for v in args[3:6])
        steps = builder.fcmp_ordered(">", args[5], args[5].type(0.0))
        pairs, zero, half = Pairs(target, builder, args[2]), unit.constant(0.0), BLOCK // 2

        def move(place: Any, error: Any) -> None:
            mask = unit.first(builder.sub(before.shape[0], place))
            own = unit.load(builder.gep(before.data, [place]), mask)
            if error.type != unit.vector:
                error = builder.fpext(error, unit.vector)
            v = builder.fsub(own, builder.fmul(sigma, error))
            v = builder.select(builder.fcmp_ordered("<", v, zero), zero, v)
            v = builder.select(builder.fcmp_ordered(">", v, last), last, v)
            v = builder.select(builder.fcmp_ordered(">", own, zero), v, own)
            found = cgutils.alloca_once_value(builder, v)
            with builder.if_then(steps):
                whole = unit.call(f"llvm.rint.{unit.name}", unit.vector, builder.fdiv(v, one))
                builder.store(builder.fmul(whole, one), found)
            unit.store(builder.load(found), builder.gep(after.data, [place]), mask)

        with cgutils.for_range(builder, unit.integer(half // PAIRS)) as loop:
            place = builder.add(args[1], builder.mul(loop.index, unit.integer(PAIRS)))
            for k, error in enumerate(pairs.draw(loop.index)):
                move(builder.add(place, unit.integer(k * half)), error)
        return target.get_dummy_value()

    double = types.float64
    return types.void(x, types.intp, types.uint64, double, double, double, sent), code
