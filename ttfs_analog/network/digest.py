"""What tells a file as it was written from one that was changed since: SHA-256 over its content.

No format that is used here checks all of its numbers: torch reads archives without their checksums, and a
flipped bit of a weight is a weight. Tensors and arrays count with name, dtype, shape and bytes, all else by
its `repr`; of tuples nothing is left but their entries, since files have lists.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from circuits.errors import InputError


def digest_of(content: Any) -> str:
    """SHA-256 of what a file holds, hexadecimal.

    Parameters
    ----------
    content : nested dict, list, Tensor, array, str or number
        The order of a dict does not count.
    """
    digest = hashlib.sha256()
    _add(digest, content)
    return digest.hexdigest()


def check_digest(path: str | Path, stored: Any, content: Any, remedy: str) -> None:
    """Refuse a file whose content is not what was written.

    Parameters
    ----------
    path : str or Path
        For the message.
    stored : str or None
        Its digest; None: a file from before there were any.
    content : as of `digest_of`
    remedy : str
        What to do.

    Raises
    ------
    InputError
        If they differ.
    """
    if stored is not None and stored != digest_of(content):
        raise InputError(
            f"{path} is damaged, or was changed after it was written (its digest does not fit): {remedy}"
        )


def _add(digest: Any, value: Any) -> None:
    if isinstance(value, Mapping):
        digest.update(f"{{{len(value)} ".encode())
        for key in sorted(value, key=str):
            _add(digest, str(key))
            _add(digest, value[key])
    elif isinstance(value, list | tuple):
        digest.update(f"[{len(value)} ".encode())
        for entry in value:
            _add(digest, entry)
    elif hasattr(value, "detach"):  # a tensor, without torch
        _add(digest, value.detach().cpu().numpy())
    elif isinstance(value, np.ndarray):
        digest.update(f"{value.dtype} {value.shape} ".encode())
        digest.update(np.ascontiguousarray(value).data.cast("B") if value.size else b"")
    else:
        digest.update(f"{value!r} ".encode())
