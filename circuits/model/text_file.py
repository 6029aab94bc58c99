"""Text files with values in them, JSON or TOML, and JSON inside other files: all read here.

The text is UTF-8, with or without a byte order mark, or UTF-16 or UTF-32 with one, as editors write it; line
ends are any. What JSON readers let pass is refused: a key that stands twice in one object, numbers that are
not finite.
"""

from __future__ import annotations

import codecs
import json
import math
import tomllib
from pathlib import Path
from typing import Any

from circuits.errors import InputError
from circuits.input_file import read_bytes

MARKS = {  # the longer first: that of UTF-32 begins like that of UTF-16
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
    codecs.BOM_UTF8: "utf-8-sig",
}
"""Byte order mark -> encoding, which takes the mark off."""
LARGEST = 2**63 - 1
"""Whole numbers beyond are none of ours: other programs take 64 bits."""


def read_json(path: str | Path, maker: str = "") -> dict[str, Any]:
    """The object of a JSON file.

    Parameters
    ----------
    path : str or Path
    maker : str
        What makes such a file, for the message when there is none.

    Raises
    ------
    InputError
        Naming the file, the fault and the remedy.
    """
    return parse_json(read_text(path, maker), str(path))


def parse_json(text: Any, where: str, *, infinite: bool = False) -> dict[str, Any]:
    """The object of a JSON text.

    Parameters
    ----------
    text : str
        Anything else is refused.
    where : str
        It stands in, for messages.
    infinite : bool
        Whether numbers may be inf: in plans that is a synapse that never gets a spike.

    Raises
    ------
    InputError
        As of `read_json`.
    """
    content = parse_value(text, where, infinite=infinite)
    if not isinstance(content, dict):
        raise InputError(f"{where} must hold one JSON object, {{...}}, got {content!r:.40}")
    return content


def parse_value(text: Any, where: str, *, infinite: bool = False) -> Any:
    """The value of a JSON text: an object, a list, a number ...

    Parameters
    ----------
    text, where, infinite
        As of `parse_json`.
    """
    try:
        if not isinstance(text, str):
            raise ValueError(f"{type(text).__name__} instead of text")
        content = json.loads(text, object_pairs_hook=_once)
        _check_numbers(content, where, "", infinite)
    except InputError as error:
        raise InputError(f"{where}: {error}" if str(error).startswith("key ") else str(error)) from None
    except ValueError as error:
        raise InputError(f"{where} is not JSON: {error}") from None
    except RecursionError:
        raise InputError(f"{where} is not JSON of ours: objects or lists are nested too deep") from None
    return content


def read_toml(path: str | Path) -> dict[str, Any]:
    """The table of a TOML file.

    Raises
    ------
    InputError
        As of `read_json`.
    """
    try:
        content = tomllib.loads(read_text(path))
        _check_numbers(content, str(path), "")
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"{path} is not a TOML file: {error}") from None
    except RecursionError:
        raise InputError(f"{path} is not a TOML file of ours: tables or lists are nested too deep") from None
    return content


def read_text(path: str | Path, maker: str = "") -> str:
    """The text of a file.

    Parameters
    ----------
    path, maker
        As of `read_json`.

    Raises
    ------
    InputError
        If it does not exist, cannot be read, or is no text.
    """
    try:
        raw = read_bytes(path)
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"{path} does not exist{maker and f'; {maker}'}") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a folder, not a file") from None
    except (OSError, ValueError) as error:  # ValueError: a name with a zero byte
        raise InputError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    encoding = next((name for mark, name in MARKS.items() if raw.startswith(mark)), "utf-8")
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is not text: byte {error.start} is 0x{raw[error.start]:02x}, which is no "
            f"{encoding.removesuffix('-sig').upper()}; save it as UTF-8"
        ) from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose keys all differ."""
    content = dict(pairs)
    if len(content) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise InputError(f"key {twice!r} stands twice in one object: keep one of the two")
    return content


def _check_numbers(content: Any, where: str, key: str, infinite: bool = False) -> None:
    """Refuse numbers that are not finite, and whole ones of more than 64 bits."""
    if isinstance(content, dict):
        for name, value in content.items():
            _check_numbers(value, where, f"{key}.{name}" if key else name, infinite)
    elif isinstance(content, list):
        for k, value in enumerate(content):
            if not isinstance(value, float) or not math.isfinite(value):
                _check_numbers(value, where, f"{key}[{k}]", infinite)
    elif isinstance(content, float) and not math.isfinite(content):
        if infinite and content == math.inf:
            return
        raise InputError(f"{where}: {key} is {content}; every number must be finite")
    elif isinstance(content, int) and abs(content) > LARGEST:
        raise InputError(f"{where}: {key} has {content.bit_length()} bits; whole numbers have at most 64")
    elif not isinstance(content, str | int | float | None):  # TOML has dates
        raise InputError(f"{where}: {key} is a date or a time, {content}; a number or text is needed")
