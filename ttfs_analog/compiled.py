"""When the compiled kernels of `ttfs_analog.kernels` serve.

They do not under torch.compile, torch.func and autocast, which have to see every operation. They compute no
forward-mode and no batched gradients: TTFS_ANALOG_KERNELS=0 in the environment turns them off.
"""

from __future__ import annotations

import functools
import os
from types import ModuleType

import torch
from torch import Tensor, get_num_threads, is_autocast_enabled
from torch._C import _are_functorch_transforms_active
from torch.compiler import is_compiling

DTYPES = torch.float32, torch.float64
THREADS = 4
"""Threads beyond which torch's operations, which share their work, are left to do it."""


def kernels_for(like: Tensor) -> ModuleType | None:
    """`ttfs_analog.kernels`, where they serve a tensor of that kind; else None."""
    if is_compiling() or _are_functorch_transforms_active():
        return None
    if not like.is_cpu or like.dtype not in DTYPES:
        return None
    if get_num_threads() > THREADS or is_autocast_enabled("cpu"):
        return None
    return _kernels()


@functools.cache
def _kernels() -> ModuleType | None:
    if os.environ.get("TTFS_ANALOG_KERNELS") == "0":
        return None
    try:
        from ttfs_analog import kernels
    except (ImportError, RuntimeError, OSError):  # numba is an extra, and wants files and a place of its own
        return None
    return kernels
