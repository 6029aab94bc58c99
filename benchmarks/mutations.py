"""What can happen to a file: bytes change, entries of its content change; all of it from one generator.

`bytes_of` knows nothing of a format; `tree` changes one place of a nested dict or list; `lines` one line of a
text of `key = value`.
"""

import copy
import random
from typing import Any

import numpy as np
import torch

HUGE = 10**30
DEEP: list[Any] = []
for _ in range(150):
    DEEP = [DEEP]
VALUES: tuple[Any, ...] = (
    None, True, False, "", "1.5", "x" * 1000, "\0", "../..", 0, -1, 3, HUGE, 2**63, 0.5, -0.5, 1e308, 1e-320,
    float("nan"), float("inf"), -float("inf"), [], {}, [0.1], [[1.0]], [None], ["a"], {"a": 1},
    {"value": []}, DEEP,
)  # fmt: skip
WORDS = (
    "nan", "inf", "true", '"1.5"', "[]", "{}", "-1", "0", "1e400", "1e308", "9" * 30, "[[1]]", "1979-05-27",
    "''", "[" * 5000, '["a", 1]', "{ a = 1 }", "0x10", "'''", "\u2028", "__import__('os')", "1e-400", "2",
)  # fmt: skip


def bytes_of(raw: bytes, rng: random.Random) -> bytes:
    """One to three changes of bytes: bits flipped, a cut, a part doubled, inserted, zeroed or moved."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        at = rng.randrange(len(raw) or 1)
        end = min(len(raw), at + rng.choice((1, 2, 8, 100, 4000)))
        kind = rng.randrange(8)
        if kind <= 1 and raw:
            raw = raw[:at] + bytes([raw[at] ^ 1 << rng.randrange(8)]) + raw[at + 1 :]
        elif kind == 2:
            raw = raw[:at]
        elif kind == 3:
            raw = raw[:end] + raw[at:]
        elif kind == 4:
            raw = raw[:at] + rng.randbytes(rng.choice((1, 4, 64))) + raw[at:]
        elif kind == 5:
            raw = raw[:at] + bytes(end - at) + raw[end:]
        elif kind == 6:
            raw = raw[:at] + raw[end:]
        else:
            raw = rng.choice((b"\xef\xbb\xbf", b"\xff\xfe", b"\x80\x04", b"\0")) + raw
    return raw


def tree(content: Any, rng: random.Random) -> Any:
    """A copy of which one entry is gone, renamed, of another kind, longer or shorter."""
    content = copy.deepcopy(content)
    places = list(_places(content))
    parent, key = rng.choice(places)
    kind = rng.randrange(6)
    if isinstance(parent, dict) and kind == 0:
        del parent[key]
    elif isinstance(parent, dict) and kind == 1:
        parent[f"{key}{rng.choice(('x', ' ', '_'))}"] = parent.pop(key)
    elif isinstance(parent, dict) and kind == 2:
        parent[key] = copy.deepcopy(parent[rng.choice(list(parent))])
    elif isinstance(parent[key], torch.Tensor) and kind < 5:
        parent[key] = _tensor(parent[key], rng)
    elif isinstance(parent[key], list) and kind == 3:
        parent[key] = parent[key][: rng.randrange(len(parent[key]) + 1)]
    elif isinstance(parent[key], list) and kind == 4:
        parent[key] = parent[key] + parent[key][:1] * rng.randrange(1, 4)
    else:
        parent[key] = rng.choice(VALUES)
    return content


def doubled(text: str, rng: random.Random) -> str:
    """A JSON text in which one key stands twice, with another value."""
    starts = [k for k, letter in enumerate(text) if letter == "{" and '"' in text[k : k + 30]]
    at = rng.choice(starts) + 1
    key = text[at:].split('"')[1]
    return f'{text[:at]}"{key}": {rng.choice(("0", "null", "1.5", "[]"))}, {text[at:]}'


def lines(text: str, rng: random.Random) -> str:
    """A text of which one line is gone, doubled, moved, or has another value."""
    rows = text.split("\n")
    at = rng.choice([k for k, row in enumerate(rows) if row.strip() and not row.startswith(("#", "*"))])
    kind, key = rng.randrange(6), rows[at].split("=")[0]
    if kind == 0:
        del rows[at]
    elif kind == 1:
        rows.insert(rng.randrange(len(rows)), rows[at])
    elif kind == 2:
        rows[at] = rows[at].replace("=", "x =", 1)
    elif kind == 3 and "=" in rows[at]:
        words = rows[at].split()
        words[rng.randrange(len(words))] = rng.choice(WORDS)
        rows[at] = " ".join(words)
    else:
        rows[at] = f"{key}= {rng.choice(WORDS)}"
    return "\n".join(rows)


def array(values: np.ndarray, rng: random.Random) -> np.ndarray:
    """An array of another shape or kind, or with an entry that is none."""
    if values.dtype.kind not in "fiu" or not values.size:
        return values[..., :0] if values.ndim else values
    changed = values.astype(float if values.dtype.kind == "f" else values.dtype)
    kind = rng.randrange(6)
    if kind <= 2:
        entry = rng.choice(
            (np.nan, np.inf, -np.inf, 1e308, -1e308, 0.0) if values.dtype.kind == "f" else (7, 0)
        )
        changed.flat[rng.randrange(values.size)] = entry
        return changed
    if kind == 3:
        return changed.astype(rng.choice(("i8", "f4", "u1")), casting="unsafe")
    return changed.astype("<U4") if kind == 4 else -changed


def _tensor(value: torch.Tensor, rng: random.Random) -> torch.Tensor:
    kind = rng.randrange(7)
    if kind <= 2 and value.numel() and value.is_floating_point():
        value = value.clone()
        value.view(-1)[rng.randrange(value.numel())] = rng.choice(
            (float("nan"), float("inf"), -1.0, 0.0, 0.9 * torch.finfo(value.dtype).max)
        )
        return value
    if kind == 3:
        return value.to(rng.choice((torch.float32, torch.int64, torch.bool, torch.complex64)))
    if kind == 4:
        return value[..., None]
    return value.reshape(-1)[: value.numel() // 2] if kind == 5 else torch.cat([value.reshape(-1)] * 2)


def _places(content: Any):
    """Every (parent, key) below a nested dict or list."""
    for key in list(content) if isinstance(content, dict) else range(len(content)):
        yield content, key
        if isinstance(content[key], dict | list):
            yield from _places(content[key])
