"""Spike times as the hardware sends them: jitter, the window, the clock.

Errors of trials come from counter-based random numbers (SplitMix64), so that one key gives the same errors
on every device, and with or without compiled kernels. Sixteen bits make a normal number: sign, one of 2048
bins of equal probability, and one of 16 places in it. Its variance is 1, its kurtosis 2.998, its largest
value 3.95; it costs half of an exact one, and drawing is most of what jitter costs in training.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ttfs_analog.compiled import kernels_for
from ttfs_analog.splitmix import BINS, FIRST, GOLDEN, PLACES, SECOND

SMALL = 256
"""Spikes from which on a kernel is worth its loading."""


@functools.cache
def quantiles(dtype: torch.dtype) -> Tensor:
    """Lower end of every bin of |normal| and a PLACES-th of its width, shape (BINS, 2)."""
    ends = torch.special.ndtri(0.5 + torch.arange(BINS + 1, dtype=torch.float64) / (2 * BINS))
    low, width = ends[:-1], ends.diff()
    place = (torch.arange(PLACES, dtype=torch.float64) + 0.5) / PLACES
    square = place.square().mean()
    # the last bin, which has no end, ends where the variance becomes 1
    rest = BINS - float((low.square() + low * width + width.square() * square)[:-1].sum() + low[-1].square())
    width[-1] = (-low[-1] + (low[-1].square() + 4 * rest * square).sqrt()) / (2 * square)
    return torch.stack([low, width / PLACES], 1).to(dtype).contiguous()


def normals(key: int, shape: Sequence[int], like: Tensor) -> Tensor:
    """Standard normal numbers of a key in [0, 2^63), in `like`'s dtype and on its device."""
    count = math.prod(shape)
    n = torch.arange(1, -(-count // 4) + 1, device=like.device)
    word = n * _signed(GOLDEN) + key
    for shift, factor in ((30, FIRST), (27, SECOND)):
        word = (word ^ _shifted(word, shift)) * _signed(factor)
    word = word ^ _shifted(word, 31)
    bits = torch.stack([_shifted(word, 16 * m) & 0xFFFF for m in range(4)], 1).view(-1)[:count]
    low, step = quantiles(like.dtype).to(like.device)[(bits >> 4) & (BINS - 1)].unbind(1)
    value = low + ((bits & (PLACES - 1)).to(like.dtype) + 0.5) * step
    return torch.where(bits >> 15 == 1, -value, value).view(*shape)


def _signed(value: int) -> int:
    """64 bits as torch's int64 takes them."""
    return value - 2**64 if value >= 2**63 else value


def _shifted(word: Tensor, by: int) -> Tensor:
    """Logical shift to the right: that of torch keeps the sign."""
    return word if by == 0 else (word >> by) & ((1 << (64 - by)) - 1)


def send(x: Tensor, errors: int | Tensor | None, std: float, window: float, step: float) -> Tensor:
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
    """
    sent = x.clone(memory_format=torch.contiguous_format)
    kernels = None if isinstance(errors, Tensor) or x.numel() < SMALL else kernels_for(x)
    if kernels is not None:
        key, std = (0, 0.0) if errors is None else (errors, std)
        kernels.send(sent.detach().view(-1).numpy(), key, _table(x.dtype), std, window, step)
        return sent
    with torch.no_grad():  # as if nothing happened to the gradient
        if errors is not None:
            errors = normals(errors, x.shape, x) if isinstance(errors, int) else errors
            sent.copy_(torch.where(sent > 0, (sent - errors * std).clamp_(0.0, window), sent))
        if step > 0:
            sent.div_(step).round_().mul_(step)
    return sent


@functools.cache
def _table(dtype: torch.dtype) -> Any:
    """`quantiles` for a kernel."""
    return quantiles(dtype).numpy()
