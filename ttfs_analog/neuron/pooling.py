"""The two layers that a ReLU twin needs and torch does not have."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Border(nn.Module):
    """Adds a constant map (channel, height, width): normalization under zero padding.

    Source: thesis of A. Stanojevic, EPFL 2023, eq. 2.11.
    """

    shift: Tensor

    def __init__(self, shift: Tensor) -> None:
        super().__init__()
        self.register_buffer("shift", shift.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        return x + self.shift


class Pool(nn.Module):
    """Max pooling, and min pooling in marked channels.

    Parameters
    ----------
    kernel, stride, padding, dilation : tuple of int
    ceil : bool
    last : Tensor of bool, shape (channel,), optional
        Channels that take the smallest value: in spikes, the last arrival.

    Source: thesis of A. Stanojevic, EPFL 2023, section 2.4.1 (i) and eqs. 2.32-2.33.
    """

    sign: Tensor | None
    geometry: dict[str, Any]

    def __init__(
        self,
        kernel: tuple[int, ...],
        stride: tuple[int, ...],
        padding: tuple[int, ...] = (0, 0),
        dilation: tuple[int, ...] = (1, 1),
        ceil: bool = False,
        last: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.kernel, self.ceil = tuple(kernel), bool(ceil)
        self.geometry: dict[str, Any] = {
            "stride": tuple(stride),
            "padding": tuple(padding),
            "dilation": tuple(dilation),
        }
        sign = None if last is None else torch.where(last, -1, 1).to(torch.int8)[:, None, None]
        self.register_buffer("sign", sign)

    @property
    def last(self) -> Tensor | None:
        """Mask of the channels that wait for the last arrival, (channel,)."""
        return None if self.sign is None else self.sign.flatten() < 0

    def forward(self, x: Tensor) -> Tensor:
        lead = x.shape[:-3]
        y = x if len(lead) == 1 else x.reshape(-1, *x.shape[-3:])
        y = y if self.sign is None else y * self.sign
        y = F.max_pool2d(y, self.kernel, **self.geometry, ceil_mode=self.ceil)
        y = y if self.sign is None else y * self.sign
        return y if len(lead) == 1 else y.reshape(*lead, *y.shape[1:])

    def extra_repr(self) -> str:
        last = 0 if self.sign is None else int((self.sign < 0).sum())
        return f"kernel={self.kernel}, {last} channels take the last arrival"
