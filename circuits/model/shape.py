"""What must stand where in a file: types as shapes, checked in one place for every format.

A shape is `float` (a finite number), `int`, `str`, `bool`, `None`, `Any`, `list[X]`, `tuple[X, ...]`,
`tuple[X, Y]`, `dict[str, X]`, `dict[Literal[...], X]` (just these keys), `X | Y`, `Literal[...]`,
`Annotated[list[X], length]`, `OrNever` (a number, or inf), a TypedDict, or a dataclass, all of its fields:
its own `__post_init__` says what values may be. JSON's true and false are no numbers, and text is none.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import types
from collections.abc import Mapping
from typing import (
    Annotated,
    Any,
    Literal,
    NotRequired,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from circuits.errors import InputError

OrNever = Annotated[float, math.inf]
"""A time at which something happens, or inf: it never does."""
WORDS = {
    float: "a finite number",
    int: "a whole number",
    str: "text",
    bool: "true or false",
    types.NoneType: "null",
    list: "a list",
    tuple: "a list",
    dict: "an object",
    Mapping: "an object",
}


def checked(value: Any, shape: Any, where: str, key: str = "") -> Any:
    """A value that has come from a file, in the form of a shape: lists may become tuples or dataclasses.

    Parameters
    ----------
    value
        As JSON or TOML gives it.
    shape : type
        See above.
    where : str
        The file, for messages.
    key : str
        Place of the value in it, such as "terms.slope.std"; empty: the whole.

    Raises
    ------
    InputError
        Naming file, key and value, and what is expected.
    """
    origin = get_origin(shape) or shape
    if origin is Any:
        return value
    if origin is Annotated:
        inner, length = get_args(shape)
        if shape == OrNever:
            return (
                value if isinstance(value, float) and value == math.inf else _plain(value, float, where, key)
            )
        return _of_length(checked(value, inner, where, key), length, where, key)
    if origin is Literal:
        if not any(value == v and type(value) is type(v) for v in get_args(shape)):
            raise _wrong(value, shape, where, key)
        return value
    if origin in (Union, types.UnionType):
        return _one_of(value, get_args(shape), where, key)
    if dataclasses.is_dataclass(origin) or is_typeddict(origin):
        return _fields(value, origin, where, key)
    if origin in (list, tuple, dict, Mapping):
        return _items(value, shape, origin, where, key)
    return _plain(value, origin, where, key)


def subset(content: Mapping[str, Any], shape: Any, where: str) -> Any:
    """The keys of a TypedDict out of an object that may hold others, which are nobody's business here.

    Parameters
    ----------
    content : mapping
    shape : TypedDict
    where : str
        The file, for messages.
    """
    return checked({k: v for k, v in content.items() if k in shape.__annotations__}, shape, where)


def _plain(value: Any, kind: type, where: str, key: str) -> Any:
    if kind is float:
        try:
            fits = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        except OverflowError:
            fits = False
        if fits:
            return float(value)
    elif isinstance(value, kind) and (kind is bool or not isinstance(value, bool)):
        return value
    raise _wrong(value, kind, where, key)


def _one_of(value: Any, shapes: tuple[Any, ...], where: str, key: str) -> Any:
    """By the kind of the value, so that a fault deep inside is named where it is."""
    for shape in shapes:
        inner = get_origin(shape) or shape
        inner = get_origin(get_args(shape)[0]) if inner is Annotated else inner
        table = dataclasses.is_dataclass(inner) or is_typeddict(inner) or inner in (dict, Mapping)
        if (table and isinstance(value, Mapping)) or (inner in (list, tuple) and isinstance(value, list)):
            return checked(value, shape, where, key)
    for shape in shapes:
        try:
            return checked(value, shape, where, key)
        except InputError:
            continue
    raise _wrong(value, Union[shapes], where, key)  # noqa: UP007 - shapes are not known here


def _items(value: Any, shape: Any, origin: Any, where: str, key: str) -> Any:
    inner = get_args(shape)
    if origin in (dict, Mapping):
        if not isinstance(value, Mapping):
            raise _wrong(value, shape, where, key)
        if not inner:
            return value
        if get_origin(inner[0]) is Literal and set(value) != (keys := set(get_args(inner[0]))):
            raise InputError(f"{where}: {key} must have the keys {sorted(keys)}, got {sorted(value)!r:.60}")
        return {k: checked(v, inner[1], where, f"{key}.{k}" if key else k) for k, v in value.items()}
    if not isinstance(value, list | tuple):
        raise _wrong(value, shape, where, key)
    if origin is tuple and inner and inner[-1] is not Ellipsis:
        _of_length(value, len(inner), where, key)
        pairs = enumerate(zip(value, inner, strict=True))
        return tuple(checked(v, s, where, f"{key}[{k}]") for k, (v, s) in pairs)
    if not inner:
        return origin(value)
    return origin(checked(v, inner[0], where, f"{key}[{k}]") for k, v in enumerate(value))


def _fields(value: Any, kind: Any, where: str, key: str) -> Any:
    """An object with named keys: a TypedDict stays one, a dataclass is made."""
    if not isinstance(value, Mapping):
        raise _wrong(value, kind, where, key)
    hints, needed = _shape_of(kind)
    place = f"{where}: {key}" if key else where
    if missing := [k for k in needed if k not in value]:
        raise InputError(f"{place} lacks {missing}; known keys: {', '.join(hints)}")
    if unknown := sorted(str(k) for k in value if k not in hints):
        raise InputError(f"{place} has unknown keys {unknown}; known keys: {', '.join(hints)}")
    fields = {k: checked(v, hints[k], where, f"{key}.{k}" if key else k) for k, v in value.items()}
    if is_typeddict(kind):
        return fields
    try:
        return kind(**fields)
    except InputError as error:
        raise InputError(f"{place}: {error}") from None


@functools.cache
def _shape_of(kind: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Shapes by key, and the keys that must be there."""
    hints = get_type_hints(kind, include_extras=True)
    if is_typeddict(kind):
        bare = {k: get_args(v)[0] if get_origin(v) is NotRequired else v for k, v in hints.items()}
        return bare, tuple(k for k, v in hints.items() if get_origin(v) is not NotRequired)
    names = tuple(f.name for f in dataclasses.fields(kind))  # in files, defaults are written too
    return {name: hints[name] for name in names}, names


def _of_length(value: Any, length: int, where: str, key: str) -> Any:
    if len(value) != length:
        raise InputError(f"{where}: {key} must have {length} entries, got {len(value)}")
    return value


def _wrong(value: Any, shape: Any, where: str, key: str) -> InputError:
    return InputError(f"{where}: {key or 'the content'} must be {_words(shape)}, got {value!r:.60}")


def _words(shape: Any) -> str:
    origin, inner = get_origin(shape) or shape, get_args(shape)
    if origin in (Union, types.UnionType):
        inner = tuple(s for s in inner if s is not int or float not in inner)  # which are numbers, too
        return " or ".join(dict.fromkeys(map(_words, inner)))
    if origin is Literal:
        return "one of " + ", ".join(map(repr, inner))
    if shape == OrNever:
        return f"{WORDS[float]}, or inf"
    if origin is Annotated:
        return f"{_words(inner[0])} ({inner[1]} entries)"
    if origin in (list, tuple) and inner:
        return f"a list, each entry {_words(inner[0])}"
    name = "an object" if is_typeddict(origin) or dataclasses.is_dataclass(origin) else str(origin)
    return WORDS.get(origin, getattr(origin, "__name__", name) if name == str(origin) else name)
