"""Convolutional TTFS layers: every place and channel is a neuron."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from circuits.model.layer import Layer
from ttfs_analog.neuron.layers import TTFSLayer


class TTFSConv2d(TTFSLayer):
    """Convolutional layer: every place and channel is a neuron; padded places are inputs that stay silent.

    Parameters
    ----------
    inside : tuple of int
        (height, width) of the output.
    stride, padding, dilation : tuple of int
    groups : int

    With deviations every neuron has synapses of its own: nothing is shared on a chip.
    """

    geometry: dict[str, Any]
    SAMPLES = 20_000_000
    """Patches x taps x channels that are followed to find the swing."""

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor,
        *,
        inside: tuple[int, ...],
        stride: tuple[int, ...] = (1, 1),
        padding: tuple[int, ...] = (0, 0),
        dilation: tuple[int, ...] = (1, 1),
        groups: int = 1,
        **options: Any,
    ) -> None:
        super().__init__(weight, bias, **options)
        self.inside = tuple(inside)
        self.geometry: dict[str, Any] = {
            "stride": tuple(stride),
            "padding": tuple(padding),
            "dilation": tuple(dilation),
        }
        self.groups = groups

    def drive(self, x: Tensor, weight: Tensor) -> Tensor:
        """W x + D.

        Parameters
        ----------
        x : Tensor, shape (..., channel, height, width)
        weight : Tensor, shape (channel, in / groups, height, width)

        Returns
        -------
        Tensor, shape (..., channel, height, width)
        """
        lead = x.shape[:-3]
        if len(lead) > 1:
            x = x.flatten(0, -4)
        u = F.conv2d(x, weight, self.bias, **self.geometry, groups=self.groups)
        if self.border is not None:
            u = u + self.border
        return u.unflatten(0, lead) if len(lead) > 1 else u

    def _patches(self, x: Tensor) -> Tensor:
        """Inputs of every place, shape (..., batch, group, tap, place)."""
        lead, size = x.shape[:-3], self.weight.shape[2:]
        patches = F.unfold(x.reshape(-1, *x.shape[-3:]), size, **self.geometry)
        return patches.reshape(*lead, self.groups, -1, math.prod(self.inside))

    def product(self, x: Tensor, current: Tensor) -> Tensor:
        """Sums of inputs by currents, neuron by neuron where these differ from place to place.

        Parameters
        ----------
        x : Tensor, shape (..., batch, channel, height, width)
        current : Tensor, shape (channel, in / groups, height, width) or (chip, neuron, tap)

        Returns
        -------
        Tensor, shape (..., batch, neuron)
        """
        lead, taps = x.shape[:-3], self.weight[0].numel()
        if current.dim() == 4:  # the same for all places
            images = x.reshape(-1, *x.shape[-3:])
            q = F.conv2d(images, current, None, **self.geometry, groups=self.groups)
            return q.reshape(*lead, -1)
        current = current.reshape(len(current), self.groups, -1, math.prod(self.inside), taps)
        inputs = "ngtl" if x.dim() == 4 else "cngtl"  # the same images for all chips, or each its own
        return torch.einsum(f"{inputs},cgolt->cngol", self._patches(x), current).flatten(2)

    def tap_means(self, x: Tensor, shares: Tensor) -> Tensor:
        """Weighted sums over images of what every synapse gets, shape (neuron, tap).

        Parameters
        ----------
        x : Tensor, shape (batch, channel, height, width)
        shares : Tensor, shape (batch, neuron)
        """
        each = shares.reshape(len(x), self.groups, -1, math.prod(self.inside))
        return torch.einsum("ngtl,ngol->golt", self._patches(x), each).flatten(0, 2)

    def swing_samples(self, x: Tensor, weight: Tensor) -> list[tuple[Layer, np.ndarray]]:
        """One circuit a group of channels, with inputs of at most SAMPLES places in all.

        Parameters
        ----------
        x : Tensor, shape (batch, channel, height, width)
        weight : Tensor, shape (channel, in / groups, height, width)
        """
        patches = self._patches(x)  # (image, group, tap, place)
        share = self.weight.shape[0] // self.groups
        result = []
        for g in range(self.groups):
            pick = slice(g * share, (g + 1) * share)
            rows = patches[:, g].transpose(1, 2).flatten(0, 1)
            budget = max(64, self.SAMPLES // (self.weight[pick].numel() * self.groups))
            rows = rows[:: -(-len(rows) // budget)]
            channel = self._circuit(weight[pick].flatten(1), self.bias[pick], self.slopes()[pick])
            result.append((channel, rows.detach().double().cpu().numpy()))
        return result
