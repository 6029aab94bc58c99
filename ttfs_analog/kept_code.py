"""Compiled code that is kept on disk until any of its sources changes.

numba itself looks at the file of the function that is called, and at no other that became a part of it: after
an upgrade it would go on with old code.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numba.core.caching import FunctionCache

SOURCES = ("jittered", "kept_code", "kernels", "lanes", "loops", "splitmix", "tiles")
"""Modules that compiled code is made of."""
FINGERPRINT = hashlib.sha256(
    b"".join(Path(__file__).with_name(f"{name}.py").read_bytes() for name in SOURCES)
).hexdigest()


class _Kept(FunctionCache):  # type: ignore[misc]
    def _index_key(self, sig: Any, codegen: Any) -> Any:
        return (*super()._index_key(sig, codegen), FINGERPRINT)


def kept(fastmath: Any) -> Callable[[Callable[..., None]], Any]:
    """A decorator of kernels.

    Parameters
    ----------
    fastmath : bool or set of str
        As numba takes it. It is said aloud: else numba lends a function the fast mathematics of the one that
        it is first compiled for.
    """

    def decorate(function: Callable[..., None]) -> Any:
        kernel: Any = numba.njit(error_model="numpy", nogil=True, fastmath=fastmath)(function)
        kernel._cache = _Kept(function)  # what numba's option `cache` does, with numba's own
        return kernel

    return decorate
