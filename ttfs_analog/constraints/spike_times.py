"""Spike times as the hardware sends them: jitter, the window, the clock.

Errors of trials come from counter-based random numbers (SplitMix64), so that one key gives the same errors
on every device, and with or without compiled kernels. Drawing is most of what jitter costs in training:
so 32 bits make a pair of normal numbers (Box-Muller), 16 for its radius, 16 for its angle, in operations
of single precision that a processor does eight at a time. None lies beyond 4.86.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from ttfs_analog.compiled import kernels_for
from ttfs_analog.splitmix import BLOCK, COSINE, FIRST, GOLDEN, LOG, SECOND, SINE

SMALL = 256
"""Spikes from which on a kernel is worth its loading."""


def normals(key: int, shape: Sequence[int], like: Tensor) -> Tensor:
    """Standard normal numbers of a key in [0, 2^63), in `like`'s dtype and on its device."""
    count = math.prod(shape)
    blocks = -(-count // BLOCK)
    n = torch.arange(1, blocks * BLOCK // 4 + 1, device=like.device)
    word = n * _signed(GOLDEN) + key
    for shift, factor in ((30, FIRST), (27, SECOND)):
        word = (word ^ _shifted(word, shift)) * _signed(factor)
    word = word ^ _shifted(word, 31)
    pair = torch.stack([word & 0xFFFFFFFF, _shifted(word, 32)], 1).to(torch.int64).view(blocks, BLOCK // 2)
    size, high = (pair & 0xFFFF).float() + 0.5, pair >> 16
    bits = size.view(torch.int32)
    m = ((bits & 0x7FFFFF) | 0x3F800000).view(torch.float32)
    square = (127 + 16 - (bits >> 23)).float() * _single(math.log(2)) - _polynomial(LOG, m)
    r = square.double().sqrt().float()  # in single precision torch's own is an ulp off at times
    y = ((high & 0x3FFF).float() + 0.5) * _single(math.pi / 2**15) - _single(math.pi / 4)
    z = y * y
    s, c = y * _polynomial(SINE, z), _polynomial(COSINE, z)
    both = [r * (c - s) * (1 - (high >> 14 & 2)), r * (c + s) * (1 - (high >> 13 & 2))]
    return torch.cat(both, 1).view(-1)[:count].to(like.dtype).view(*shape)


def _polynomial(coefficients: Sequence[float], x: Tensor) -> Tensor:
    """By Horner, as the kernel has it."""
    value = torch.full_like(x, coefficients[-1])
    for c in coefficients[-2::-1]:
        value = _single(c) + x * value
    return value


def _single(value: float) -> float:
    """Rounded to single precision: what it is multiplied by may be held in double."""
    return float(torch.tensor(value, dtype=torch.float32))


def _signed(value: int) -> int:
    """64 bits as torch's int64 takes them."""
    return value - 2**64 if value >= 2**63 else value


def _shifted(word: Tensor, by: int) -> Tensor:
    """Logical shift to the right: that of torch keeps the sign."""
    return word if by == 0 else (word >> by) & ((1 << (64 - by)) - 1)


def send(
    x: Tensor,
    errors: int | Tensor | None,
    std: float,
    window: float,
    step: float,
    kernels: ModuleType | None = None,
) -> Tensor:
    """Activations as they leave their neurons; the gradient is that of `x` unchanged.

    Parameters
    ----------
    x : Tensor
        Activations; 0 is silent and has no spike to move.
    errors : int or Tensor
        Key of `normals`, one of them for every spike; or errors that broadcast to x, in units of std; or
        None: no jitter.
    std : float
        [tau_c]
    window : float
        Early spikes count from t_min, x = window, late ones are lost, x = 0.
    step : float
        Of the clock [tau_c]; 0: none.
    kernels : module, optional
        `ttfs_analog.kernels`, where a caller knows already that they serve.
    """
    if isinstance(errors, Tensor):
        kernels = None
    elif kernels is None and x.numel() >= SMALL:
        kernels = kernels_for(x)
    if kernels is None:
        return _sent(x, errors, std, window, step)
    key, std = (0, 0.0) if errors is None else (errors, std)
    x = x.contiguous()
    if x.requires_grad and torch.is_grad_enabled():
        sent = x.clone()  # in the graph, with another value
        before, after = x.detach().numpy(), sent.detach().numpy()
    else:
        before = (x.detach() if x.requires_grad else x).numpy()
        after = np.empty(before.shape, before.dtype)  # quicker than by torch
        sent = torch.from_numpy(after)
    kernels.send(before.reshape(-1), key, std, window, step, after.reshape(-1))
    return sent


def _sent(x: Tensor, errors: int | Tensor | None, std: float, window: float, step: float) -> Tensor:
    """`send` by torch's operations."""
    sent = x.clone()
    with torch.no_grad():  # as if nothing happened to the gradient
        if errors is not None:
            errors = normals(errors, x.shape, x) if isinstance(errors, int) else errors
            sent.copy_(torch.where(sent > 0, (sent - errors * std).clamp_(0.0, window), sent))
        if step > 0:
            sent.div_(step).round_().mul_(step)
    return sent
