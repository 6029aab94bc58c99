"""Arithmetic of model files, evaluated to a number: nothing else of an expression is believed.

Numbers with SPICE's scale letters, + - * / **, comparisons (1 or 0), a few functions, names given by the
caller. A random draw ``agauss(mean, spread, sigmas)`` has the value mean + z spread / sigmas, so that the
nominal value (z = 0) and the effect of one standard deviation (z = 1) come from the same text.
"""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable
from typing import Any

from circuits.errors import InputError

SCALES = {"": 1.0, "meg": 1e6, "g": 1e9, "k": 1e3, "m": 1e-3, "u": 1e-6, "n": 1e-9, "p": 1e-12, "f": 1e-15}
LONGEST = 1000
NUMBER = re.compile(r"(?<![\w.])(\d+\.?\d*(?:e[+-]?\d+)?|\.\d+(?:e[+-]?\d+)?)([a-z]*)")
BINARY: dict[type, Callable[[float, float], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
FUNCTIONS: dict[str, Callable[..., float]] = {
    "sqrt": math.sqrt,
    "abs": abs,
    "exp": math.exp,
    "log": math.log,
    "pow": pow,
    "min": min,
    "max": max,
}


def evaluate(text: str, lookup: Callable[[str], float], z: float = 0.0) -> float:
    """Value of an expression, bare or in quotes or braces; names are looked up in lower case.

    Parameters
    ----------
    lookup : name -> value
    z : standard score of random draws: 0 = nominal

    Raises
    ------
    InputError
        On anything that is not such an expression, or has no finite value.
    """
    plain = text.strip().strip("{}'").lower()
    shown = plain[:60]
    try:
        if len(plain) > LONGEST:
            raise InputError(f"expression {shown!r}... is longer than {LONGEST} characters")
        tree = ast.parse(NUMBER.sub(_scaled, plain).strip(), mode="eval")
        value = float(_value(tree.body, lookup, z))
    except InputError:
        raise
    except (SyntaxError, TypeError, ValueError, ArithmeticError, RecursionError, MemoryError):
        raise InputError(f"{shown!r} is not arithmetic with a value") from None
    if not math.isfinite(value):
        raise InputError(f"{shown!r} has no finite value")
    return value


def _scaled(match: re.Match[str]) -> str:
    digits, letters = match.groups()
    if letters not in SCALES:
        raise InputError(f"{match.group()!r} is not a number")
    return repr(float(digits) * SCALES[letters]) if letters else digits


def _value(node: ast.expr, lookup: Callable[[str], float], z: float) -> float:
    match node:
        case ast.Constant(value=int() | float() as number):
            return float(number)
        case ast.Name(id=name):
            return lookup(name)
        case ast.UnaryOp(op=ast.USub()):
            return -_value(node.operand, lookup, z)
        case ast.UnaryOp(op=ast.UAdd()):
            return _value(node.operand, lookup, z)
        case ast.BinOp() if type(node.op) in BINARY:
            return BINARY[type(node.op)](_value(node.left, lookup, z), _value(node.right, lookup, z))
        case ast.Compare(ops=[op], comparators=[right]) if type(op) in BINARY:
            return float(BINARY[type(op)](_value(node.left, lookup, z), _value(right, lookup, z)))
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]):
            values = [_value(arg, lookup, z) for arg in args]
            if name == "agauss" and len(values) == 3:
                return values[0] + z * values[1] / values[2]
            if name in FUNCTIONS:
                return FUNCTIONS[name](*values)
            raise InputError(f"function {name!r} is not known")
    raise InputError(f"{type(node).__name__} is not arithmetic")
