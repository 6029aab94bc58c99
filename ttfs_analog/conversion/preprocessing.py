r"""Normalization, input range and pooling order disappear into the weights, exactly, before the map.

What lies between two rectifications and is affine, x -> kappa x + s, moves into the layers around it. With
\kappa = \gamma / \sqrt{\sigma^2 + \epsilon} of the trained statistics,

.. math:: \text{before ReLU:}\quad w \leftarrow \kappa w, \; b \leftarrow \kappa\,(b - \mu) + \beta

.. math:: \text{after ReLU, into the next layer:}\quad
    b_{k,l} \leftarrow b_{k,l} + \sum_{i \in S_l} (\beta_i - \kappa_i \mu_i)\, w_{ki}, \;
    w_{ki} \leftarrow \kappa_i w_{ki}

where S_l leaves out the places that come from zero padding, so that the bias depends on the place l. Across
max pooling a negative kappa turns max into min in that channel. An input range [p, q] is such a map too:
kappa = q - p, s = p. Average pooling after ReLU becomes a layer of neurons with equal weights (its sums of
activations are never negative); before ReLU it joins the convolution.

Source: thesis of A. Stanojevic, EPFL 2023, eqs. 2.7-2.14 and Algorithm 1.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from circuits.errors import InputError
from ttfs_analog.conversion.affine_stage import Affine, Stage, geometry_of, pair, scale_and_shift, turned
from ttfs_analog.conversion.trace import Step
from ttfs_analog.neuron.pooling import Border, Pool


class Preprocessor:
    """Walks a chain of layers and collects its stages; `stages` is the entry."""

    def __init__(self, shape: tuple[int, ...], like: Tensor, input_range: tuple[Tensor, Tensor]) -> None:
        self.shape, self.stages, self.before = shape, [], []
        self.like = like
        self.pending: Affine | None = None
        low, high = (self._per_channel(v) for v in input_range)
        if bool(((low != 0) | (high != 1)).any()):
            self.pending = Affine(high - low, self._everywhere(low))

    stages: list[Stage]
    before: list[nn.Module]

    @property
    def open(self) -> Stage | None:
        """The last stage while it has no ReLU yet."""
        return self.stages[-1] if self.stages and not self.stages[-1].relu else None

    def _per_channel(self, value: Tensor) -> Tensor:
        value = value.to(self.like)
        if value.dim() == 0:
            value = value.expand(self.shape[0])
        if value.shape != (self.shape[0],):
            raise InputError(
                f"the input range has {value.numel()} values a side; give one, or one for each of the "
                f"{self.shape[0]} channels"
            )
        return value

    def _everywhere(self, value: Tensor) -> Tensor:
        return value.reshape(-1, *[1] * (len(self.shape) - 1)).expand(self.shape)

    def take(self, step: Step) -> None:
        """One layer of the chain."""
        where, module = step
        if isinstance(module, nn.Linear | nn.Conv2d):
            self._synapses(where, module)
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            self._norm(where, module)
        elif isinstance(module, nn.ReLU):
            self._relu(where)
        elif isinstance(module, nn.Flatten):
            self._flatten(where, module)
        elif isinstance(module, Border):
            self._border(where, module)
        elif isinstance(module, nn.MaxPool2d | nn.AdaptiveMaxPool2d | Pool):
            self._max_pool(where, module)
        else:
            self._average(where, module)

    def _synapses(self, where: str, module: nn.Linear | nn.Conv2d) -> None:
        if self.open:
            raise InputError(f"{where} follows {self.open.where} without ReLU; merge the two, or add one")
        geometry = None
        if isinstance(module, nn.Conv2d):
            geometry = geometry_of(where, module)
            self._require_channels(where, module.in_channels)
        elif len(self.shape) != 1:
            raise InputError(f"{where} meets images of shape {self.shape}; put Flatten before it")
        elif self.shape[0] != module.in_features:
            raise InputError(f"{where} takes {module.in_features} inputs and meets {self.shape[0]}")
        weight = module.weight.detach()
        bias = weight.new_zeros(len(weight)) if module.bias is None else module.bias.detach()
        stage = Stage(where, self.before, weight, bias, geometry=geometry)
        self.before = []
        out = self._shape_after(where, stage)
        if self.pending is not None:
            extra = stage.drive(self.pending.shift[None], None)[0]
            if geometry is None:
                stage.bias = stage.bias + extra
            elif self.pending.constant() and not any(geometry["padding"]):
                stage.bias = stage.bias + extra[:, 0, 0]
            else:
                stage.border = extra
            stage.scale_inputs(self.pending.kappa)
            self.pending = None
        stage.inside = out[1:]
        self.shape = out
        self.stages.append(stage)

    def _shape_after(self, where: str, stage: Stage) -> tuple[int, ...]:
        empty = torch.empty(1, *self.shape, device="meta", dtype=stage.weight.dtype)
        probe = Stage(where, [], stage.weight.to("meta"), stage.bias.to("meta"), geometry=stage.geometry)
        try:
            return tuple(probe.drive(empty, None).shape[1:])
        except RuntimeError:
            raise InputError(f"{where} does not fit images of shape {self.shape}") from None

    def _require_channels(self, where: str, channels: int) -> None:
        if len(self.shape) != 3:
            raise InputError(f"{where} needs images (channel, height, width), it meets shape {self.shape}")
        if self.shape[0] != channels:
            raise InputError(f"{where} takes {channels} channels and meets {self.shape[0]}")

    def _norm(self, where: str, norm: nn.BatchNorm1d | nn.BatchNorm2d) -> None:
        if norm.num_features != self.shape[0] or (len(self.shape) == 3) != isinstance(norm, nn.BatchNorm2d):
            raise InputError(
                f"{where}: a normalization of {norm.num_features} features meets a layer of shape "
                f"{self.shape}"
            )
        kappa, shift = scale_and_shift(norm, where)
        stage = self.open
        if stage is not None and len(kappa) != len(stage.bias):
            raise InputError(
                f"{where} scales every place of {stage.where} on its own, which shared weights cannot; use "
                "BatchNorm2d before Flatten"
            )
        if stage is None:
            old = self.pending or Affine(torch.ones_like(kappa), self._everywhere(torch.zeros_like(shift)))
            moved = self._everywhere(kappa) * old.shift + self._everywhere(shift)
            self.pending = Affine(kappa * old.kappa, moved)
            return
        stage.scale_outputs(kappa)
        stage.bias = stage.bias + shift
        self.before = [turned(m, kappa < 0) if isinstance(m, Pool) else m for m in self.before]

    def _relu(self, where: str) -> None:
        stage = self.open
        if stage is not None:
            stage.relu = True
        elif self.pending is not None or not self.stages:
            raise InputError(f"{where} does not follow a Linear or Conv2d layer; remove it")

    def _flatten(self, where: str, module: nn.Flatten) -> None:
        if module.start_dim != 1 or module.end_dim not in (-1, len(self.shape)):
            raise InputError(f"{where} must keep the batch and flatten all else: start_dim=1, end_dim=-1")
        if len(self.shape) == 1:
            return
        if self.pending is not None:
            places = self.shape[1] * self.shape[2]
            self.pending = Affine(self.pending.kappa.repeat_interleave(places), self.pending.shift.flatten())
        self.shape = (self.shape[0] * self.shape[1] * self.shape[2],)
        self.before.append(nn.Flatten())

    def _border(self, where: str, module: Border) -> None:
        stage = self.open
        if stage is None or tuple(module.shift.shape) != self.shape or self.before:
            raise InputError(f"{where} must directly follow a Conv2d of output shape {self.shape}")
        stage.border = module.shift if stage.border is None else stage.border + module.shift

    def _max_pool(self, where: str, module: nn.MaxPool2d | nn.AdaptiveMaxPool2d | Pool) -> None:
        self._require_channels(where, self.shape[0])
        if isinstance(module, nn.AdaptiveMaxPool2d):
            size = self._adapted(where, module.output_size)
            pool = Pool(size, size)
        elif isinstance(module, Pool):
            pool = module
        else:
            if module.return_indices:
                raise InputError(f"{where} returns indices, which no spike carries; set return_indices=False")
            geometry: dict[str, Any] = {
                k: pair(getattr(module, k)) for k in ("stride", "padding", "dilation")
            }
            pool = Pool(pair(module.kernel_size), ceil=module.ceil_mode, **geometry)
        shift = None
        if self.pending is not None:
            if not self.pending.constant():
                raise InputError(f"{where} follows a normalization that depends on the place; reorder them")
            pool = turned(pool, self.pending.kappa < 0)
            shift = self.pending.shift[:, 0, 0]
        try:
            out = F.max_pool2d(
                torch.empty(1, *self.shape, device="meta"),
                pool.kernel,
                **pool.geometry,
                ceil_mode=pool.ceil,
            )
        except RuntimeError:
            raise InputError(f"{where} does not fit images of shape {self.shape}") from None
        self.shape = tuple(out.shape[1:])
        self.before.append(pool)
        if self.pending is not None and shift is not None:
            self.pending = Affine(self.pending.kappa, self._everywhere(shift))

    def _adapted(self, where: str, size: Any) -> tuple[int, ...]:
        """Kernel (and stride) of an adaptive pooling."""
        wanted = [o or s for o, s in zip(pair(size), self.shape[1:], strict=True)]
        if any(s % o for s, o in zip(self.shape[1:], wanted, strict=True)):
            raise InputError(
                f"{where}: {self.shape[1:]} is not a multiple of {tuple(wanted)}; use a pooling of fixed size"
            )
        return tuple(s // o for s, o in zip(self.shape[1:], wanted, strict=True))

    def _average(self, where: str, module: nn.Module) -> None:
        self._require_channels(where, self.shape[0])
        if isinstance(module, nn.AdaptiveAvgPool2d):
            size = self._adapted(where, module.output_size)
            module = nn.AvgPool2d((size[0], size[1]))
        if not isinstance(module, nn.AvgPool2d):
            raise InputError(f"{where} must come first: it only gives the images their shape")
        kernel, stride, padding = (pair(getattr(module, k)) for k in ("kernel_size", "stride", "padding"))
        if kernel == stride == (1, 1):
            return
        full = all(
            (s + 2 * p - k) % d == 0
            for s, k, d, p in zip(self.shape[1:], kernel, stride, padding, strict=True)
        )
        if (module.ceil_mode and not full) or (any(padding) and not module.count_include_pad):
            raise InputError(
                f"{where} divides by another number at the border; use ceil_mode=False and "
                "count_include_pad=True"
            )
        share = 1.0 / (module.divisor_override or kernel[0] * kernel[1])
        channels, stage = self.shape[0], self.open
        if stage is not None:
            self._average_open(where, stage, kernel, stride, padding, share)
            return
        weight = torch.full((channels, 1, *kernel), share, dtype=self.like.dtype, device=self.like.device)
        geometry = {"stride": stride, "padding": padding, "dilation": (1, 1), "groups": channels}
        zero = weight.new_zeros(channels)
        stage = Stage(where, self.before, weight, zero, geometry=geometry, relu=True)
        self.before = []
        out = self._shape_after(where, stage)
        if self.pending is not None:
            self.pending.shift = stage.drive(self.pending.shift[None].contiguous(), None)[0]
        stage.inside, self.shape = out[1:], out
        self.stages.append(stage)

    def _average_open(
        self,
        where: str,
        stage: Stage,
        kernel: tuple[int, ...],
        stride: tuple[int, ...],
        padding: tuple[int, ...],
        share: float,
    ) -> None:
        """Convolution, then average: one convolution with a larger kernel and stride."""
        if self.before or any(padding) or stage.geometry is None:
            raise InputError(f"{where}: put it after the ReLU, or without padding right after the Conv2d")
        old, size = stage.geometry, stage.weight.shape[2:]
        reach = [(k - 1) * s for k, s in zip(kernel, old["stride"], strict=True)]
        spread = [d * (m - 1) + 1 for m, d in zip(size, old["dilation"], strict=True)]
        weight = stage.weight.new_zeros(*stage.weight.shape[:2], spread[0] + reach[0], spread[1] + reach[1])
        rows, columns = (
            [[a * s + d * i for i in range(m)] for a in range(k)]
            for k, s, d, m in zip(kernel, old["stride"], old["dilation"], size, strict=True)
        )
        for row, column in itertools.product(rows, columns):
            weight[:, :, torch.tensor(row)[:, None], torch.tensor(column)] += share * stage.weight
        scale = share * kernel[0] * kernel[1]
        channels = len(stage.bias)
        if stage.border is not None:
            mean = F.avg_pool2d(stage.border[None], kernel, stride)[0]
            stage.border = mean * scale
        stage.weight, stage.bias = weight, stage.bias * scale
        steps = tuple(a * b for a, b in zip(old["stride"], stride, strict=True))
        stage.geometry = {**old, "stride": steps, "dilation": (1, 1)}
        out = F.avg_pool2d(torch.empty(1, *self.shape, device="meta"), kernel, stride)
        stage.inside, self.shape = tuple(out.shape[2:]), (channels, *out.shape[2:])


def stages(
    steps: Sequence[Step], shape: tuple[int, ...], input_range: tuple[Tensor, Tensor], like: Tensor
) -> list[Stage]:
    """The stages of a chain of layers.

    Parameters
    ----------
    steps : sequence of Step
    shape : tuple of int
        Of one input.
    input_range : (Tensor, Tensor)
        p and q: what the model sees for an input spike at the end and at the start of its window; one
        number each, or one a channel.
    like : Tensor
        Of the model's dtype and device.

    Raises
    ------
    InputError
        Naming the layer that cannot be mapped, and what to do.
    """
    walker = Preprocessor(shape, like, input_range)
    with torch.no_grad():
        for step in steps:
            walker.take(step)
    last = walker.open
    if last is None or any(isinstance(m, Pool) for m in walker.before):
        raise InputError("the model must end with a Linear or Conv2d layer without ReLU: it is the read-out")
    last.after = walker.before
    return walker.stages
